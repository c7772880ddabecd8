"""SEMANTICS by brute force: the incidents of one (rule, group), computed from all its events.

Owns a second, independent reading of sections 3 to 5: every instant at which the condition can
change is listed, each window is found by filtering the whole list and reduced by Python's own
exact arithmetic, and the incidents are read off the resulting segments of time. It shares
nothing with the incremental engine but the names of the levels, so that a mistake has to be
made twice to stay unseen.

A group that has been quiet for ``groupTtlSecs`` is dropped: what it gets later is another *life*,
which shares nothing with the one before.

Invariant: the answer is a function of the events, their receive times and the wall time alone.
A late event stands where its event time puts it, as if it had come in order. Leaves to others:
ids, windows' edges, and what was told before. Cost: O(n) for each instant that is judged, and
for a bucketed rule every bucket is one; for checking, and for short stretches of time.
"""

from __future__ import annotations

import operator
import statistics
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import groupby, zip_longest
from typing import Final, NamedTuple

from alertd.engine.condition import Level
from alertd.model import US_PER_S, EndReason, Evaluate, OnNoData, Operator, Rule, RuleType
from alertd.rules import ZERO_ON_EMPTY


class Arrival(NamedTuple):
    """An event of the group, and when it was received."""

    time_us: int
    value: float
    received_us: int


class Episode(NamedTuple):
    """An incident, without its name."""

    started_us: int
    fired_us: int
    ended_us: int | None
    end_reason: EndReason | None
    value: float | None
    """The aggregate at ``fired_us``; None where the window had no value."""
    peak_value: float | None
    """The value furthest beyond the threshold; None where no window had a value."""


class Life(NamedTuple):
    """What a group is from its first event until it has been quiet for its rule's time."""

    arrivals: list[Arrival]
    dropped_us: int | None
    """The wall time at which it was dropped; None if it is still there."""


class Segment(NamedTuple):
    """A stretch ``[start_us, end_us)`` in which nothing changes; the last has no end yet."""

    start_us: int
    end_us: int | None
    level: Level
    value: float | None
    """What an incident that fires here has for a value."""
    worst: float | None
    """What it has for a peak; another only where several early windows are in breach."""


_HOLDS: Final[dict[Operator, Callable[[float, float], bool]]] = {
    Operator.GT: operator.gt,
    Operator.GE: operator.ge,
    Operator.LT: operator.lt,
    Operator.LE: operator.le,
    Operator.EQ: operator.eq,
    Operator.NE: operator.ne,
}
_CLEAR_LEVELS: Final = frozenset({Level.CLEAR, Level.NO_DATA})


def rescan(rule: Rule, active_us: int, arrivals: Sequence[Arrival], now_us: int) -> list[Episode]:
    """Return the incidents of one group of ``rule`` that can be known at wall time ``now_us``.

    ``active_us`` is when the rule became active; ``arrivals`` are the group's events, those of
    one event time in order of arrival, and none received after ``now_us``.
    """
    found: list[Episode] = []
    for life in lives(rule, arrivals, now_us):
        until_us = now_us if life.dropped_us is None else life.dropped_us
        horizon_us = horizon(rule, active_us, life.arrivals, until_us)
        if horizon_us is None:
            continue
        events = sorted(life.arrivals, key=lambda arrival: arrival.time_us)
        episodes = _episodes(rule, _segments(rule, active_us, events, horizon_us), horizon_us)
        if life.dropped_us is not None:
            episodes = [_expired(episode, horizon_us) for episode in episodes]
        found += episodes
    return found


def lives(rule: Rule, arrivals: Sequence[Arrival], now_us: int) -> list[Life]:
    """Cut what a group got where it was quiet for ``groupTtlSecs``, by the wall clock.

    An event that was ahead of the clock is quiet from its own time on. There is always a life for
    a rule that watches for silence, and that never ends.
    """
    if _watches_silence(rule):
        return [Life(list(arrivals), None)]
    found: list[Life] = []
    life: list[Arrival] = []
    for arrival in sorted(arrivals, key=lambda arrival: arrival.received_us):
        if life and arrival.received_us >= _quiet_until_us(rule, life):
            found.append(Life(life, _quiet_until_us(rule, life)))
            life = []
        life.append(arrival)
    if life:
        dropped_us = _quiet_until_us(rule, life)
        found.append(Life(life, dropped_us if dropped_us <= now_us else None))
    return found


def _quiet_until_us(rule: Rule, arrivals: Sequence[Arrival]) -> int:
    """Return when a group is dropped that gets no more than these."""
    return max(max(a.received_us, a.time_us) for a in arrivals) + rule.group_ttl_us


def _expired(episode: Episode, horizon_us: int) -> Episode:
    if episode.ended_us is not None:
        return episode
    ended_us = max(horizon_us, episode.fired_us)
    return episode._replace(ended_us=ended_us, end_reason=EndReason.EXPIRED)


