"""Events a second: a client process against a running daemon, over loopback.

Owns the workloads. Unless it says otherwise, 5,000 series are watched by one moving average each
(one rule, grouped by host). Every answer means committed and fsynced, and a round ends when the
rules have judged everything. Rounds are repeated because a machine is never quite alone; the best
and the median are both told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from alertd.model import US_PER_S
from bench.client import LoadGenerator
from bench.daemon import Daemon
from bench.events import GREATEST_VALUE, METRIC, Form
from bench.results import IngestFigures
from bench.rounds import run_round, send
from bench.senders import LoadSpec

SERIES: Final = 5_000
CONNECTIONS: Final = 8

_RULE: Final = """
[[rules]]
name = "average"
type = "MOVING_WINDOW"
metric_name = "{metric}"
aggregate = "avg"
group_by = ["host"]
threshold = {threshold}
window_duration_secs = {window_s}
"""
_OTHER_RULE: Final = """
[[rules]]
name = "other {number}"
type = "MOVING_WINDOW"
metric_name = "{metric}"
matchers = {{ host = "other-{number}" }}
threshold = 1
window_duration_secs = 10
"""
_ENGINE: Final = "[engine]\nmax_queue_events = 1000000\n"
_BUSY_ENGINE: Final = _ENGINE + "snapshot_interval_secs = 0.5\n"
_PAST_US: Final = 5 * US_PER_S
"""Event times begin so long ago, and the first round brings them up to the present."""
_QUIET: Final = 10 * GREATEST_VALUE
_HOT: Final = -1.0


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent, and whom it keeps busy."""

    name: str
    batch_events: int
    max_rate: int
    """Events that are made for each second of a round: more than can be taken."""
    form: Form = Form.JSON
    threshold: float = _QUIET
    """Quiet: no average is above it. Hot: every event is, and every rule is firing."""
    series: int = SERIES
    connections: int = CONNECTIONS
    window_s: int = 10
    other_rules: int = 0
    """Of the same metric, with matchers that fail."""
    late_share: float = 0.0
    is_busy: bool = False
    """Whether snapshots are taken, the log is folded and somebody asks, all the time."""

    def config(self) -> str:
        """Return its sections in TOML."""
        return (_BUSY_ENGINE if self.is_busy else _ENGINE) + self.rules()

    def rules(self) -> str:
        """Return its rules in TOML."""
        rules = [_RULE.format(metric=METRIC, threshold=self.threshold, window_s=self.window_s)]
        rules += (
            _OTHER_RULE.format(metric=METRIC, number=number) for number in range(self.other_rules)
        )
        return "".join(rules)

    @property
    def store_options(self) -> str:
        """Return further keys of ``[store]``."""
        return "fold_after_events = 50000" if self.is_busy else ""


WORKLOADS: Final = (
    Workload("1 a request", 1, 5_000),
    Workload("1 a request, 64 connections", 1, 10_000, connections=64),
    Workload("100 a request", 100, 200_000),
    Workload("1000 a request", 1_000, 500_000),
    Workload("5000 a request", 5_000, 600_000),
    Workload("1000 a request, columns", 1_000, 1_000_000, Form.COLUMNS),
    Workload("5000 a request, columns", 5_000, 2_000_000, Form.COLUMNS),
    Workload("1000 a request, hot", 1_000, 300_000, threshold=_HOT),
    Workload("1000 a request, 10,000 rules more", 1_000, 400_000, other_rules=10_000),
    Workload("1000 a request, 100,000 series", 1_000, 400_000, series=100_000),
    Workload("1000 a request, windows of a day", 1_000, 400_000, window_s=86_400),
    Workload("1000 a request, 1 % late", 1_000, 400_000, late_share=0.01),
    Workload("1000 a request, 20 % late", 1_000, 300_000, late_share=0.2),
    Workload("1000 a request, all busy", 1_000, 300_000, is_busy=True),
)


def measure(workload: Workload, folder: Path, *, rounds: int, seconds: float) -> IngestFigures:
    """Run one workload on a daemon of its own, ``rounds`` times ``seconds`` at most."""
    config, options = workload.config(), workload.store_options
    with Daemon(folder, config, store_options=options) as daemon, LoadGenerator() as client:
        idle_bytes = daemon.facts.resident_bytes()
        accepted = introduce(daemon, client, series=workload.series)
        found = []
        with _asking(daemon) if workload.is_busy else nullcontext():
            for _ in range(rounds):
                spec = LoadSpec(
                    address=daemon.address,
                    form=workload.form,
                    connections=workload.connections,
                    series=workload.series,
                    batch_events=workload.batch_events,
                    events=round(workload.max_rate * seconds),
                    seconds=seconds,
                    from_us=client.reached_us,
                    until_us=now_us(),
                    late_share=workload.late_share,
                )
                found.append(run_round(daemon, client, spec))
        accepted += sum(each.events for each in found)
        peak_bytes = daemon.facts.peak_bytes()
        daemon.stop()
        stored_bytes = daemon.stored_bytes()
    return IngestFigures(
        workload=workload.name,
        rounds=tuple(found),
        idle_bytes=idle_bytes,
        peak_bytes=peak_bytes,
        stored_bytes_per_event=stored_bytes / accepted,
    )


def introduce(daemon: Daemon, client: LoadGenerator, *, series: int = SERIES) -> int:
    """Send one event of every series, unmeasured: series are new, and hot rules begin to fire."""
    until_us = now_us() - _PAST_US
    client.prepare(
        LoadSpec(
            address=daemon.address,
            form=Form.JSON,
            connections=1,
            series=series,
            batch_events=1_000,
            events=series,
            seconds=30.0,
            from_us=until_us - US_PER_S,
            until_us=until_us,
        )
    )
    result = send(client)
    daemon.settle()
    return result.accepted


def now_us() -> int:
    """Return the time of an event that happens now."""
    return time.time_ns() // 1000


@contextmanager
def _asking(daemon: Daemon) -> Iterator[None]:
    """Have somebody ask for pages of events for as long as it lasts."""
    over = threading.Event()

    def ask() -> None:
        connection = daemon.connect()
        while not over.wait(0.02):
            connection.request("GET", f"/api/events?metricName={METRIC}&labels.host=web-0001")
            connection.getresponse().read()
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
