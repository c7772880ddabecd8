from __future__ import annotations

from typing import Any

import pytest

from alertd.model import EndReason, Matcher, MatchOperator, OnNoData, Operator, RuleType
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, make_rule

CHANGED, DELETED = EndReason.RULE_CHANGED, EndReason.RULE_DELETED


def test_an_edit_of_the_threshold_keeps_the_windows_and_is_judged_at_once() -> None:
    driver = Driver(count_rule(threshold=5.0))
    for time in (1, 2, 3):
        driver.send(time)
    driver.change(count_rule(version=2, threshold=2.0), at=4)
    assert driver.edges == [(4, 4, None, None)]
    incident = driver.incidents[0]
    assert (incident.value, incident.peak_value, incident.rule_version) == (3, 3, 2)


def test_an_incident_that_no_longer_holds_ends_with_rule_changed() -> None:
    driver = Driver(count_rule())
    driver.send(1)
    driver.change(count_rule(version=2, threshold=3.0), at=4)
    assert driver.edges == [(1, 1, 4, CHANGED)]
    driver.tick(100)
    assert len(driver.told) == 2


def test_what_an_edit_ends_is_told_as_the_rule_was_when_it_was_on() -> None:
    driver = Driver(count_rule())
    driver.send(1)
    driver.change(count_rule(version=2, threshold=3.0), at=4)
    assert [transition.rule.version for transition in driver.told] == [1, 1]
    for time in (4, 5, 6):
        driver.send(time)
    assert driver.told[-1].rule.version == 2


def test_what_an_edit_ends_and_the_next_brings_back_at_the_same_instant_has_another_id() -> None:
    driver = Driver(count_rule(lateness=10))
    driver.send(1)
    driver.change(count_rule(version=2, threshold=3.0, lateness=10), at=2)
    driver.change(count_rule(version=3, lateness=10), at=3)
    first, second = driver.incidents
    assert driver.edges == [(1, 1, 1, CHANGED), (1, 1, None, None)]
    assert first.id != second.id
    driver.change(count_rule(version=4, threshold=3.0, lateness=10), at=4)
    driver.change(count_rule(version=5, lateness=10), at=5)
    assert len({incident.id for incident in driver.incidents}) == 3


@pytest.mark.parametrize("is_brought_back_late", [False, True])
@pytest.mark.parametrize("for_", [0, 5])
def test_what_begins_at_the_instant_of_an_edit_has_an_id_of_its_own_whenever_it_fires(
    for_: float, is_brought_back_late: bool
) -> None:
    driver = Driver(count_rule(lateness=10))
    driver.send(1)
    driver.change(count_rule(version=2, threshold=3.0, lateness=10), at=2)
    threshold = 1.0 if is_brought_back_late else 0.0
    driver.change(count_rule(version=3, threshold=threshold, for_=for_, lateness=10), at=3)
    if is_brought_back_late:
        driver.send(1, at=3.5)
    driver.send(7)
    assert driver.edges == [(1, 1, 1, CHANGED), (1, 1 + for_, None, None)]


def test_an_incident_that_still_holds_stays_open_across_an_edit() -> None:
    driver = Driver(count_rule())
    driver.send(1)
    driver.send(2)
    driver.change(count_rule(version=2, threshold=1.0), at=4)
    assert driver.edges == [(1, 1, None, None)]
    driver.tick(11)
    assert driver.edges == [(1, 1, 11, EndReason.RECOVERED)]


def test_when_an_edited_incident_ends_does_not_depend_on_how_often_the_clock_was_looked_at() -> (
    None
):
    for rule in (make_rule(lateness=2), bucket_rule(lateness=2, on_no_data=OnNoData.KEEP)):
        ends = []
        for ticks in ([], [15, 16.5], [17]):
            driver = Driver(rule)
            driver.send(1)
            driver.send(9)
            driver.send(12.5)
            for tick in ticks:
                driver.tick(tick)
            assert len(driver.edges) == 1
            driver.change(at=18, dropped=(("r", DELETED),))
            ends.append(driver.edges)
        assert [edges[0][2:] for edges in ends] == [(16, DELETED)] * 3


def test_a_deleted_rule_ends_its_incidents_where_the_clock_stands() -> None:
    driver = Driver(bucket_rule(operator=Operator.LT, threshold=1.0, lateness=5))
    driver.tick(400)
    assert driver.edges == [(10, 10, None, None)]
    driver.change(at=500, dropped=(("r", DELETED),))
    assert driver.edges == [(10, 10, 495, DELETED)]
    assert driver.engine.next_wake_us() is None


def test_dropping_a_rule_says_nothing_of_a_pending_breach() -> None:
    driver = Driver(count_rule(for_=5))
    driver.send(1)
    told = len(driver.told)
    driver.change(at=2, dropped=(("r", CHANGED),))
    driver.tick(100)
    assert len(driver.told) == told


