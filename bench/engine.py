"""The engine alone: CPU time of ``Engine.step`` for an event, without HTTP, store or threads.

Owns the cases: every type of rule with the usual aggregates, quiet (no value reaches the
threshold) and hot (every value does, and every group is firing), and what rules that do not
match cost. CPU time of this process, so that other load on the machine matters little.

1000 series report every 100 ms into windows of 5 s, so 50 events are in each window; batches
hold 1000 events. The first 50,000 events fill the windows and are not counted.
"""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Iterator, Sequence

from alertd.engine.engine import Engine
from alertd.engine.inputs import RulesChanged
from alertd.model import EventBatch, Rule, RuleType, Series
from alertd.rules import RuleRecord, RuleSpec, Source, compile_rule
from bench.results import EngineFigures

_METRIC = "cpu_usage"
_WINDOW_S = 5
_EVERY_US = 100_000
_BEGIN_US = 1_750_000_000_000_000
_FILL_ROUNDS = 50
_MEASURED_ROUNDS = 30
_QUIET, _HOT, _HOT_COUNT = 1e12, -1e12, 10

_CASES = (
    (RuleType.SIMPLE_COUNT, "count"),
    (RuleType.MOVING_WINDOW, "avg"),
    (RuleType.MOVING_WINDOW, "sum"),
    (RuleType.MOVING_WINDOW, "max"),
    (RuleType.MOVING_WINDOW, "p95"),
    (RuleType.MOVING_WINDOW, "stddev"),
    (RuleType.MOVING_WINDOW, "distinct"),
    (RuleType.MOVING_WINDOW, "last"),
    (RuleType.BUCKETED_WINDOW, "avg"),
    (RuleType.BUCKETED_WINDOW, "p95"),
)


def measure() -> list[EngineFigures]:
    """Run every case. Some 15 s."""
    found = []
    batches = list(_batches(1000))
    for rule_type, aggregate in _CASES:
        hot = _HOT_COUNT if aggregate in ("count", "distinct") else _HOT
        for traffic, threshold in (("quiet", _QUIET), ("hot", hot)):
            rule = _rule("watch", rule_type, aggregate, threshold, {})
            us_per_event = _time([rule], batches)[1]
            found.append(EngineFigures(f"{rule_type} {aggregate}", traffic, us_per_event))
    batches = list(_batches(100))
    for others in (10, 10_000):
        rules = [
            _rule(f"other {number}", RuleType.MOVING_WINDOW, "avg", _QUIET, {"host": f"h{number}"})
            for number in range(others)
        ]
        rules.append(_rule("watch", RuleType.MOVING_WINDOW, "avg", _QUIET, {}))
        first_us, us_per_event = _time(rules, batches)
        case = f"MOVING_WINDOW avg and {others} rules that do not match"
        found.append(EngineFigures(case, "quiet", us_per_event, us_per_new_series=first_us))
    return found


def _rule(
    name: str, rule_type: RuleType, aggregate: str, threshold: float, matchers: dict[str, str]
) -> Rule:
    spec = RuleSpec(
        name=name,
        type=rule_type,
        metric_name=_METRIC,
        threshold=threshold,
        window_duration_secs=_WINDOW_S,
        aggregate=aggregate,
        matchers=matchers,
        group_by=("host",),
        allowed_lateness_secs=1,
    )
    return compile_rule(
        RuleRecord(id=name, version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    )


def _time(rules: Sequence[Rule], batches: Sequence[EventBatch]) -> tuple[float, float]:
    """Return the CPU time in us of the first event of a series, and of an event later on."""
    series = len(batches[0])
    known = [
        Series(number, _METRIC, (("host", f"web-{number:04d}"), ("region", "eu")))
        for number in range(series)
    ]
    engine = Engine(known.__getitem__)
    engine.step(RulesChanged(at_us=_BEGIN_US, put=tuple(rules)))
    began_ns = time.process_time_ns()
    engine.step(batches[0])
    first_ns = time.process_time_ns() - began_ns
    for batch in batches[1:_FILL_ROUNDS]:
        engine.step(batch)
    measured = batches[_FILL_ROUNDS:]
    began_ns = time.process_time_ns()
    for batch in measured:
        engine.step(batch)
    spent_ns = time.process_time_ns() - began_ns
    return first_ns / series / 1e3, spent_ns / sum(map(len, measured)) / 1e3


def _batches(series: int) -> Iterator[EventBatch]:
    """Yield batches that hold one event of each series, at times that advance evenly."""
    source = random.Random(1)  # noqa: S311 - the same values in every run, no secret
    for number in range(1, _FILL_ROUNDS + _MEASURED_ROUNDS + 1):
        until_us = _BEGIN_US + number * _EVERY_US
        step_us = _EVERY_US // series
        yield EventBatch(
            received_us=until_us,
            series_ids=array("I", range(series)),
            times_us=array(
                "q", range(until_us - series * step_us + step_us, until_us + 1, step_us)
            ),
            values=array("d", (source.uniform(0, 100) for _ in range(series))),
        )
