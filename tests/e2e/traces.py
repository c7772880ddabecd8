"""Real traces, and rules that find something in them.

The traces are those of the Numenta Anomaly Benchmark: CPU, latency, request counts, tweets and
road occupancy, a sample every five minutes or so, with gaps, repeated timestamps and a clock
that was set back.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.brute_force import Event
from tests.e2e.daemon import to_rfc3339, to_us

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

needs_traces = pytest.mark.skipif(
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


def on_the_wire(event: Event, trace: str) -> dict[str, Any]:
    return {
        "metricName": METRIC_OF[trace],
        "timestamp": to_rfc3339(event.time_us),
        "value": event.value,
        "labels": {"trace": trace},
    }


def is_watched(rule: dict[str, Any], trace: str) -> bool:
    """Say of the two matchers above what they mean, without a second reading of matchers."""
    watched = {
        "=~.*(rds|asg|5f5533).*": trace != "ec2_cpu_utilization_24ae8d",
        "!=cpu_utilization_asg_misconfiguration": trace != "cpu_utilization_asg_misconfiguration",
    }
    return watched.get(rule.get("matchers", {}).get("trace", ""), True)
