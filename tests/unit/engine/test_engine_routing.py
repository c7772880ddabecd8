from __future__ import annotations

from unittest.mock import patch

import pytest

from alertd.engine.routing import Router
from alertd.model import EndReason, GroupState, Matcher, MatchOperator, Operator
from tests.unit.engine.engine_driver import Driver, count_rule, us


def sees(matchers: list[tuple[str, MatchOperator, str]], **labels: str) -> bool:
    driver = Driver(count_rule(matchers=tuple(Matcher(*matcher) for matcher in matchers)))
    driver.send(1, 1.0, at=1, metric="m", **labels)
    return bool(driver.edges)


@pytest.mark.parametrize(
    ("matchers", "labels", "expected"),
    [
        ([], {"a": "1"}, True),
        ([("a", MatchOperator.EQUAL, "1")], {"a": "1"}, True),
        ([("a", MatchOperator.EQUAL, "1")], {"a": "12"}, False),
        ([("a", MatchOperator.EQUAL, "")], {}, True),
        ([("a", MatchOperator.EQUAL, "1")], {}, False),
        ([("a", MatchOperator.NOT_EQUAL, "1")], {"a": "2"}, True),
        ([("a", MatchOperator.NOT_EQUAL, "1")], {}, True),
        ([("a", MatchOperator.NOT_EQUAL, "")], {}, False),
        ([("a", MatchOperator.REGEX, "1|2")], {"a": "2"}, True),
        ([("a", MatchOperator.REGEX, "1|2")], {"a": "12"}, False),
        ([("a", MatchOperator.REGEX, "1")], {"a": "21"}, False),
        ([("a", MatchOperator.REGEX, "1")], {"a": "1\n"}, False),
        ([("a", MatchOperator.REGEX, ".*")], {}, True),
        ([("a", MatchOperator.NOT_REGEX, "1.*")], {"a": "12"}, False),
        ([("a", MatchOperator.NOT_REGEX, "1")], {"a": "12"}, True),
        ([("a", MatchOperator.NOT_REGEX, ".+")], {}, True),
        (
            [("a", MatchOperator.EQUAL, "1"), ("b", MatchOperator.NOT_EQUAL, "2")],
            {"a": "1", "b": "2"},
            False,
        ),
    ],
)
def test_a_rule_sees_a_series_when_every_matcher_holds(
    matchers: list[tuple[str, MatchOperator, str]], labels: dict[str, str], expected: bool
) -> None:
    assert sees(matchers, **labels) is expected


def test_a_rule_sees_its_metric_only() -> None:
    driver = Driver(count_rule())
    driver.send(1, metric="other")
    assert driver.edges == []
    assert driver.engine.group_count() == 0


def test_a_group_is_the_projection_of_the_labels_and_a_missing_one_is_empty() -> None:
    driver = Driver(count_rule(group_by=("host", "zone"), threshold=1.0))
    driver.send(1, host="a", zone="1", job="x")
    driver.send(2, host="a", zone="1", job="y")
    driver.send(3, host="a", zone="2")
    driver.send(4, host="a")
    driver.send(5)
    groups = [incident.group for incident in driver.incidents]
    assert groups == [(("host", "a"), ("zone", "1"))]
    assert driver.engine.group_count() == 4


def test_an_event_goes_to_every_rule_that_sees_it() -> None:
    driver = Driver(count_rule(id="r1"), count_rule(id="r2"), count_rule(id="r3", threshold=5.0))
    driver.send(1)
    assert [incident.rule_id for incident in driver.incidents] == ["r1", "r2"]


def test_matching_is_decided_once_for_a_series_and_again_when_the_rules_change() -> None:
    driver = Driver(count_rule())
    with patch.object(Router, "_match", autospec=True, side_effect=Router._match) as matched:
        for time in range(1, 50):
            driver.send(time)
        assert matched.call_count == 1
        driver.change(count_rule(id="new"), at=50)
        driver.send(51)
        assert matched.call_count == 2
    assert {incident.rule_id for incident in driver.incidents} == {"r", "new"}


def test_a_deleted_rule_sees_nothing_more() -> None:
    driver = Driver(count_rule())
    driver.change(at=5, dropped=(("r", EndReason.RULE_DELETED), ("unknown", EndReason.EXPIRED)))
    driver.send(6)
    assert (driver.told, driver.engine.rules(), driver.engine.group_count()) == ([], [], 0)


def test_the_states_of_a_rules_groups_are_counted_as_they_are_at_the_moment_of_asking() -> None:
    driver = Driver(count_rule(group_by=("host",), threshold=1.0, min_samples=1, lateness=5))
    driver.send(1, host="a")
    for time in (1, 2):
        driver.send(time, at=2, host="b")
    assert driver.engine.group_states("r", us(3)) == {GroupState.OK: 1, GroupState.FIRING: 1}
    assert driver.engine.group_states("r", us(16)) == {GroupState.NO_DATA: 1, GroupState.FIRING: 1}
    driver.tick(16)
    assert driver.engine.group_states("r", us(16)) == {GroupState.NO_DATA: 1, GroupState.OK: 1}
    assert driver.engine.group_states("unknown", us(3)) == {}


def test_a_silent_rule_has_its_group_from_the_start_and_others_have_not() -> None:
    silent = count_rule(id="silent", operator=Operator.LT)
    assert Driver(silent).engine.group_count() == 0  # count < 0 never holds
    assert Driver(count_rule(operator=Operator.LE)).engine.group_count() == 1
    assert Driver(count_rule(operator=Operator.LE, group_by=("a",))).engine.group_count() == 0
