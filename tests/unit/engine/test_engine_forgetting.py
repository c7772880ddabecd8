"""``groupTtlSecs``: a group that has been quiet for that long is dropped (SEMANTICS, section 7)."""

from __future__ import annotations

from array import array
from typing import cast
from unittest.mock import patch

from alertd.engine.group import Group
from alertd.engine.inputs import Reconsider
from alertd.engine.routing import Router
from alertd.engine.sources import listed
from alertd.model import EndReason, OnNoData, Operator, TransitionKind
from tests.unit.engine.engine_driver import Driver, count_rule, make_rule, us

TTL = {"group_ttl_us": us(60)}
KEPT = {"on_no_data": OnNoData.KEEP} | TTL


def test_a_group_is_dropped_when_it_has_been_quiet_for_its_time_and_not_before() -> None:
    driver = Driver(make_rule(**TTL))
    driver.send(5)
    driver.send(30, 0)
    driver.tick(89)
    assert driver.engine.group_count() == 1
    driver.tick(90)
    assert (driver.engine.group_count(), driver.engine.dropped_groups) == (0, 1)
    assert driver.engine.next_wake_us() is None
    assert driver.edges == [(5, 5, 15, EndReason.NO_DATA)]


def test_an_incident_that_is_open_then_ends_where_the_group_was_judged_up_to() -> None:
    driver = Driver(make_rule(lateness=10, **KEPT))
    driver.send(5)
    driver.tick(500)
    assert driver.edges == [(5, 5, 55, EndReason.EXPIRED)]
    (resolved,) = [t for t in driver.told if t.kind is TransitionKind.RESOLVED]
    assert resolved.detected_us == us(500) + 1


def test_an_event_that_comes_just_then_finds_a_new_group() -> None:
    for at, edges in (
        (64.9, [(5, 5, 64.9, EndReason.RECOVERED)]),
        (65, [(5, 5, 65, EndReason.EXPIRED)]),
    ):
        driver = Driver(make_rule(**KEPT))
        driver.send(5)
        driver.send(at, 0)
        assert driver.edges == edges


def test_late_events_and_events_of_one_instant_keep_a_group() -> None:
    driver = Driver(make_rule(lateness=30, **TTL))
    driver.send(100, 0)
    driver.send(90, 0, at=150)
    driver.send(100, 0, at=200)
    driver.send(1, 0, at=250)
    driver.tick(309)
    assert driver.engine.dropped_groups == 0
    assert driver.engine.overdue_events == 3
    driver.told.clear()


def test_an_event_ahead_of_the_clock_is_quiet_from_its_own_time_on() -> None:
    driver = Driver(make_rule(**TTL))
    driver.send(50, at=1)
    driver.tick(109)
    assert driver.engine.dropped_groups == 0
    driver.tick(110)
    assert driver.engine.dropped_groups == 1


def test_a_group_that_comes_back_is_new_and_is_warmed_up_again() -> None:
    silent = count_rule(operator=Operator.LT, threshold=1.0, group_by=("host",), **TTL)
    driver = Driver(silent)
    driver.send(5, host="a")
    driver.send(100, host="a")
    driver.tick(109)
    assert driver.edges == [(15, 15, 65, EndReason.EXPIRED)]
    driver.tick(110)
    assert driver.edges == [(15, 15, 65, EndReason.EXPIRED), (110, 110, None, None)]


def test_the_group_of_a_dead_mans_switch_is_never_dropped() -> None:
    driver = Driver(count_rule(operator=Operator.LT, threshold=1.0, **TTL))
    driver.send(5)
    driver.tick(100_000)
    assert driver.engine.group_count() == 1
    assert driver.edges == [(15, 15, None, None)]


def test_what_is_pending_is_forgotten_with_its_group() -> None:
    driver = Driver(make_rule(window=100, for_=80, **TTL))
    driver.send(5)
    driver.tick(500)
    assert driver.kinds == [(TransitionKind.PENDING, 5)]


