"""Peaks of groups that coast: what is said about them at a glance, and what it saves."""

from __future__ import annotations

import random
from array import array
from itertools import accumulate

import pytest

from alertd.engine.condition import is_worse
from alertd.engine.journal import Journal
from alertd.engine.peaks import may_be_passed
from alertd.engine.plan import Plan
from alertd.engine.resting import RestingGroup
from alertd.engine.timers import Timers
from alertd.engine.window import Window
from alertd.model import EndReason, EventBatch, Operator, Rule
from tests.unit.engine.engine_driver import Driver, count_rule, make_rule, us

AGGREGATES = ["avg", "min", "max", "p50", "p95", "p99.9", "p1", "first", "last", "count"]


def random_events(source: random.Random, plan: Plan) -> Window:
    """Return events of which no window is empty, some at one instant, some in step with it."""
    window, count = plan.new_window(), source.randrange(2, 150)
    span_us = plan.window_us
    steps = source.choice([[span_us // 10], [0, 1, span_us // 7, span_us // 3]])
    values = source.choice(
        [[0.1, 0.3], [7.0], [0.1 * n for n in range(60)], [1e308, -1e308, 5.0], [1e16, 1.0, -1e16]]
    )
    window.times = array("q", accumulate(source.choice(steps) for _ in range(count)))
    window.values = array("d", (source.choice(values) for _ in range(count)))
    return window


def looks(plan: Plan, events: Window, from_us: int, until_us: int) -> list[float]:
    """Return the values of all windows in ``(from_us, until_us]``."""
    probe, found = plan.probe(events, from_us), []
    while (change_us := probe.next_change_us()) <= until_us:
        probe.move_to(change_us)
        found.append(probe.aggregate.value(probe))
    return found


def plan_of(rule: Rule) -> Plan:
    return Plan(rule, 0, Journal(), Timers())


@pytest.mark.parametrize("operator", [Operator.GT, Operator.GE, Operator.LT, Operator.LE])
@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_what_is_said_not_to_be_passed_is_not(aggregate: str, operator: Operator) -> None:
    if aggregate == "count" and operator in (Operator.LT, Operator.LE):
        operator = Operator.GE  # such a count would hold on an empty window
    plan = plan_of(make_rule(aggregate=aggregate, operator=operator, window=10))
    sure = 0
    for seed in range(150):
        source = random.Random(f"{aggregate} {operator} {seed}")  # noqa: S311 - it can be run again
        events = random_events(source, plan)
        from_us = source.choice(events.times)
        until_us = events.times[-1] + source.choice([0, plan.window_us // 2])
        before, found = looks(plan, events, 0, from_us), looks(plan, events, from_us, until_us)
        for peak in {*before[-1:], *found, source.uniform(0, 6)}:
            is_passed = any(is_worse(plan.rule, value, peak) for value in found)
            may_be = may_be_passed(peak, plan.rule, events, from_us, until_us)
            assert may_be or not is_passed, (seed, peak)
            sure += not may_be
    assert sure > 50


@pytest.mark.parametrize(
    "rule",
    [
        make_rule(window=20, lateness=2, operator=Operator.GT, aggregate="avg"),
        make_rule(window=20, lateness=2, operator=Operator.GT, aggregate="p90"),
        make_rule(window=20, lateness=2, operator=Operator.GT, aggregate="max"),
        count_rule(window=20, lateness=2, threshold=10),
    ],
    ids=["avg", "p90", "max", "count"],
)
def test_few_events_of_a_breach_that_goes_on_are_judged(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    look = Window.look

    def count(self: Window, *condition: object) -> object:
        nonlocal looked
        looked += 1
        return look(self, *condition)  # type: ignore[arg-type]  # as it was called

    driver, source = Driver(rule), random.Random(1)  # noqa: S311 - the same events in every run
    for time in range(100):
        driver.send(time, source.uniform(1, 2))
    monkeypatch.setattr(Window, "look", count)
    for time in range(100, 2_000):
        driver.send(time, source.uniform(1, 2))
    assert looked < 1_900 / 3
    (incident,) = driver.engine.open_incidents()
    driver.tick(3_000)
    ended = driver.told[-1].incident
    assert ended is not None
    assert ended.peak_value == incident.peak_value


def test_several_events_that_leave_at_once_just_when_one_comes_end_a_breach() -> None:
    driver = Driver(count_rule(threshold=2.0, window=20, lateness=2))
    for time in range(200):
        driver.send(time)
    at_once = EventBatch(
        received_us=us(210),
        series_ids=array("I", [0, 0]),
        times_us=array("q", [us(210), us(210)]),
        values=array("d", [1.0, 1.0]),
    )
    driver.told += driver.engine.step(at_once)
    driver.send(211)
    (group,) = (g for groups in driver.engine._router for g in groups.by_labels.values())
    assert isinstance(group, RestingGroup)
    assert group._coasts, "else nothing is tested"
    driver.send(230)
    assert driver.edges == [(2, 2, 230, EndReason.RECOVERED)]
