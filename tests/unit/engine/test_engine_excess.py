"""Groups that sleep though a loud value is inside; the property tests have what is never missed."""

from __future__ import annotations

from functools import reduce

import pytest

from alertd.engine.condition import Condition
from alertd.engine.excess import excess_follower
from alertd.engine.screen import Screen
from alertd.model import EndReason, Operator
from tests.unit.engine.engine_driver import Driver, make_rule


def sleeps(driver: Driver) -> bool:
    group = driver.engine._router.group("r", ())
    assert group is not None
    return group.rest() is not None


@pytest.mark.parametrize(
    ("aggregate", "operator", "loud", "quiet", "after"),
    [
        ("avg", Operator.GT, 8.0, 4.0, 4),
        ("avg", Operator.LT, 2.0, 6.0, 4),
        ("p90", Operator.GT, 6.0, 4.0, 10),
        ("p90", Operator.LT, 4.0, 6.0, 1),
        ("p25", Operator.LE, 4.0, 6.0, 4),
        ("min", Operator.GE, 6.0, 4.0, 1),
        ("max", Operator.LE, 4.0, 6.0, 1),
        ("last", Operator.GT, 6.0, 4.0, 1),
        ("max", Operator.GT, 6.0, 4.0, None),
        ("min", Operator.LT, 4.0, 6.0, None),
        ("first", Operator.GT, 6.0, 4.0, None),
    ],
)
def test_a_loud_value_is_outweighed_by_so_many_quiet_ones(
    aggregate: str, operator: Operator, loud: float, quiet: float, after: int | None
) -> None:
    rule = make_rule(aggregate=aggregate, operator=operator, threshold=5.0)
    follow = excess_follower(rule, Screen(rule, Condition(rule)))

    def excess(events: int) -> float:
        return reduce(follow, [quiet, loud, *[quiet] * events], 0.0)

    if after is None:
        assert excess(1000) > 0.0
    else:
        assert excess(after - 1) > 0.0 == excess(after)


def test_a_group_sleeps_again_once_what_was_loud_is_outweighed() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, window=16))
    for time in range(10):
        driver.send(time, 0)
    assert sleeps(driver)
    driver.send(10, 8)
    driver.send(11, 0)
    assert not sleeps(driver)  # it might pay for waking at each of many
    driver.send(12, 0)
    assert sleeps(driver)
    driver.send(13, 200)
    assert driver.edges == [(13, 13, None, None)]


def test_a_group_whose_value_would_rise_as_others_leave_stays_awake() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, window=16))
    driver.send(0, 0)
    for time in range(1, 4):
        driver.send(time, 6)
    driver.send(8, 5)
    assert not sleeps(driver)
    driver.tick(16)
    assert driver.edges == [(16, 16, None, None)]


def test_a_late_event_that_completes_a_window_wakes_a_group_that_sleeps() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, window=16, min_samples=3, lateness=8))
    driver.send(0, 9)
    driver.send(2, 6)
    for time in (3, 4, 5, 6):
        driver.send(time, 0)
    assert driver.edges == []
    assert sleeps(driver)
    driver.send(1, 5, at=6)
    assert driver.edges == [(2, 2, 3, EndReason.RECOVERED)]


def test_a_late_quiet_event_outweighs_nothing() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, window=16, lateness=8))
    for time, value in ((0, 0), (10, 8), (12.5, 5)):
        driver.send(time, value)
    driver.send(9, 0, at=12.5)
    assert not sleeps(driver)
    driver.tick(40)
    assert driver.edges == [(25, 25, 26, EndReason.RECOVERED)]


def test_where_events_come_late_a_group_stays_awake_while_anything_loud_is_inside() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0, window=16, lateness=8))
    for time, value in ((0, 0), (1, 8), (5, 0)):
        driver.send(time, value)
    assert sleeps(driver)
    driver.send(4, 0, at=5)
    for at in (6, 16.5):
        driver.send(at, 0)
        assert not sleeps(driver)
    driver.send(17, 0)
    assert sleeps(driver)


def test_what_came_while_a_group_coasted_still_counts_when_samples_are_missing() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=0.0, min_samples=4))
    for tenth in range(99):
        driver.send(tenth / 10, 0.001)
    driver.send(9.88, 5)
    driver.send(9.9, 0.05)
    driver.send(19.85, -0.3)
    assert driver.edges == [(0.3, 0.3, 19.7, EndReason.NO_DATA)]
    driver.send(19.87, -0.1)
    assert driver.edges[1:] == [(19.87, 19.87, None, None)]