def test_matching_is_decided_again_for_the_series_of_a_dropped_group_and_for_no_other() -> None:
    driver = Driver(
        count_rule(id="all"),
        count_rule(id="each", group_by=("host",), **TTL),
        count_rule(id="zones", group_by=("zone",)),
    )
    with patch.object(Router, "_match", autospec=True, side_effect=Router._match) as matched:
        for time in range(1, 200, 20):
            driver.send(time, host="busy")
            if time < 40 or time > 150:
                driver.send(time + 1, host="rare")
        assert matched.call_count == 3
    assert (driver.engine.group_count(), driver.engine.dropped_groups) == (4, 1)
    router = driver.engine._router
    groups = cast("tuple[Group, ...]", router._routes[1])
    assert [sorted(listed(group.sources)) for group in groups] == [
        [0, 1],
        [1],
        [0, 1],
    ]
    assert router._broken == {}


def test_an_edited_time_counts_at_once() -> None:
    driver = Driver(make_rule(**KEPT))
    driver.send(5)
    driver.change(make_rule(on_no_data=OnNoData.KEEP, group_ttl_us=us(600), version=2), at=20)
    driver.tick(100)
    assert driver.engine.dropped_groups == 0
    driver.change(make_rule(on_no_data=OnNoData.KEEP, group_ttl_us=us(30), version=3), at=110)
    assert driver.edges == [(5, 5, 110, EndReason.EXPIRED)]
    assert driver.engine.group_count() == 0


def test_a_late_event_is_not_judged_without_the_events_that_went_with_its_group() -> None:
    driver = Driver(count_rule(threshold=1.0, **TTL))
    driver.send(5)
    driver.tick(70)
    driver.send(6, at=80)  # with the event of 5 s a breach of [6, 15)
    assert driver.incidents == []
    (stretch,) = driver.engine.overdue()
    assert stretch.read_after_us < us(5)
    reconsider(driver, at=90, times=(5, 6))
    assert driver.edges == [(6, 6, 15, EndReason.RECOVERED)]
    assert driver.engine.overdue() == []


def test_an_event_that_shares_no_window_with_a_dropped_group_is_not_late() -> None:
    driver = Driver(count_rule(group_by=("host",), **TTL))
    driver.send(5, host="a")
    driver.tick(70)
    driver.send(26, at=80, host="b")
    assert driver.engine.overdue() == []
    assert [incident.started_us for incident in driver.incidents] == [us(5), us(26)]


def test_a_group_stays_until_the_reconciler_has_judged_its_past() -> None:
    driver = Driver(make_rule(**KEPT))
    driver.send(50)
    driver.send(20, at=51)
    driver.tick(500)
    assert (driver.engine.dropped_groups, driver.engine.overdue_groups) == (0, 1)
    reconsider(driver, at=600, times=(20, 50))
    assert (driver.engine.dropped_groups, driver.engine.overdue_groups) == (1, 0)
    assert driver.edges == [(20, 50, 600, EndReason.EXPIRED)]


def reconsider(driver: Driver, *, at: float, times: tuple[float, ...]) -> None:
    """Do what the reconciler does, when ``times`` is what the store has."""
    (stretch,) = driver.engine.overdue()
    driver.told += driver.engine.step(
        Reconsider(
            now_us=us(at),
            stretch=stretch,
            times_us=array("q", map(us, times)),
            values=array("d", [1.0] * len(times)),
            before_times_us=array("q"),
            before_values=array("d"),
            told=tuple(driver.incidents),
        )
    )


def test_whoever_asks_for_the_series_of_a_group_makes_none() -> None:
    driver = Driver(count_rule(group_by=("host",), **TTL))
    driver.send(5, host="a")
    driver.tick(100)
    wanted = {("r", (("host", "a"),)), ("gone", ())}
    assert driver.engine.members(wanted, range(1)) == {
        ("r", (("host", "a"),)): [0],
        ("gone", ()): [],
    }
    assert driver.engine.group_count() == 0


def test_a_rule_that_starts_warm_makes_no_group_that_would_have_been_dropped() -> None:
    rule = make_rule(group_by=("host",), lateness=50, **KEPT)
    old, new = (("host", "old"),), (("host", "new"),)
    driver = Driver()
    driver.start_from(rule, 100, {old: [(35, 1, 35)], new: [(45, 1, 45)]})
    assert [incident.group for incident in driver.incidents] == [new]
    assert driver.engine.group_count() == 1
    driver.send(36, at=101, host="old")
    assert [each.overdue.group for each in driver.engine.overdue()] == [old]