def horizon(rule: Rule, active_us: int, arrivals: Sequence[Arrival], now_us: int) -> int | None:
    """Return H of section 5: the event time up to which the group is judged at ``now_us``.

    None as long as the group has nothing to judge: the clock has reached no event, and the rule
    does not watch for silence.
    """
    raises = [(active_us, active_us)] if _watches_silence(rule) else []  # every (M, R)
    for seen_us, time_us in sorted((max(a.received_us, a.time_us), a.time_us) for a in arrivals):
        if seen_us <= now_us and (not raises or time_us > raises[-1][0]):
            raises.append((time_us, seen_us))
    if not raises:
        return None
    on_close = _judges_on_close(rule)
    lateness_us = rule.allowed_lateness_us if on_close else max(1, rule.allowed_lateness_us)
    in_force_until = [raised_us for _, raised_us in raises[1:]] + [now_us]
    reached = [
        newest_us + (until_us - raised_us) - lateness_us
        for (newest_us, raised_us), until_us in zip(raises, in_force_until, strict=True)
    ]
    if not on_close:
        reached.append(raises[-1][0])
    return max(reached)


def _segments(
    rule: Rule, active_us: int, events: Sequence[Arrival], horizon_us: int
) -> list[Segment]:
    """Cut time, up to the horizon, where the condition can change, and judge every piece."""
    if rule.evaluate is Evaluate.EARLY:
        return _early_segments(rule, active_us, events, horizon_us)
    warm_us = _warm_us(rule, active_us, events)
    if _judges_on_close(rule):
        starts = _bucket_ends(rule, active_us, events, horizon_us)
        shift_us = -1  # [e - W, e) in whole microseconds is (e - 1 - W, e - 1]
    else:
        edges = {edge for e in events for edge in (e.time_us, e.time_us + rule.window_us)}
        starts = sorted(edge for edge in edges | {warm_us} if edge <= horizon_us)
        shift_us = 0
    segments = []
    for start_us, end_us in zip_longest(starts, starts[1:]):
        at_us = start_us + shift_us
        inside = [e.value for e in events if at_us - rule.window_us < e.time_us <= at_us]
        level, value = _judge(rule, inside)
        if start_us < warm_us:
            level, value = Level.CLEAR, None
        segments.append(Segment(start_us, end_us, level, value, value))
    return segments


def _early_segments(
    rule: Rule, active_us: int, events: Sequence[Arrival], horizon_us: int
) -> list[Segment]:
    """Cut time at every event and at every end of a bucket, and judge every piece."""
    instants = {e.time_us for e in events if e.time_us <= horizon_us}
    starts = sorted(instants.union(_bucket_ends(rule, active_us, events, horizon_us)))
    return [
        Segment(start_us, end_us, *_judge_early(rule, events, start_us))
        for start_us, end_us in zip_longest(starts, starts[1:])
    ]


def _judge_early(
    rule: Rule, events: Sequence[Arrival], at_us: int
) -> tuple[Level, float | None, float | None]:
    """Return where c stands at an instant, the value to fire with, and the worst value."""
    closed_us = at_us // rule.bucket_us * rule.bucket_us
    latched = []
    for end_us in range(closed_us + rule.bucket_us, at_us + rule.window_us + 1, rule.bucket_us):
        so_far = [e for e in events if end_us - rule.window_us <= e.time_us <= at_us]
        judged = [
            _judge(rule, [e.value for e in so_far if e.time_us <= instant.time_us])
            for instant in so_far
        ]
        if any(level is Level.BREACH for level, _ in judged):
            latched.append(judged[-1][1])
    if latched:
        return Level.BREACH, latched[0], _worst(rule, [v for v in latched if v is not None])
    closed = [e.value for e in events if closed_us - rule.window_us <= e.time_us < closed_us]
    level, value = _judge(rule, closed)
    return level, value, value


def _judges_on_close(rule: Rule) -> bool:
    return rule.type is RuleType.BUCKETED_WINDOW and rule.evaluate is Evaluate.ON_CLOSE


