"""How the engine's cost grows: CPU time of an event against the one thing that is varied.

Owns the curves. Each point is CPU time of this process for ``Engine.step``, so that other load
on the machine matters little; the collector of garbage is off while it is measured. Every event
is judged (all values are beyond the threshold), except where it says "quiet".
"""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice

from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.model import EventBatch, Rule, RuleType, Series
from alertd.rules import RuleRecord, RuleSpec, Source, compile_rule
from bench.results import Curve, Point

_METRIC = "cpu_usage"
_BEGIN_US = 1_750_000_000_000_000
_EVERY_US = 1_000
"""An event of a series each millisecond, so a window of n events takes n milliseconds."""
_MEASURED_EVENTS = 20_000
_LATE_EVENTS = 20
_VALUES = tuple(float(number * 7_919 % 1_009) for number in range(1_009))
_QUIET, _HOT = 1e12, -1e12

_WINDOWS = (10, 100, 1_000, 10_000)
_AGGREGATES = ("count", "sum", "avg", "min", "max", "stddev", "p95")


def measure(tell: Callable[[str], None]) -> list[Curve]:
    """Draw every curve; ``tell`` is told of each. About a minute."""
    curves = []
    for aggregate in _AGGREGATES:
        tell(f"curves: {aggregate} by window …")
        points = [Point(size, _in_order(_rule(aggregate, size))) for size in _WINDOWS]
        curves.append(Curve(f"{aggregate}, an event in order", "events in the window", points))
    tell("curves: late events …")
    points = [Point(size, _late(_rule("sum", size), buffer=20_000)) for size in _WINDOWS]
    curves.append(Curve("sum, a late event", "events in the window", points))
    points = [
        Point(size, _late(_rule("sum", 100), buffer=size)) for size in (1_000, 10_000, 100_000)
    ]
    curves.append(Curve("sum, a late event, 100 in the window", "events in the buffer", points))
    tell("curves: rules, series, batches …")
    points = [Point(count, _beside(count)) for count in (10, 100, 1_000, 10_000)]
    curves.append(Curve("avg, quiet, an event in order", "rules that do not match", points))
    points = [
        Point(count, _in_order(_rule("avg", 10, threshold=_QUIET), series=count))
        for count in (1, 100, 10_000, 100_000)
    ]
    curves.append(Curve("avg, quiet, an event in order", "series", points))
    points = [
        Point(size, _in_order(_rule("avg", 10, threshold=_QUIET), series=1_000, batch=size))
        for size in (1, 10, 100, 1_000, 5_000)
    ]
    curves.append(Curve("avg, quiet, an event in order", "events in a batch", points))
    return curves


def _rule(
    aggregate: str,
    window_events: int,
    *,
    threshold: float = _HOT,
    lateness_events: int = 1,
    name: str = "watch",
    host: str | None = None,
) -> Rule:
    spec = RuleSpec(
        name=name,
        type=RuleType.MOVING_WINDOW,
        metric_name=_METRIC,
        threshold=threshold,
        window_duration_secs=window_events * _EVERY_US / 1e6,
        aggregate=aggregate,
        matchers={} if host is None else {"host": host},
        group_by=("host",),
        allowed_lateness_secs=lateness_events * _EVERY_US / 1e6,
    )
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


def _in_order(rule: Rule, *, series: int = 1, batch: int = 1_000) -> float:
    engine = _engine([rule], series)
    fill = series * (2 * rule.window_us // _EVERY_US + 2)
    for each in _batches(fill, series=series, batch=5_000):
        engine.step(each)
    events = max(_MEASURED_EVENTS, series)
    return _spent_us(engine, list(_batches(events, series=series, batch=batch, first=fill)))


def _late(rule: Rule, *, buffer: int) -> float:
    """Return the cost of an event in the middle of a buffer of that many."""
    window_events = rule.window_us // _EVERY_US
    rule = _rule("sum", window_events, lateness_events=buffer)
    engine = _engine([rule], 1)
    filled = buffer + 2 * window_events
    for each in _batches(filled, series=1, batch=1_000):
        engine.step(each)
    now_us = _BEGIN_US + (filled - 1) * _EVERY_US
    middle_us = now_us - buffer * _EVERY_US // 2
    late = [
        EventBatch(now_us, array("I", [0]), array("q", [middle_us + number]), array("d", [1.0]))
        for number in range(_LATE_EVENTS)
    ]
    return _spent_us(engine, late)


def _beside(others: int) -> float:
    rules = [
        _rule("avg", 10, threshold=_QUIET, name=f"other {number}", host=f"db-{number}")
        for number in range(others)
    ]
    engine = _engine([*rules, _rule("avg", 10, threshold=_QUIET)], 100)
    for each in _batches(5_000, series=100, batch=1_000):
        engine.step(each)
    return _spent_us(engine, list(_batches(100_000, series=100, batch=1_000, first=5_000)))
