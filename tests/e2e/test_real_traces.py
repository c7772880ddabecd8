"""Real traces, pushed over HTTP, against incidents that were calculated by brute force.

The traces are those of the Numenta Anomaly Benchmark: CPU, latency, request counts, tweets and
road occupancy, a sample every five minutes or so, with gaps, repeated timestamps and a clock
that was set back. They are shifted in time so that all of them end within the last quarter of
an hour. Every incident of every rule must be the calculated one, in every field.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.brute_force import US, Event, Expected, incidents
from tests.e2e.daemon import Daemon, to_rfc3339, to_us

TRACES = Path(__file__).parents[3] / "shared" / "data" / "nab"
METRIC_OF = {
    "Twitter_volume_AAPL": "tweets",
    "cpu_utilization_asg_misconfiguration": "cpu_percent",
    "ec2_cpu_utilization_24ae8d": "cpu_percent",
    "ec2_cpu_utilization_5f5533": "cpu_percent",
    "rds_cpu_utilization_cc0c53": "cpu_percent",
    "ec2_request_latency_system_failure": "latency_ms",
    "elb_request_count_8c0756": "requests",
    "occupancy_6005": "occupancy_percent",
}
QUARTER_US = 900 * US
LATENESS_S = 600
"""Also how long the whole test may take; see ``horizon_us``."""
BATCH = 4000

pytestmark = pytest.mark.skipif(
    not TRACES.is_dir(), reason="needs the traces in ../shared/data/nab, beside the repository"
)

RULES: list[dict[str, Any]] = [
    {
        "name": "CPU is busy for an hour",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "avg",
        "operator": ">", "threshold": 60, "windowDurationSecs": 3600,
    },
    {
        "name": "tweets come in masses, until they are few",
        "type": "MOVING_WINDOW", "metricName": "tweets", "aggregate": "sum",
        "operator": ">", "threshold": 3000, "resolveThreshold": 1000, "windowDurationSecs": 1800,
    },
    {
        "name": "slow for a while",
        "type": "MOVING_WINDOW", "metricName": "latency_ms", "aggregate": "p95",
        "operator": ">=", "threshold": 50, "windowDurationSecs": 3600, "forSecs": 900,
    },
    {
        "name": "CPU at its limit within an hour",
        "type": "BUCKETED_WINDOW", "metricName": "cpu_percent", "aggregate": "max",
        "operator": ">", "threshold": 90, "windowDurationSecs": 3600,
    },
    {
        "name": "CPU is restless",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "stddev",
        "operator": ">", "threshold": 6, "windowDurationSecs": 7200,
        "matchers": {"trace": "=~.*(rds|asg|5f5533).*"},
    },
    {
        "name": "the road is empty",
        "type": "MOVING_WINDOW", "metricName": "occupancy_percent", "aggregate": "min",
        "operator": "<", "threshold": 0.5, "windowDurationSecs": 900,
    },
    {
        "name": "many requests, looked at each quarter",
        "type": "BUCKETED_WINDOW", "metricName": "requests", "aggregate": "avg",
        "operator": ">", "threshold": 120, "windowDurationSecs": 3600, "bucketIntervalSecs": 900,
        "keepFiringSecs": 1800,
    },
    {
        "name": "more samples than a well-kept clock makes",
        "type": "SIMPLE_COUNT", "metricName": "latency_ms",
        "operator": ">", "threshold": 12, "windowDurationSecs": 3600,
    },
    {
        "name": "the sensor of the road hurries",
        "type": "SIMPLE_COUNT", "metricName": "occupancy_percent",
        "operator": ">=", "threshold": 7, "windowDurationSecs": 1800,
    },
    {
        "name": "CPU jumps, and is not calm at once",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "delta",
        "operator": ">", "threshold": 30, "windowDurationSecs": 900, "keepFiringSecs": 1200,
    },
    {
        "name": "nobody tweets for two quarters",
        "type": "BUCKETED_WINDOW", "metricName": "tweets", "aggregate": "avg",
        "operator": "<=", "threshold": 12, "windowDurationSecs": 900, "forSecs": 900,
    },
    {
        "name": "CPU is frozen at one value",
        "type": "MOVING_WINDOW", "metricName": "cpu_percent", "aggregate": "distinct",
        "operator": "==", "threshold": 1, "windowDurationSecs": 1800, "minSamples": 6,
        "matchers": {"trace": "!=cpu_utilization_asg_misconfiguration"},
    },
]  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """The traces as they were pushed, and what the daemon made of them."""

    daemon: Daemon
    traces: dict[str, list[Event]]
    end_us: int
    rules: dict[str, dict[str, Any]]
    """The daemon's replies, by name."""


