"""Rules over even streams of events: what the curves and the figures of memory are made with.

``series`` series of one metric report in turn, each one event a millisecond, so a window of n
events takes n milliseconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.model import EventBatch, Rule, RuleType, Series
from alertd.rules import RuleRecord, RuleSpec, Source, compile_rule

METRIC = "cpu_usage"
BEGIN_US = 1_750_000_000_000_000
EVERY_US = 1_000
BATCH = 1_000
QUIET, HOT, HALF = 1e12, -1e12, 504.5
"""Thresholds above all values, below all, and in their midst."""

_VALUES = tuple(float(number * 7_919 % 1_009) for number in range(1_009))

Options = dict[str, Any]  # of a RuleSpec


def make_rule(
    window_events: int,
    *,
    lateness_events: int = BATCH,
    hops: int = 0,
    name: str = "watch",
    **options: Any,  # the other options of a RuleSpec
) -> Rule:
    """Return ``MOVING_WINDOW sum`` over so many events of a series, with ``options``.

    Every value is in breach; ``hops`` is how many buckets a window has, if it is to have any.
    """
    window_s = window_events * EVERY_US / 1e6
    usual: Options = {
        "type": RuleType.MOVING_WINDOW,
        "aggregate": "sum",
        "threshold": HOT,
        "window_duration_secs": window_s,
        "bucket_interval_secs": window_s / hops if hops else None,
        "group_by": ("host",),
        "allowed_lateness_secs": lateness_events * EVERY_US / 1e6,
    }
    spec = RuleSpec(name=name, metric_name=METRIC, **(usual | options))
    return compile_rule(
        RuleRecord(id=name, version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    )


def make_engine(rules: Sequence[Rule], series: int) -> Engine:
    """Return an engine with ``rules`` that knows so many series by number."""
    known = [Series(number, METRIC, (("host", f"web-{number}"),)) for number in range(series)]
    engine = Engine(known.__getitem__)
    engine.step(RulesChanged(at_us=BEGIN_US, put=tuple(rules)))
    return engine


def in_turn(events: int, *, series: int, batch: int, first: int = 0) -> Iterator[EventBatch]:
    """Yield ``events`` events of ``series`` series in turn, from the ``first``-th on."""
    values = cycle(_VALUES)
    for begin in range(first, first + events, batch):
        numbers = range(begin, min(begin + batch, first + events))
        times_us = array("q", [BEGIN_US + n // series * EVERY_US for n in numbers])
        yield EventBatch(
            received_us=times_us[-1],
            series_ids=array("I", [n % series for n in numbers]),
            times_us=times_us,
            values=array("d", islice(values, len(numbers))),
        )
