"""Real traces, pushed over HTTP, against incidents that were calculated by brute force.

They are shifted in time so that all of them end within the last quarter of
an hour. Every incident of every rule must be the calculated one, in every field.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.e2e.brute_force import US, Event, Expected, incidents
from tests.e2e.daemon import Daemon, to_us
from tests.e2e.traces import METRIC_OF, RULES, is_watched, load_traces, needs_traces, on_the_wire

QUARTER_US = 900 * US
LATENESS_S = 600
"""Also how long the whole test may take; see ``horizon_us``."""
BATCH = 4000

pytestmark = needs_traces


@dataclass(frozen=True)
class Recording:
    """The traces as they were pushed, and what the daemon made of them."""

    daemon: Daemon
    traces: dict[str, list[Event]]
    end_us: int
    rules: dict[str, dict[str, Any]]
    """The daemon's replies, by name."""


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


def calculated(rule: dict[str, Any], recording: Recording) -> dict[str, list[Expected]]:
    """Return what must be found, by trace."""
    return {
        trace: found
        for trace, events in recording.traces.items()
        if METRIC_OF[trace] == rule["metricName"] and is_watched(rule, trace)
        if (found := incidents(rule, events, horizon_us(rule, recording.end_us)))
    }


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