def _bucket_ends(
    rule: Rule, active_us: int, events: Sequence[Arrival], horizon_us: int
) -> list[int]:
    first_us = min([e.time_us for e in events] + [active_us] * _watches_silence(rule))
    first_end_us = (first_us // rule.bucket_us + 1) * rule.bucket_us
    return list(range(first_end_us, horizon_us + 1, rule.bucket_us))


def _warm_us(rule: Rule, active_us: int, events: Sequence[Arrival]) -> int:
    """Return the end of the warm-up; for a rule that needs none, an instant before all others."""
    times = [e.time_us for e in events]
    if _judge(rule, [])[0] is not Level.BREACH:
        return min(times)
    if rule.group_by:
        return max(active_us, min(times)) + rule.window_us
    return active_us + rule.window_us


def _watches_silence(rule: Rule) -> bool:
    return not rule.group_by and _judge(rule, [])[0] is Level.BREACH


def _judge(rule: Rule, inside: Sequence[float]) -> tuple[Level, float | None]:
    """Return where c stands for a window with these values, by event time, and its value."""
    has_value = bool(inside) or rule.aggregate in ZERO_ON_EMPTY
    if len(inside) < rule.min_samples or not has_value:
        of_no_value = {
            OnNoData.RESOLVE: Level.NO_DATA,
            OnNoData.KEEP: Level.HELD,
            OnNoData.ALERT: Level.BREACH,
        }
        return of_no_value[rule.on_no_data], None
    holds, value = _HOLDS[rule.operator], _reduce(rule, inside)
    if holds(value, rule.threshold):
        return Level.BREACH, value
    if rule.resolve_threshold is not None and holds(value, rule.resolve_threshold):
        return Level.HELD, value
    return Level.CLEAR, value


def _reduce(rule: Rule, inside: Sequence[float]) -> float:
    """Return the rule's aggregate by its definition in section 3."""

    def total() -> Fraction:
        return sum(map(Fraction, inside), Fraction(0))

    definitions: dict[str, Callable[[], float]] = {
        "count": lambda: len(inside),
        "distinct": lambda: len(set(inside)),
        "sum": lambda: _rounded(total()),
        "avg": lambda: _rounded(total() / len(inside)),
        "rate": lambda: _rounded(total() * US_PER_S / rule.window_us),
        "stddev": lambda: statistics.pstdev(inside),
        "min": lambda: min(inside),
        "max": lambda: max(inside),
        "first": lambda: inside[0],
        "last": lambda: inside[-1],
        "delta": lambda: _rounded(Fraction(inside[-1]) - Fraction(inside[0])),
    }
    if rule.aggregate in definitions:
        return definitions[rule.aggregate]()
    share = Fraction(rule.aggregate.removeprefix("p")) / 100
    return next(
        value
        for rank, value in enumerate(sorted(inside), start=1)
        if Fraction(rank, len(inside)) >= share
    )


def _rounded(exact: Fraction) -> float:
    """Return the nearest float; beyond their range, the greatest."""
    try:
        return float(exact)
    except OverflowError:
        return sys.float_info.max if exact > 0 else -sys.float_info.max


def _episodes(rule: Rule, segments: Sequence[Segment], horizon_us: int) -> list[Episode]:
    """Read the incidents off the segments (section 4)."""
    breaches = _served(segments, frozenset({Level.BREACH}), rule.for_us, horizon_us)
    clearings = _served(segments, _CLEAR_LEVELS, rule.keep_firing_us, horizon_us)
    episodes: list[Episode] = []
    for began in breaches:
        if episodes and (episodes[-1].ended_us is None or began.start_us < episodes[-1].ended_us):
            continue  # part of the incident before
        fired_us = began.start_us + rule.for_us
        ended = next((run for run in clearings if run.start_us > fired_us), None)
        ended_us = None if ended is None else ended.start_us
        breaching = [
            s
            for s in segments
            if s.level is Level.BREACH
            and began.start_us <= s.start_us
            and (ended_us is None or s.start_us < ended_us)
        ]
        episodes.append(
            Episode(
                started_us=began.start_us,
                fired_us=fired_us,
                ended_us=ended_us,
                end_reason=None if ended is None else _reason(ended),
                value=[s.value for s in breaching if s.start_us <= fired_us][-1],
                peak_value=_worst(rule, [s.worst for s in breaching if s.worst is not None]),
            )
        )
    return episodes


def _served(
    segments: Sequence[Segment], levels: frozenset[Level], duration_us: int, horizon_us: int
) -> list[Segment]:
    """Return the maximal runs in ``levels`` that still hold ``duration_us`` after they began.

    A run has the level and the value with which it began.
    """
    runs = []
    for is_inside, stretch in groupby(segments, key=lambda s: s.level in levels):
        first, *others = stretch
        run = first._replace(end_us=others[-1].end_us) if others else first
        end_us = horizon_us + 1 if run.end_us is None else run.end_us
        if is_inside and run.start_us + duration_us < end_us:
            runs.append(run)
    return runs


def _reason(clearing: Segment) -> EndReason:
    return EndReason.NO_DATA if clearing.level is Level.NO_DATA else EndReason.RECOVERED


def _worst(rule: Rule, values: Sequence[float]) -> float | None:
    if rule.operator in (Operator.GT, Operator.GE):
        return max(values, default=None)
    if rule.operator in (Operator.LT, Operator.LE):
        return min(values, default=None)
    return max(values, key=lambda value: abs(value - rule.threshold), default=None)