def load_traces(end_us: int) -> dict[str, list[Event]]:
    """Return each trace, sorted, shifted so that its last event is at ``end_us``.

    Of samples with one timestamp the later ones are put off by a microsecond each: they stay
    distinct instants in the order of the file. Unchanged they would be ties, each of which is
    judged as it arrives, so that the incidents would depend on more than the data.
    """
    return {name: load_trace(TRACES / f"{name}.csv", end_us) for name in METRIC_OF}


def load_trace(path: Path, end_us: int) -> list[Event]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (to_us(row["timestamp"] + "Z"), float(row["value"])) for row in csv.DictReader(file)
        ]
    rows.sort(key=lambda row: row[0])  # stable: of one timestamp in the order of the file
    events: list[Event] = []
    shift_us = end_us - rows[-1][0]
    for time_us, value in rows:
        earliest_us = events[-1].time_us + 1 if events else 0
        events.append(Event(max(time_us + shift_us, earliest_us), value))
    assert events[-1].time_us == end_us
    return events


def horizon_us(rule: dict[str, Any], end_us: int) -> int:
    """Return the instant up to which the rule has been judged when all events are in.

    Moving windows are judged up to the last event; the clock alone goes further when the
    allowed lateness L has passed since it came. Closed windows are judged up to L before the
    last event, and the clock goes on from there at once. But as all events of a trace but a few
    nudged ones lie on a grid of minutes from ``end_us``, which is chosen such that L before it
    is the edge of a bucket, nothing can happen within the quarter of an hour behind either.
    """
    return end_us - LATENESS_S * US if rule["type"] == "BUCKETED_WINDOW" else end_us


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    config = "[store]\nevent_retention_days = 90\n"
    with Daemon(tmp_path_factory.mktemp("traces"), config) as daemon:
        began_s = time.monotonic()
        # The latest L after the edge of a quarter of an hour that is past.
        end_us = (time.time_ns() // 1000 - LATENESS_S * US) // QUARTER_US * QUARTER_US
        end_us += LATENESS_S * US
        traces = load_traces(end_us)
        rules = {
            rule["name"]: daemon.post_rule(
                **rule, groupBy=["trace"], allowedLatenessSecs=LATENESS_S
            )
            for rule in RULES
        }
        push(daemon, traces)
        daemon.wait_until_judged()
        yield Recording(daemon, traces, end_us, rules)
        assert time.monotonic() - began_s < LATENESS_S, "too slow: the clock has moved the horizon"


def push(daemon: Daemon, traces: dict[str, list[Event]]) -> None:
    """Push all traces, merged in order of time: as JSON and as NDJSON in turn."""
    stream = sorted(
        ((event, name) for name, events in traces.items() for event in events),
        key=lambda pair: pair[0].time_us,
    )
    for number, start in enumerate(range(0, len(stream), BATCH)):
        part = stream[start : start + BATCH]
        if number % 2:
            lines = (json.dumps(on_the_wire(event, name)) for event, name in part)
            answer = daemon.client.post(
                "/api/events",
                content="\n".join(lines),
                headers={"Content-Type": "application/x-ndjson"},
            )
            assert answer.status_code == 202, answer.text
            receipt = answer.json()
        else:
            receipt = daemon.post_events([on_the_wire(event, name) for event, name in part])
        assert (receipt["accepted"], receipt["rejected"]) == (len(part), 0)


def on_the_wire(event: Event, trace: str) -> dict[str, Any]:
    return {
        "metricName": METRIC_OF[trace],
        "timestamp": to_rfc3339(event.time_us),
        "value": event.value,
        "labels": {"trace": trace},
    }


def calculated(rule: dict[str, Any], recording: Recording) -> dict[str, list[Expected]]:
    """Return what must be found, by trace."""
    return {
        trace: found
        for trace, events in recording.traces.items()
        if METRIC_OF[trace] == rule["metricName"] and is_watched(rule, trace)
        if (found := incidents(rule, events, horizon_us(rule, recording.end_us)))
    }


def is_watched(rule: dict[str, Any], trace: str) -> bool:
    """Say of the two matchers above what they mean, without a second reading of matchers."""
    watched = {
        "=~.*(rds|asg|5f5533).*": trace != "ec2_cpu_utilization_24ae8d",
        "!=cpu_utilization_asg_misconfiguration": trace != "cpu_utilization_asg_misconfiguration",
    }
    return watched.get(rule.get("matchers", {}).get("trace", ""), True)


def reported(items: list[dict[str, Any]]) -> dict[str, list[Expected]]:
    """Return what the daemon says, in the same form, sorted by time."""
    found: dict[str, list[Expected]] = {}
    for item in items:
        assert item["detectedBy"] == "stream"
        found.setdefault(item["groupLabels"]["trace"], []).append(
            Expected(
                started_us=to_us(item["startedAt"]),
                fired_us=to_us(item["firedAt"]),
                ended_us=None if item["endedAt"] is None else to_us(item["endedAt"]),
                reason=item["reason"],
                value=item["currentValue"],
                peak=item["peakValue"],
                window_start_us=to_us(item["windowStart"]),
                window_end_us=to_us(item["windowEnd"]),
                event_time_us=to_us(item["eventTime"]),
            )
        )
    return {trace: sorted(of, key=lambda one: one.started_us) for trace, of in found.items()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["name"].replace(" ", "_"))
def test_the_incidents_of_real_traces_are_the_calculated_ones(
    recording: Recording, rule: dict[str, Any]
) -> None:
    expected = calculated(rule, recording)
    assert expected, "the rule finds nothing in these traces, so the test would say nothing"
    items = recording.daemon.history(f"/api/alerts/{recording.rules[rule['name']]['id']}/history")
    found = reported(items)
    assert {trace: len(of) for trace, of in found.items()} == {
        trace: len(of) for trace, of in expected.items()
    }
    for trace, wanted in expected.items():
        for theirs, ours in zip(found[trace], wanted, strict=True):
            if ours.ended_us is None:  # its peak is recorded when it ends
                ours = replace(ours, peak=theirs.peak)
            assert theirs == ours, trace


def test_the_traces_are_stored_event_by_event(recording: Recording) -> None:
    pushed = sum(len(events) for events in recording.traces.values())
    metrics = recording.daemon.client.get("/metrics").text
    assert f"alertd_events_accepted_total {float(pushed)}" in metrics


def test_the_traces_hold_what_makes_them_hard(recording: Recording) -> None:
    gaps_us = [
        after.time_us - before.time_us
        for events in recording.traces.values()
        for before, after in pairwise(events)
    ]
    assert min(gaps_us) == 1, "there is a repeated timestamp, put off by a microsecond"
    assert max(gaps_us) > 86_400 * US, "there is a gap of days"
    newest = max(events[-1].time_us for events in recording.traces.values())
    assert datetime.fromtimestamp(newest / US, UTC).minute % 15 == LATENESS_S // 60 % 15
