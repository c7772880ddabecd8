"""Real traces that come out of order by up to an hour, and some of their events six hours late.

SEMANTICS, section 6, consequence 3: after the reconciler has run, the incidents cover every
stretch in which the complete data is in breach, for every rule and every allowed lateness. What
must be covered is calculated by brute force from the events in their right order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.brute_force import US, Event, incidents
from tests.e2e.daemon import Daemon, to_us
from tests.e2e.traces import METRIC_OF, RULES, is_watched, load_traces, needs_traces, on_the_wire

SEED = 20_251_124
MOST_DELAY_US = 3_600 * US
HELD_BACK_US = 6 * 3_600 * US
HELD_BACK_SHARE = 0.03
BATCH = 500
"""Small against an hour of the traces, or a batch would put its events in order again."""
LATENESSES_S = (0, 60, 600, 3_600)
SETTLED_WITHIN_S = 240.0

pytestmark = needs_traces

MORE_RULES: list[dict[str, Any]] = [
    {
        "name": "tweets in a burst",
        "type": "MOVING_WINDOW", "metricName": "tweets", "aggregate": "max",
        "operator": ">=", "threshold": 500, "windowDurationSecs": 600,
    },
    {
        "name": "half of the latencies are high",
        "type": "MOVING_WINDOW", "metricName": "latency_ms", "aggregate": "p50",
        "operator": ">", "threshold": 46, "windowDurationSecs": 7200, "keepFiringSecs": 600,
    },
    {
        "name": "requests of an hour",
        "type": "BUCKETED_WINDOW", "metricName": "requests", "aggregate": "sum",
        "operator": ">", "threshold": 1500, "windowDurationSecs": 3600,
    },
    {
        "name": "requests differ",
        "type": "MOVING_WINDOW", "metricName": "requests", "aggregate": "stddev",
        "operator": ">", "threshold": 80, "windowDurationSecs": 5400,
    },
    {
        "name": "the road is full for long",
        "type": "MOVING_WINDOW", "metricName": "occupancy_percent", "aggregate": "avg",
        "operator": ">", "threshold": 10, "windowDurationSecs": 1800, "forSecs": 1200,
    },
    {
        "name": "CPU fell",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "delta",
        "operator": "<", "threshold": -25, "windowDurationSecs": 1200,
    },
    {
        "name": "few tweets in a bucket",
        "type": "BUCKETED_WINDOW", "metricName": "tweets", "aggregate": "min",
        "operator": "<", "threshold": 3, "windowDurationSecs": 1800, "bucketIntervalSecs": 600,
    },
    {
        "name": "CPU was never so low as to rest",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "min",
        "operator": ">", "threshold": 40, "windowDurationSecs": 3600, "minSamples": 6,
        "resolveThreshold": 35,
    },
]  # fmt: skip

ALL_RULES = [
    {**rule, "allowedLatenessSecs": LATENESSES_S[number % len(LATENESSES_S)]}
    for number, rule in enumerate([*RULES, *MORE_RULES])
]


@dataclass(frozen=True)
class Recording:
    """The traces as they were pushed, and what the daemon made of them."""

    daemon: Daemon
    traces: dict[str, list[Event]]
    rules: dict[str, dict[str, Any]]
    status: dict[str, Any]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    config = "[store]\nevent_retention_days = 90\n[engine]\nreconcile_interval_secs = 5\n"
    with Daemon(tmp_path_factory.mktemp("late"), config) as daemon:
        traces = load_traces(time.time_ns() // 1000 - 60 * US)
        rules = {rule["name"]: daemon.post_rule(**rule, groupBy=["trace"]) for rule in ALL_RULES}
        daemon.client.timeout = SETTLED_WITHIN_S  # a request waits for the judging of late events
        stream = in_order_of_arrival(traces)
        for start in range(0, len(stream), BATCH):
            part = stream[start : start + BATCH]
            receipt = daemon.post_events([on_the_wire(event, name) for event, name in part])
            assert (receipt["accepted"], receipt["rejected"]) == (len(part), 0)
        yield Recording(daemon, traces, rules, wait_until_reconciled(daemon))


def in_order_of_arrival(traces: dict[str, list[Event]]) -> list[tuple[Event, str]]:
    """Return all events in the order in which they come."""
    source = random.Random(SEED)  # noqa: S311  # the same shuffle in every run, no secret

    def arrival_us(event: Event) -> float:
        if source.random() < HELD_BACK_SHARE:
            return event.time_us + HELD_BACK_US
        return event.time_us + source.uniform(0, MOST_DELAY_US)

    stream = [
        (arrival_us(event), event, name) for name, events in traces.items() for event in events
    ]
    stream.sort(key=lambda arrival: arrival[0])
    return [(event, name) for _, event, name in stream]


def wait_until_reconciled(daemon: Daemon) -> dict[str, Any]:
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while (status := daemon.get("/api/status"))["lagSecs"] or status["overdueGroups"]:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


def covers(intervals: list[tuple[int, int | None]], start_us: int, end_us: int) -> bool:
    """Say whether the union of ``intervals``, each half-open, contains ``[start_us, end_us)``."""
    reached_us = start_us
    for begin_us, until_us in sorted(intervals, key=lambda interval: interval[0]):
        if begin_us <= reached_us and (until_us is None or until_us > reached_us):
            if until_us is None:
                return True
            reached_us = until_us
    return reached_us >= end_us


def known_us(rule: dict[str, Any], events: list[Event]) -> int:
    """Return up to when the rule must have judged; the clock may have taken it further."""
    newest_us = events[-1].time_us
    is_bucketed = rule["type"] == "BUCKETED_WINDOW"
    return newest_us - rule["allowedLatenessSecs"] * US if is_bucketed else newest_us


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule["name"].replace(" ", "_"))
def test_every_breach_is_covered_whatever_order_the_events_came_in(
    recording: Recording, rule: dict[str, Any]
) -> None:
    rule_id = recording.rules[rule["name"]]["id"]
    told: dict[str, list[tuple[int, int | None]]] = {}
    for item in recording.daemon.history(f"/api/alerts/{rule_id}/history"):
        end_us = None if item["endedAt"] is None else to_us(item["endedAt"])
        told.setdefault(item["groupLabels"]["trace"], []).append((to_us(item["startedAt"]), end_us))
    breaches = 0
    for trace, events in recording.traces.items():
        if METRIC_OF[trace] != rule["metricName"] or not is_watched(rule, trace):
            continue
        until_us = known_us(rule, events)
        for breach in incidents(rule, events, until_us):
            end_us = until_us if breach.ended_us is None else breach.ended_us
            assert covers(told.get(trace, []), breach.started_us, end_us), (trace, breach)
            breaches += 1
    assert breaches, "the rule finds nothing in these traces, so the test would say nothing"


def test_events_were_late_in_both_ways(recording: Recording) -> None:
    found = recording.daemon.history()
    assert {"stream", "late", "reconcile"} <= {item["detectedBy"] for item in found}
    assert recording.status["overdueEvents"] > 1_000
