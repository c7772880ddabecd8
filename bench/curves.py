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
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any, Final

from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.model import Evaluate, EventBatch, Rule, RuleType, Series
from alertd.rules import RuleRecord, RuleSpec, Source, compile_rule
from bench.results import Curve, Point

_METRIC = "cpu_usage"
_BEGIN_US = 1_750_000_000_000_000
_EVERY_US = 1_000
"""An event of a series each millisecond, so a window of n events takes n milliseconds."""
_BATCH = 1_000
_MEASURED_EVENTS = 20_000
_LATE_EVENTS = 20
_VALUES = tuple(float(number * 7_919 % 1_009) for number in range(1_009))
_QUIET, _HOT, _HALF = 1e12, -1e12, 504.5

_WINDOWS = (10, 100, 1_000, 10_000)
_BUFFERS = (1_000, 10_000, 100_000)
_AGGREGATES = ("count", "sum", "avg", "min", "max", "stddev", "p95")
_ROUNDS = 3
"""How often what is compared to a few per cent is measured; the least counts."""

_Options = dict[str, Any]  # of a RuleSpec
_BUCKETED: Final[_Options] = {"type": RuleType.BUCKETED_WINDOW}
_KINDS: Final[dict[str, _Options]] = {
    "MOVING_WINDOW sum": {},
    "MOVING_WINDOW max": {"aggregate": "max"},
    "MOVING_WINDOW p95": {"aggregate": "p95"},
    "MOVING_WINDOW last, up and down": {"aggregate": "last", "threshold": _HALF},
    "BUCKETED_WINDOW sum, tumbling": _BUCKETED,
    "BUCKETED_WINDOW sum, 10 hops": _BUCKETED | {"hops": 10},
    "BUCKETED_WINDOW sum, tumbling, early": _BUCKETED | {"evaluate": Evaluate.EARLY},
    "BUCKETED_WINDOW sum, 10 hops, early": _BUCKETED | {"evaluate": Evaluate.EARLY, "hops": 10},
}


def measure(tell: Callable[[str], None]) -> list[Curve]:
    """Draw every curve; ``tell`` is told of each. About two minutes."""
    curves = []
    cases: dict[str, _Options] = {
        f"MOVING_WINDOW {name}": {"aggregate": name} for name in _AGGREGATES
    }
    for case, options in (cases | _KINDS).items():
        tell(f"curves: in order, {case} …")
        points = [Point(size, _in_order(_rule(size, **options))) for size in _WINDOWS]
        curves.append(Curve(f"{case}, in order", "events in the window", points))
    for case, options in _KINDS.items():
        tell(f"curves: late, {case} …")
        points = [Point(size, _late(size, 20_000, options)) for size in _WINDOWS]
        curves.append(Curve(f"{case}, late", "events in the window", points))
        points = [Point(size, _late(100, size, options)) for size in _BUFFERS]
        curves.append(Curve(f"{case}, late, 100 in the window", "events in the buffer", points))
    points = [
        Point(size, _in_order(_rule(100, lateness_events=size))) for size in (*_BUFFERS, 1_000_000)
    ]
    curves.append(Curve("MOVING_WINDOW sum, in order", "events in the buffer", points))
    tell("curves: rules, series, batches …")
    quiet: _Options = {"aggregate": "avg", "threshold": _QUIET}
    sizes = (10, 100, 1_000, 10_000)
    found = [[_beside(size, quiet) for size in sizes] for _ in range(_ROUNDS)]
    points = [
        Point(*point) for point in zip(sizes, map(min, zip(*found, strict=True)), strict=True)
    ]
    curves.append(Curve("MOVING_WINDOW avg, quiet", "rules that do not match", points))
    points = [
        Point(size, _in_order(_rule(10, lateness_events=_lateness(size), **quiet), series=size))
        for size in (1, 100, 10_000, 100_000)
    ]
    curves.append(Curve("MOVING_WINDOW avg, quiet", "series", points))
    points = [
        Point(
            size,
            _in_order(
                _rule(10, lateness_events=_lateness(1_000, size), **quiet), series=1_000, batch=size
            ),
        )
        for size in (1, 10, 100, 1_000, 5_000)
    ]
    curves.append(Curve("MOVING_WINDOW avg, quiet, 1,000 series", "events in a batch", points))
    return curves


