"""Incidents by brute force: what the contract says of ordered data, in the plainest Python.

It shares no code and no method with the daemon. Every instant at which a window can change is
written down, the aggregate of each is computed anew from a slice of the list, and the
incidents are read off the resulting steps from left to right. Only for events that are sorted
by time with no two at the same microsecond, which is what makes it short.

Rules are dictionaries with the wire's names (``windowDurationSecs``).
"""

from __future__ import annotations

import math
import operator
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

US = 1_000_000
NEVER = math.inf

COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
           "==": operator.eq}  # fmt: skip
ZERO_ON_EMPTY = ("count", "sum", "distinct", "rate")


AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "count": len,
    "distinct": lambda values: len(set(values)),
    "sum": math.fsum,
    "avg": statistics.mean,
    "min": min,
    "max": max,
    "delta": lambda values: values[-1] - values[0],
    "stddev": statistics.pstdev,
}
"""``statistics`` is exact for floats, and rounds once."""


@dataclass(frozen=True)
class Event:
    """One event of one group."""

    time_us: int
    value: float


@dataclass(frozen=True)
class Step:
    """From ``at_us`` to the next step the window ``first_us`` to ``last_us`` has ``value``."""

    at_us: int
    value: float | None
    window_start_us: int
    newest_us: int | None


@dataclass(frozen=True)
class Expected:
    """One incident. ``peak`` is that of the whole incident, also of one that is still open."""

    started_us: int
    fired_us: int
    ended_us: int | None
    reason: str | None
    value: float | None
    peak: float
    window_start_us: int
    window_end_us: int
    event_time_us: int


def incidents(rule: dict[str, Any], events: Sequence[Event], horizon_us: int) -> list[Expected]:
    """Return the incidents of one group as they are known when time has come to ``horizon_us``."""
    if rule["type"] == "BUCKETED_WINDOW":
        return _incidents(rule, _closed_windows(rule, events, horizon_us), horizon_us)
    return _incidents(rule, _moving_windows(rule, events, horizon_us), horizon_us)


def aggregate(rule: dict[str, Any], values: Sequence[float]) -> float | None:
    """Return the aggregate of the values of a window, oldest first; None if it has no value."""
    name = rule.get("aggregate", "count" if rule["type"] == "SIMPLE_COUNT" else "avg")
    if len(values) < rule.get("minSamples", 0 if name in ZERO_ON_EMPTY else 1):
        return None
    if name.startswith("p"):
        rank = math.ceil(int(name[1:]) * len(values) / 100)
        return sorted(values)[rank - 1]
    return AGGREGATES[name](values)


def _moving_windows(rule: dict[str, Any], events: Sequence[Event], horizon_us: int) -> list[Step]:
    """``(T - W, T]`` at every T at which an event enters or leaves."""
    window_us = _us(rule["windowDurationSecs"])
    times = [event.time_us for event in events]
    values = [event.value for event in events]
    instants = sorted({*times, *(time_us + window_us for time_us in times)})
    steps = []
    for at_us in instants:
        if at_us <= horizon_us:
            first = bisect_right(times, at_us - window_us)
            end = bisect_right(times, at_us)
            newest_us = times[end - 1] if end > first else None
            value = aggregate(rule, values[first:end])
            steps.append(Step(at_us, value, at_us - window_us, newest_us))
    return steps


def _closed_windows(rule: dict[str, Any], events: Sequence[Event], horizon_us: int) -> list[Step]:
    """``[e - W, e)`` at every multiple e of the bucket interval, from the first event on."""
    window_us = _us(rule["windowDurationSecs"])
    bucket_us = _us(rule.get("bucketIntervalSecs", rule["windowDurationSecs"]))
    times = [event.time_us for event in events]
    values = [event.value for event in events]
    steps = []
    for end_us in range((times[0] // bucket_us + 1) * bucket_us, horizon_us + 1, bucket_us):
        first = bisect_left(times, end_us - window_us)
        end = bisect_left(times, end_us)
        newest_us = times[end - 1] if end > first else None
        value = aggregate(rule, values[first:end])
        steps.append(Step(end_us, value, end_us - window_us, newest_us))
    return steps


def _incidents(rule: dict[str, Any], steps: Sequence[Step], horizon_us: int) -> list[Expected]:
    compare = COMPARE[rule.get("operator", ">")]
    limit = rule["threshold"]
    lax_limit = rule.get("resolveThreshold", limit)
    for_us = _us(rule.get("forSecs", 0))
    keep_us = _us(rule.get("keepFiringSecs", 0))
    is_true = [step.value is not None and compare(step.value, limit) for step in steps]
    is_clear = [step.value is None or not compare(step.value, lax_limit) for step in steps]

    found = []
    place = 0
    while (place := _next(is_true, True, place)) < len(steps):
        false_again = _next(is_true, False, place)
        fired_us = steps[place].at_us + for_us
        if fired_us >= _at(steps, false_again):
            place = false_again  # it did not hold for long enough
            continue
        if fired_us > horizon_us:
            break
        ended = false_again
        while (ended := _next(is_clear, True, ended)) < len(steps):
            unclear = _next(is_clear, False, ended)
            if steps[ended].at_us + keep_us < _at(steps, unclear):
                break
            ended = unclear
        is_over = _at(steps, ended) + keep_us <= horizon_us
        found.append(_expected(rule, steps, place, fired_us, ended if is_over else None))
        if not is_over:
            break
        place = ended
    return found


def _expected(
    rule: dict[str, Any], steps: Sequence[Step], start: int, fired_us: int, ended: int | None
) -> Expected:
    compare = COMPARE[rule.get("operator", ">")]
    worst = max if rule.get("operator", ">") in (">", ">=", "==") else min
    firing = [step for step in steps if step.at_us <= fired_us][-1]
    # A moving window ends where it is looked at, a bucketed one where it was closed.
    shift_us = 0 if rule["type"] == "BUCKETED_WINDOW" else fired_us - firing.at_us
    window_us = _us(rule["windowDurationSecs"])
    return Expected(
        started_us=steps[start].at_us,
        fired_us=fired_us,
        ended_us=None if ended is None else steps[ended].at_us,
        reason=_reason(None if ended is None else steps[ended]),
        value=firing.value,
        peak=worst(
            step.value
            for step in steps[start:ended]
            if step.value is not None and compare(step.value, rule["threshold"])
        ),
        window_start_us=firing.window_start_us + shift_us,
        window_end_us=firing.window_start_us + shift_us + window_us,
        event_time_us=fired_us if firing.newest_us is None else firing.newest_us,
    )


def _reason(ended: Step | None) -> str | None:
    if ended is None:
        return None
    return "no_data" if ended.value is None else "recovered"


def _next(flags: Sequence[bool], wanted: bool, start: int) -> int:
    """Return the first place from ``start`` on that has the wanted flag, or the length."""
    return next((i for i in range(start, len(flags)) if flags[i] is wanted), len(flags))


def _at(steps: Sequence[Step], place: int) -> float:
    return steps[place].at_us if place < len(steps) else NEVER


def _us(seconds: float) -> int:
    return round(seconds * US)
