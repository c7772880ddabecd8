"""How the engine's cost grows: CPU time of an event against the one thing that is varied.

Owns the curves. Each point is CPU time of this process for ``Engine.step``, so that other load
on the machine matters little; the collector of garbage is off while it is measured. Every event
is judged (all values are beyond the threshold), except where it says "quiet".

Events come in batches of what happened since the last one, so the allowed lateness is a batch.
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from alertd.engine.engine import Engine
from alertd.model import Evaluate, EventBatch, Rule, RuleType
from bench.results import Curve, Point
from bench.streams import (
    BATCH,
    BEGIN_US,
    EVERY_US,
    HALF,
    QUIET,
    Options,
    in_turn,
    make_engine,
    make_rule,
)

_MEASURED_EVENTS = 20_000
_LATE_EVENTS = 20

_WINDOWS = (10, 100, 1_000, 10_000)
_BUFFERS = (1_000, 10_000, 100_000)
_AGGREGATES = ("count", "sum", "avg", "min", "max", "stddev", "p95")
_ROUNDS = 3
"""How often what is compared to a few per cent is measured; the least counts."""

_BUCKETED: Final[Options] = {"type": RuleType.BUCKETED_WINDOW}
_KINDS: Final[dict[str, Options]] = {
    "moving sum": {},
    "moving max": {"aggregate": "max"},
    "moving p95": {"aggregate": "p95"},
    "moving last, up and down": {"aggregate": "last", "threshold": HALF},
    "tumbling sum": _BUCKETED,
    "hopping sum, 10 hops": _BUCKETED | {"hops": 10},
    "early tumbling sum": _BUCKETED | {"evaluate": Evaluate.EARLY},
    "early hopping sum, 10 hops": _BUCKETED | {"evaluate": Evaluate.EARLY, "hops": 10},
}


def measure(tell: Callable[[str], None]) -> list[Curve]:
    """Draw every curve; ``tell`` is told of each. Three minutes."""
    curves = []
    cases: dict[str, Options] = {f"moving {name}": {"aggregate": name} for name in _AGGREGATES}
    for case, options in (cases | _KINDS).items():
        tell(f"curves: in order, {case} …")
        points = [Point(size, _in_order(make_rule(size, **options))) for size in _WINDOWS]
        curves.append(Curve(f"{case}, in order", "window", points))
    for case, options in _KINDS.items():
        tell(f"curves: late, {case} …")
        points = [Point(size, _late(size, 20_000, options)) for size in _WINDOWS]
        curves.append(Curve(f"{case}, late", "window", points))
        points = [Point(size, _late(100, size, options)) for size in _BUFFERS]
        curves.append(Curve(f"{case}, late, 100 in the window", "buffer", points))
    points = [
        Point(size, _in_order(make_rule(100, lateness_events=size)))
        for size in (*_BUFFERS, 1_000_000)
    ]
    curves.append(Curve("moving sum, in order", "buffer", points))
    tell("curves: rules, series, batches …")
    quiet: Options = {"aggregate": "avg", "threshold": QUIET}
    sizes = (10, 100, 1_000, 10_000)
    found = [[_beside(size, quiet) for size in sizes] for _ in range(_ROUNDS)]
    points = [
        Point(*point) for point in zip(sizes, map(min, zip(*found, strict=True)), strict=True)
    ]
    curves.append(Curve("moving avg, quiet", "other rules", points))
    points = [
        Point(size, _in_order(make_rule(10, lateness_events=_lateness(size), **quiet), series=size))
        for size in (1, 100, 10_000, 100_000)
    ]
    curves.append(Curve("moving avg, quiet", "series", points))
    points = [
        Point(
            size,
            _in_order(
                make_rule(10, lateness_events=_lateness(1_000, size), **quiet),
                series=1_000,
                batch=size,
            ),
        )
        for size in (1, 10, 100, 1_000, 5_000)
    ]
    curves.append(Curve("moving avg, quiet, 1,000 series", "batch", points))
    return curves


def _lateness(series: int, batch: int = BATCH) -> int:
    """Return how many events of a series a batch holds: so far behind the clock is the first."""
    return max(1, batch // series)


def _spent_us(engine: Engine, batches: Sequence[EventBatch]) -> float:
    """Return the CPU time of an event."""
    gc.collect()
    gc.disable()
    began_ns = time.process_time_ns()
    for batch in batches:
        engine.step(batch)
    spent_ns = time.process_time_ns() - began_ns
    gc.enable()
    return spent_ns / 1e3 / sum(map(len, batches))


def _in_order(rule: Rule, *, series: int = 1, batch: int = BATCH) -> float:
    engine = make_engine([rule], series)
    fill = series * ((2 * rule.window_us + rule.allowed_lateness_us) // EVERY_US + 2)
    for each in in_turn(fill, series=series, batch=max(batch, series)):
        engine.step(each)
    events = max(_MEASURED_EVENTS, series)
    spent_us = _spent_us(engine, list(in_turn(events, series=series, batch=batch, first=fill)))
    assert engine.overdue_events == 0, "what is late costs something else"
    return spent_us


def _late(window_events: int, buffer: int, options: Options) -> float:
    """Return the cost of an event in the middle of a buffer of that many that was judged."""
    rule = make_rule(window_events, lateness_events=buffer, **options)
    engine = make_engine([rule], 1)
    filled = 2 * buffer + 2 * window_events
    for each in in_turn(filled, series=1, batch=BATCH):
        engine.step(each)
    now_us = BEGIN_US + (filled - 1) * EVERY_US
    judged_us = now_us
    if rule.type is RuleType.BUCKETED_WINDOW and rule.evaluate is Evaluate.ON_CLOSE:
        judged_us -= rule.allowed_lateness_us
    middle_us = judged_us - buffer * EVERY_US // 2
    late = [
        EventBatch(now_us, array("I", [0]), array("q", [middle_us + number]), array("d", [1.0]))
        for number in range(_LATE_EVENTS)
    ]
    spent_us = _spent_us(engine, late)
    assert engine.overdue_events == 0, "what is behind the lateness costs something else"
    return spent_us


def _beside(others: int, options: Options) -> float:
    rules = [
        make_rule(10, name=f"other {number}", matchers={"host": f"db-{number}"}, **options)
        for number in range(others)
    ]
    engine = make_engine([*rules, make_rule(10, **options)], 100)
    for each in in_turn(5_000, series=100, batch=BATCH):
        engine.step(each)
    return _spent_us(engine, list(in_turn(100_000, series=100, batch=BATCH, first=5_000)))
