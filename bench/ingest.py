"""Events a second: a client process against a running daemon, over loopback.

Owns the workloads. In each of them 5,000 series are watched by one moving average each (one
rule, grouped by host), every answer means committed and fsynced, and a round ends when the
rules have judged everything. Rounds are repeated because a machine is never quite alone; the
best and the median are both told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.client import LoadGenerator, LoadResult, LoadSpec
from bench.daemon import Daemon
from bench.events import GREATEST_VALUE, METRIC
from bench.results import IngestFigures, Round, percentiles

SERIES = 5_000
_US_PER_S = 1_000_000
_PAST_S = 5
"""Event times begin so long ago, and the first round brings them up to the present."""

_RULE = """
[[rules]]
name = "average"
type = "MOVING_WINDOW"
metric_name = "{metric}"
aggregate = "avg"
group_by = ["host"]
threshold = {threshold}
window_duration_secs = 10
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent, and whether it sets the alarm off."""

    name: str
    batch_events: int
    max_rate: int
    """Events that are made for each second of a round: more than can be taken."""
    connections: int
    threshold: float

    def config(self) -> str:
        """Return the rule in TOML."""
        return _RULE.format(metric=METRIC, threshold=self.threshold)


_QUIET = 10 * GREATEST_VALUE
_HOT = -1.0

WORKLOADS = (
    Workload("1 a request", 1, 5_000, 8, _QUIET),
    Workload("100 a request", 100, 150_000, 8, _QUIET),
    Workload("1000 a request", 1_000, 400_000, 8, _QUIET),
    Workload("5000 a request", 5_000, 500_000, 8, _QUIET),
    Workload("1000 a request, hot", 1_000, 200_000, 8, _HOT),
)
"""Quiet: no average is above the threshold. Hot: every event is, and every rule is firing."""


def measure(workload: Workload, folder: Path, *, rounds: int, seconds: float) -> IngestFigures:
    """Run one workload on a daemon of its own, ``rounds`` times ``seconds`` at most."""
    with Daemon(folder, workload.config()) as daemon, LoadGenerator() as client:
        idle_bytes = daemon.resident_bytes()
        reached_us = time.time_ns() // 1000 - _PAST_S * _US_PER_S
        accepted = _introduce(daemon, client, reached_us)
        found = []
        for _ in range(rounds):
            until_us = time.time_ns() // 1000
            client.prepare(
                LoadSpec(
                    host=daemon.host,
                    port=daemon.port,
                    connections=workload.connections,
                    series=SERIES,
                    batch_events=workload.batch_events,
                    events=round(workload.max_rate * seconds),
                    seconds=seconds,
                    from_us=reached_us,
                    until_us=until_us,
                )
            )
            found.append(_run(daemon, client))
            reached_us = until_us
        accepted += sum(each.events for each in found)
        peak_bytes = daemon.peak_bytes()
        daemon.stop()
        stored_bytes = daemon.stored_bytes()
    return IngestFigures(
        workload=workload.name,
        rounds=tuple(found),
        idle_bytes=idle_bytes,
        peak_bytes=peak_bytes,
        stored_bytes_per_event=stored_bytes / accepted,
    )


def _introduce(daemon: Daemon, client: LoadGenerator, until_us: int) -> int:
    """Send one event of every series, unmeasured: series are new, and hot rules begin to fire."""
    client.prepare(
        LoadSpec(
            host=daemon.host,
            port=daemon.port,
            connections=1,
            series=SERIES,
            batch_events=1_000,
            events=SERIES,
            seconds=30.0,
            from_us=until_us - _US_PER_S,
            until_us=until_us,
        )
    )
    result = _answered(client)
    daemon.wait_until_judged()
    return result.accepted


def _run(daemon: Daemon, client: LoadGenerator) -> Round:
    daemon_cpu_s, machine_cpu_s, stolen_cpu_s = daemon.cpu_s(), *_machine_cpu_s()
    began_s = time.perf_counter()
    result = _answered(client)
    daemon.wait_until_judged()
    seconds = time.perf_counter() - began_s
    daemon_cpu_s = daemon.cpu_s() - daemon_cpu_s
    machine_until_s, stolen_until_s = _machine_cpu_s()
    machine_cpu_s = machine_until_s - machine_cpu_s
    return Round(
        events=result.accepted,
        requests=len(result.waits_s),
        seconds=seconds,
        request=percentiles(result.waits_s),
        daemon_cpu_s=daemon_cpu_s,
        client_cpu_s=result.cpu_s,
        other_cpu_s=max(0.0, machine_cpu_s - daemon_cpu_s - result.cpu_s),
        stolen_cpu_s=stolen_until_s - stolen_cpu_s,
    )


def _answered(client: LoadGenerator) -> LoadResult:
    result = client.run()
    if result.problems:
        raise RuntimeError(f"the daemon did not accept everything: {result.problems[0]}")
    return result


def _machine_cpu_s() -> tuple[float, float]:
    """Return how long all cores have worked, and how long they were kept from it."""
    times = psutil.cpu_times()
    worked_s = times.user + times.nice + times.system + times.irq + times.softirq
    return float(worked_s), float(times.steal)
