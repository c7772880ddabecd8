"""Worked examples of late events (SEMANTICS, section 6), and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from alertd.engine import plan
from alertd.engine.aggregates import Aggregate, Sum
from alertd.engine.machine import Machine
from alertd.model import (
    DetectedBy,
    EndReason,
    Evaluate,
    OnNoData,
    Operator,
    Rule,
    RuleType,
    TransitionKind,
)
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, make_rule, us

RECOVERED, NO_DATA = EndReason.RECOVERED, EndReason.NO_DATA
FIRING, RESOLVED = TransitionKind.FIRING, TransitionKind.RESOLVED
CORRECTED = TransitionKind.CORRECTED


def told_since(driver: Driver, number: int) -> list[TransitionKind]:
    return [transition.kind for transition in driver.told[number:]]


def test_a_breach_that_touches_nothing_known_is_told_whole() -> None:
    driver = Driver(make_rule(lateness=50))
    driver.send(80, 0)
    driver.send(60, 1, at=80)
    assert driver.edges == [(60, 60, 70, NO_DATA)]
    assert told_since(driver, 0) == [FIRING, RESOLVED]
    incident = driver.incidents[0]
    assert (incident.detected_by, incident.late_by_us) == (DetectedBy.LATE, us(20))


def test_the_first_events_of_a_group_and_a_backlog_in_order_are_old_and_not_late() -> None:
    driver = Driver(make_rule(lateness=10))
    driver.send(60, 1, at=4000)
    driver.send(90, 1, at=4000)
    assert driver.edges == [(60, 60, 70, NO_DATA), (90, 90, None, None)]
    assert [(one.detected_by, one.late_by_us) for one in driver.incidents] == [
        (DetectedBy.STREAM, 0)
    ] * 2


def test_one_that_touches_a_known_incident_extends_it_silently() -> None:
    driver = Driver(make_rule(lateness=50))
    driver.send(60, 1)
    driver.send(80, 0)
    told = len(driver.told)
    driver.send(55, 1, at=80)
    driver.send(68, 1, at=80)
    assert driver.edges == [(55, 60, 78, NO_DATA)]
    assert told_since(driver, told) == [CORRECTED, CORRECTED]
    driver.send(90, 1)
    driver.send(85, 1, at=90)
    assert driver.edges[1] == (85, 90, None, None), "one that is open stays open, from earlier on"


def test_of_two_that_are_joined_the_earlier_is_extended_whichever_was_told_first() -> None:
    driver = Driver(make_rule(lateness=100))
    for time, value in ((50, 1), (60, 0), (80, 0)):
        driver.send(time, value)
    for time in (10, 20, 30, 40):
        driver.send(time, 1, at=80)
    later, earlier = driver.incidents
    assert driver.edges == [(50, 50, 60, RECOVERED), (10, 10, 60, NO_DATA)]
    assert (earlier.merged_into, later.merged_into) == (None, earlier.id)


def test_an_incident_that_holds_after_all_goes_on_in_a_new_one() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, lateness=50))
    driver.send(60, 10)
    driver.send(65, -20)
    assert driver.edges == [(60, 60, 65, RECOVERED)]
    driver.send(62, 100, at=66)
    ended, again = driver.incidents
    assert driver.edges == [(60, 60, 65, RECOVERED), (65, 65, None, None)]
    assert again.continues == ended.id
    assert (ended.peak_value, again.peak_value) == (55, 30)
    assert told_since(driver, 2) == [FIRING, CORRECTED]


def test_what_comes_late_within_an_incident_may_raise_its_peak() -> None:
    driver = Driver(make_rule(aggregate="max", threshold=5.0, lateness=50))
    driver.send(60, 10)
    driver.send(64, 7)
    driver.send(62, 40, at=65)
    assert driver.incidents[0].peak_value == 40
    assert told_since(driver, 1) == [], "it is told when it ends"
    driver.send(90, 0)
    assert driver.edges == [(60, 60, 74, NO_DATA)]
    assert driver.incidents[0].peak_value == 40
    driver.send(61, 70, at=91)
    assert driver.edges == [(60, 60, 74, NO_DATA)]
    assert driver.incidents[0].peak_value == 70
    assert told_since(driver, 2) == [CORRECTED]
    driver.send(61, 70, at=91)
    assert told_since(driver, 3) == [], "once"


def test_an_open_incident_that_holds_no_more_ends_where_it_did_last() -> None:
    """Its middle has gone without a word before, and then its end goes."""
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, lateness=200))
    for time in range(10, 100, 5):
        driver.send(time, 6)
    driver.send(52, -100, at=95)
    assert driver.edges == [(10, 10, None, None)], "what was told is not taken back"
    driver.send(94, -100, at=95)
    assert driver.edges == [(10, 10, 94, RECOVERED)]
    one_again = Driver(make_rule(aggregate="avg", threshold=5.0, lateness=200))
    for time in range(10, 75, 5):
        one_again.send(time, 6)
    one_again.send(52, -100, at=70)
    one_again.send(62, -100, at=70)
    assert one_again.edges == [(10, 10, 52, RECOVERED)]


def test_an_open_incident_of_which_nothing_is_left_keeps_what_was_right_long_ago() -> None:
    """Its beginning, [3, 4), is older than the lateness when the rest turns out to be none."""
    rule = make_rule(
        aggregate="avg",
        operator=Operator.LT,
        threshold=0.0,
        window=3,
        lateness=3,
        on_no_data=OnNoData.ALERT,
    )
    driver = Driver(rule)
    driver.send(0, 0)
    driver.send(6, -5)
    driver.send(4, 0, at=6)
    assert driver.edges == [(3, 3, None, None)]
    driver.send(8, 0)
    driver.restart()
    driver.send(6, 5, at=8)
    assert driver.edges == [(3, 3, 4, RECOVERED)]


# ---- what it costs: the events of its window, never the whole buffer


@contextmanager
def counted(owner: type, method: str) -> Iterator[list[int]]:
    """Count the calls of ``owner.method``."""
    calls = [0]
    original = getattr(owner, method)

    def count(*args: object) -> object:
        calls[0] += 1
        return original(*args)

    with patch.object(owner, method, count):
        yield calls


class CountedSum(Sum):
    """A sum that counts how many values it was told of."""

    told = 0

    def add(self, value: float) -> None:
        CountedSum.told += 1
        super().add(value)


def new_counted_sum(name: str, window_us: int) -> type[Aggregate]:
    return CountedSum


HOPPING = {"window": 20, "bucket": 5}
EARLY = {"evaluate": Evaluate.EARLY}
SUM = {"aggregate": "sum", "min_samples": 0}


@pytest.mark.parametrize(
    ("rule_of", "options"),
    [
        (make_rule, SUM),
        (make_rule, SUM | {"threshold": 50.0}),
        (bucket_rule, SUM),
        (bucket_rule, SUM | HOPPING),
        (bucket_rule, SUM | EARLY),
        (bucket_rule, SUM | EARLY | HOPPING),
    ],
    ids=["hot", "never in breach", "tumbling", "hopping", "early", "early and hopping"],
)
def test_a_late_event_looks_at_the_events_of_its_windows_alone(
    rule_of: Callable[..., Rule], options: dict[str, object]
) -> None:
    costs = []
    with patch.object(plan, "aggregate_factory", new_counted_sum):
        for lateness in (100, 900):
            rule = rule_of(lateness=lateness, **options)
            driver = Driver(rule)
            for time in range(2 * lateness):
                driver.send(time, time % 3)
            judged = lateness if judges_on_close(rule) else 2 * lateness
            driver.send(judged - 0.9 * lateness, 1, at=2 * lateness - 1)  # nothing is put off now
            before = CountedSum.told
            driver.send(judged - 0.3 * lateness, 1, at=2 * lateness - 1)
            costs.append(CountedSum.told - before)
            assert driver.engine.overdue_events == 0
    assert costs[0] == costs[1] > 0


def judges_on_close(rule: Rule) -> bool:
    return rule.type is RuleType.BUCKETED_WINDOW and rule.evaluate is Evaluate.ON_CLOSE


@pytest.mark.parametrize("options", [{}, {"for_": 3}, {"resolve_threshold": 0.2}, {"keep": 3}])
def test_a_late_event_runs_the_machine_over_what_it_changes_alone(
    options: dict[str, object],
) -> None:
    costs = []
    for lateness in (100, 800):
        driver = Driver(make_rule(lateness=lateness, **options))
        for time in range(2 * lateness):
            driver.send(time, time % 2)  # up and down at every event
        with counted(Machine, "change") as changes:
            driver.send(1.4 * lateness + 0.5, 1, at=2 * lateness - 1)
        costs.append(changes[0])
    assert costs[0] == costs[1] > 0


def test_what_lies_behind_the_lateness_is_forgotten_in_portions() -> None:
    driver = Driver(count_rule(operator=Operator.EQ, threshold=1.0, window=1, lateness=50))
    for time in range(1000):
        driver.send(2 * time)
    (group,) = driver.engine._router.get("r").by_labels.values()  # type: ignore[union-attr]  # it is there
    past = group.lifecycle._past
    assert past is not None
    assert 50 <= len(past.changes) <= 2 * 50 + 2
    assert len(past.ended) <= 52
    driver.tick(3000)
    assert group.lifecycle._past is None


def test_a_late_event_goes_on_with_what_was_pending_longer_ago_than_it_reaches() -> None:
    driver = Driver(make_rule(aggregate="max", for_=10, lateness=10))
    driver.send(85, 1, at=88)
    driver.send(93, 0, at=113)  # what was pending is over, and the group may sleep
    driver.send(94, 1, at=113)
    assert driver.edges == [(85, 95, None, None)]