@pytest.mark.parametrize(
    "edit",
    [
        {"type": RuleType.MOVING_WINDOW},
        {"metric_name": "n"},
        {"matchers": (Matcher("a", MatchOperator.EQUAL, ""),)},
        {"group_by": ("a",)},
        {"type": RuleType.MOVING_WINDOW, "aggregate": "sum"},
        {"window": 20},
        {"lateness": 1},
    ],
)
def test_any_other_edit_ends_what_is_open_and_starts_anew(edit: dict[str, Any]) -> None:
    driver = Driver(count_rule())
    driver.send(1)
    driver.change(count_rule(version=2, **edit), at=3)
    assert driver.edges == [(1, 1, 3, CHANGED)]
    driver.tick(100)
    assert len(driver.edges) == 1


def test_a_rule_that_no_edit_touched_keeps_its_state() -> None:
    driver = Driver(count_rule(), count_rule(id="other", for_=5))
    driver.send(1)
    driver.change(count_rule(threshold=7.0), at=2)
    driver.tick(6)
    assert (driver.edges[0], driver.edges[1]) == ((1, 1, 2, CHANGED), (1, 6, None, None))


def test_a_shorter_for_fires_at_once_and_a_longer_one_waits() -> None:
    driver = Driver(count_rule(for_=8))
    driver.send(1)
    driver.change(count_rule(for_=2), at=5)
    assert driver.edges == [(1, 5, None, None)]
    patient = Driver(count_rule(for_=3))
    patient.send(1)
    patient.change(count_rule(for_=6), at=2)
    patient.tick(6.9)
    assert patient.edges == []
    patient.tick(7)
    assert patient.edges == [(1, 7, None, None)]


def test_a_shorter_keep_firing_resolves_at_once() -> None:
    driver = Driver(make_rule(keep=100))
    driver.send(1)
    driver.send(3, 0)
    driver.change(make_rule(keep=1), at=8)
    assert driver.edges == [(1, 1, 3, EndReason.RECOVERED)]


def test_the_new_threshold_counts_from_the_edit_on_for_a_group_that_slept() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=100.0))
    driver.send(1, 50)
    driver.send(2, 50)
    driver.change(make_rule(aggregate="avg", threshold=40.0), at=50)
    driver.tick(100)
    assert driver.edges == []
    awake = Driver(make_rule(aggregate="avg", threshold=100.0))
    awake.send(1, 50)
    awake.change(make_rule(aggregate="avg", threshold=40.0), at=5)
    assert awake.edges == [(5, 5, None, None)]


def test_an_edit_can_make_a_dead_mans_switch_out_of_a_rule_that_never_saw_an_event() -> None:
    for rule in (count_rule, bucket_rule):
        driver = Driver(rule(lateness=5))
        driver.change(rule(lateness=5, operator=Operator.LT, threshold=1.0), at=100)
        assert driver.edges == [(95, 95, None, None)]
        driver.send(101)
        driver.tick(106)
        driver.tick(116)
        assert driver.edges[0][2] == (101 if rule is count_rule else 110)


def test_a_dead_mans_switch_made_by_an_edit_still_warms_up() -> None:
    for rule, fires in ((count_rule, 10), (bucket_rule, 10)):
        driver = Driver(rule())
        driver.change(rule(operator=Operator.LT, threshold=1.0), at=4)
        driver.tick(9)
        assert driver.edges == []
        driver.tick(10)
        assert driver.edges == [(fires, fires, None, None)]


def test_a_dead_mans_switch_turned_off_by_an_edit_no_longer_warms_up() -> None:
    driver = Driver(count_rule(operator=Operator.LT, threshold=1.0))
    driver.change(count_rule(), at=4)
    driver.send(5)
    assert driver.edges == [(5, 5, None, None)]


def test_the_new_threshold_counts_for_late_data_too_from_the_edit_on() -> None:
    laxer = Driver(count_rule(threshold=5.0, lateness=50))
    for time in (20, 21, 42):
        laxer.send(time)
    laxer.change(count_rule(version=2, threshold=2.0, lateness=50), at=60)
    assert laxer.edges == [], "what had come is not judged again"
    laxer.send(22, at=61)
    assert laxer.edges == [(22, 22, 30, EndReason.RECOVERED)]
    assert laxer.incidents[0].rule_version == 2
    stricter = Driver(count_rule(threshold=1.0, lateness=50))
    stricter.send(20)
    stricter.send(42)
    stricter.change(count_rule(version=2, threshold=5.0, lateness=50), at=60)
    stricter.send(22, at=61)
    stricter.tick(200)
    assert stricter.told == []


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_an_edit_has_ended_is_over_for_late_events_and_behind_a_restart_too(
    is_restarted: bool,
) -> None:
    usual = {"lateness": 10, "window": 100, "keep": 20}
    driver = Driver(make_rule(**usual))
    driver.send(10, 1.0)
    driver.send(30, 1.0)
    driver.change(make_rule(version=2, threshold=5.0, **usual), at=30)
    if is_restarted:
        driver.restart()
    driver.send(40, 1.0)
    driver.send(35, 9.0, at=40)
    driver.tick(200)
    assert driver.edges == [(10, 10, 30, CHANGED), (35, 35, 40, EndReason.RECOVERED)]