def _lateness(series: int, batch: int = _BATCH) -> int:
    """Return how many events of a series a batch holds: so far behind the clock is the first."""
    return max(1, batch // series)


def _rule(
    window_events: int,
    *,
    lateness_events: int = _BATCH,
    hops: int = 0,
    name: str = "watch",
    **options: Any,  # the other options of a RuleSpec
) -> Rule:
    window_s = window_events * _EVERY_US / 1e6
    usual: _Options = {
        "type": RuleType.MOVING_WINDOW,
        "aggregate": "sum",
        "threshold": _HOT,
        "window_duration_secs": window_s,
        "bucket_interval_secs": window_s / hops if hops else None,
        "group_by": ("host",),
        "allowed_lateness_secs": lateness_events * _EVERY_US / 1e6,
    }
    spec = RuleSpec(name=name, metric_name=_METRIC, **(usual | options))
    return compile_rule(
        RuleRecord(id=name, version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    )


def _engine(rules: Sequence[Rule], series: int) -> Engine:
    known = [Series(number, _METRIC, (("host", f"web-{number}"),)) for number in range(series)]
    engine = Engine(known.__getitem__)
    engine.step(RulesChanged(at_us=_BEGIN_US, put=tuple(rules)))
    return engine


def _batches(events: int, *, series: int, batch: int, first: int = 0) -> Iterator[EventBatch]:
    """Yield ``events`` events of ``series`` series in turn, from the ``first``-th on."""
    values = cycle(_VALUES)
    for begin in range(first, first + events, batch):
        numbers = range(begin, min(begin + batch, first + events))
        times_us = array("q", [_BEGIN_US + n // series * _EVERY_US for n in numbers])
        yield EventBatch(
            received_us=times_us[-1],
            series_ids=array("I", [n % series for n in numbers]),
            times_us=times_us,
            values=array("d", islice(values, len(numbers))),
        )


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


def _in_order(rule: Rule, *, series: int = 1, batch: int = _BATCH) -> float:
    engine = _engine([rule], series)
    fill = series * ((2 * rule.window_us + rule.allowed_lateness_us) // _EVERY_US + 2)
    for each in _batches(fill, series=series, batch=max(batch, series)):
        engine.step(each)
    events = max(_MEASURED_EVENTS, series)
    spent_us = _spent_us(engine, list(_batches(events, series=series, batch=batch, first=fill)))
    assert engine.overdue_events == 0, "what is late costs something else"
    return spent_us


def _late(window_events: int, buffer: int, options: _Options) -> float:
    """Return the cost of an event in the middle of a buffer of that many that was judged."""
    rule = _rule(window_events, lateness_events=buffer, **options)
    engine = _engine([rule], 1)
    filled = 2 * buffer + 2 * window_events
    for each in _batches(filled, series=1, batch=_BATCH):
        engine.step(each)
    now_us = _BEGIN_US + (filled - 1) * _EVERY_US
    judged_us = now_us
    if rule.type is RuleType.BUCKETED_WINDOW and rule.evaluate is Evaluate.ON_CLOSE:
        judged_us -= rule.allowed_lateness_us
    middle_us = judged_us - buffer * _EVERY_US // 2
    late = [
        EventBatch(now_us, array("I", [0]), array("q", [middle_us + number]), array("d", [1.0]))
        for number in range(_LATE_EVENTS)
    ]
    spent_us = _spent_us(engine, late)
    assert engine.overdue_events == 0, "what is behind the lateness costs something else"
    return spent_us


def _beside(others: int, options: _Options) -> float:
    rules = [
        _rule(10, name=f"other {number}", matchers={"host": f"db-{number}"}, **options)
        for number in range(others)
    ]
    engine = _engine([*rules, _rule(10, **options)], 100)
    for each in _batches(5_000, series=100, batch=_BATCH):
        engine.step(each)
    return _spent_us(engine, list(_batches(100_000, series=100, batch=_BATCH, first=5_000)))
