"""A storm, ten thousand groups that fire in one batch, and what others notice of it.

Owns the comparison of what single events wait in a storm (from the batch until all that it set
off is recorded) with what they wait before it, in the same run on the same daemon; and the count
of what a receiver is told. Leaves sending single events to ``prober.py``.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from bench.daemon import Daemon
from bench.latency import Receiver
from bench.prober import Prober
from bench.processes import GIVE_UP_S
from bench.results import Percentiles, StormFigures, percentiles

GROUPS = 10_000
ROUNDS = 3
QUIET_S = 5.0
ASK_EVERY_S = 0.05
"""How often it is asked whether the storm is over: each answer takes the daemon a millisecond."""
_JSON = {"Content-Type": "application/json"}
_Span = tuple[float, float]
"""From when to when, by ``time.perf_counter``."""

_CONFIG = """
[channels.hook]
type = "webhook"
url = "{url}"
[[rules]]
name = "storm"
type = "MOVING_WINDOW"
metric_name = "load"
aggregate = "max"
group_by = ["host"]
threshold = 1
window_duration_secs = 3600
notifications = ["hook"]
"""


def measure(folder: Path, tell: Callable[[str], None]) -> list[StormFigures]:
    """Measure ``ROUNDS`` storms on one daemon. Some 40 s."""
    tell("storm …")
    storms = [(_batch(number, value=0), _batch(number, value=5)) for number in range(ROUNDS)]
    calm, storm, told = list[_Span](), list[_Span](), Counter[str]()
    with (
        Receiver() as receiver,
        Daemon(folder, _CONFIG.format(url=receiver.url)) as daemon,
        closing(daemon.connect()) as connection,
    ):
        rss_bytes = daemon.facts.resident_bytes()
        with Prober(connection.host, connection.port) as prober:
            for quiet, loud in storms:
                _post(connection, quiet)
                daemon.settle(ask_every_s=ASK_EVERY_S)
                began_s = time.perf_counter()
                _ask_for(QUIET_S, daemon)
                struck_s = time.perf_counter()
                _post(connection, loud)
                daemon.settle(ask_every_s=ASK_EVERY_S)
                calm.append((began_s + 1, struck_s))
                storm.append((struck_s, time.perf_counter()))
        deadline_s = time.monotonic() + GIVE_UP_S
        while len(told) < ROUNDS * GROUPS and time.monotonic() < deadline_s:
            told.update(receiver.hosts())
            time.sleep(0.1)
        grown_bytes = daemon.facts.resident_bytes() - rss_bytes
    before, during = _waits(prober, calm), _waits(prober, storm)
    return [
        StormFigures(
            GROUPS,
            before=before,
            during=during,
            p99_ratio=during.p99_ms / before.p99_ms,
            messages=receiver.messages / ROUNDS,
            lost=ROUNDS * GROUPS - len(told),
            repeated=told.total() - len(told),
            bytes_a_group=grown_bytes / (ROUNDS * GROUPS),
        )
    ]


def _ask_for(seconds: float, daemon: Daemon) -> None:
    """Ask what is asked in a storm, as often: only the storm is to be the difference."""
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        daemon.status()
        time.sleep(ASK_EVERY_S)


def _waits(prober: Prober, spans: Sequence[_Span]) -> Percentiles:
    return percentiles(
        [
            wait_s
            for at_s, wait_s in prober.waits
            if any(begin_s <= at_s < end_s for begin_s, end_s in spans)
        ]
    )


def _batch(number: int, *, value: float) -> bytes:
    return json.dumps(
        [
            {"metricName": "load", "value": value, "labels": {"host": f"{number}-{group}"}}
            for group in range(GROUPS)
        ]
    ).encode()


def _post(connection: HTTPConnection, events: bytes) -> None:
    connection.request("POST", "/api/events", events, _JSON)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 202, body
