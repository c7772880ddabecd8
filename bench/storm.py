"""A storm, ten thousand groups that fire in one batch, and what others notice of it.

Owns a sender of single events, each of which waits until the one before it is durable, and the
comparison of its waits in a storm (from the batch until all that it set off is recorded) with those
before it, in the same run on the same daemon; and a receiver that counts what it is told.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from bench.daemon import Daemon
from bench.latency import Receiver
from bench.processes import GIVE_UP_S
from bench.results import StormFigures, percentiles

GROUPS = 10_000
ROUNDS = 3
QUIET_S = 5.0
SEND_EVERY_S = 0.01
ASK_EVERY_S = 0.05
"""How often it is asked whether the storm is over: each answer takes the daemon a millisecond."""
_JSON = {"Content-Type": "application/json"}

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


class _Sender(threading.Thread):
    """Sends single events, one after the other, and notes when and for how long each waited."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self.over = threading.Event()
        self.waits: list[tuple[float, float]] = []
        """When each was sent, and how long it took to be answered."""

    def run(self) -> None:
        connection = self._daemon.connect()
        while not self.over.wait(SEND_EVERY_S):
            began_s = time.perf_counter()
            _post(connection, [{"metricName": "probe"}])
            self.waits.append((began_s, time.perf_counter() - began_s))
        connection.close()


def measure(folder: Path, tell: Callable[[str], None]) -> list[StormFigures]:
    """Measure ``ROUNDS`` storms on one daemon. Some 40 s."""
    tell("storm …")
    before, during, told, messages = list[float](), list[float](), Counter[str](), 0
    with Receiver() as receiver, Daemon(folder, _CONFIG.format(url=receiver.url)) as daemon:
        connection = daemon.connect()
        sender = _Sender(daemon)
        sender.start()
        rss_bytes = daemon.facts.resident_bytes()
        for number in range(ROUNDS):
            _post(connection, _batch(number, value=0))
            daemon.settle(ask_every_s=ASK_EVERY_S)
            began_s = time.perf_counter()
            time.sleep(QUIET_S)
            struck_s = time.perf_counter()
            _post(connection, _batch(number, value=5))
            daemon.settle(ask_every_s=ASK_EVERY_S)
            over_s = time.perf_counter()
            before += [wait for at, wait in sender.waits if began_s + 1 <= at < struck_s]
            during += [wait for at, wait in sender.waits if struck_s <= at < over_s]
        sender.over.set()
        sender.join()
        deadline_s = time.monotonic() + GIVE_UP_S
        while len(told) < ROUNDS * GROUPS and time.monotonic() < deadline_s:
            told.update(receiver.hosts())
            time.sleep(0.1)
        messages = receiver.messages
        grown_bytes = daemon.facts.resident_bytes() - rss_bytes
        connection.close()
    return [
        StormFigures(
            GROUPS,
            before=percentiles(before),
            during=percentiles(during),
            p99_ratio=percentiles(during).p99_ms / percentiles(before).p99_ms,
            messages=messages / ROUNDS,
            lost=ROUNDS * GROUPS - len(told),
            repeated=told.total() - len(told),
            bytes_a_group=grown_bytes / (ROUNDS * GROUPS),
        )
    ]


def _batch(number: int, *, value: float) -> list[dict[str, object]]:
    return [
        {"metricName": "load", "value": value, "labels": {"host": f"{number}-{group}"}}
        for group in range(GROUPS)
    ]


def _post(connection: HTTPConnection, events: object) -> None:
    connection.request("POST", "/api/events", json.dumps(events), _JSON)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 202, body
