"""Bucketed groups that sleep judge nothing, and make up for it when they wake."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from alertd.engine.resting_bucketed import RestingBucketedGroup
from alertd.engine.window import NO_EVENTS
from alertd.model import DetectedBy, EndReason, GroupState, Rule
from tests.unit.engine.engine_driver import Driver, bucket_rule, us

_FALL_ASLEEP = RestingBucketedGroup._fall_asleep


def average(**options: object) -> Rule:
    usual = {"aggregate": "avg", "threshold": 50.0, "min_samples": 1, "group_by": ("host",)}
    return bucket_rule(**usual | {"lateness": 5} | options)


def asleep(*, until: int = 100, **options: object) -> Driver:
    """Return a world in which a group has been quiet for all of its time, an event a second."""
    driver = Driver(average(**options))
    for time in range(until):
        driver.send(time, 1.0, host="h0")
    return driver


def group(driver: Driver, host: str = "h0") -> RestingBucketedGroup:
    found = driver.engine._router.group("r", (("host", host),))
    assert isinstance(found, RestingBucketedGroup)
    return found


def test_those_that_sleep_share_a_lifecycle_and_the_window_that_holds_nothing() -> None:
    driver = Driver(average())
    for time in range(30):
        for host in ("h0", "h1"):
            driver.send(time, 1.0, host=host)
    one, other = group(driver), group(driver, "h1")
    assert one._asleep
    assert one._window is other._window is NO_EVENTS
    assert one.lifecycle is other.lifecycle
    driver.send(30, 900.0, host="h1")
    assert one._window is NO_EVENTS
    assert other._window.times[-1] == us(30)
    assert one.lifecycle is not other.lifecycle


def test_a_loud_value_wakes_a_group_and_its_window_is_judged_when_it_closes() -> None:
    driver = asleep()
    driver.send(100, 900.0, host="h0")
    assert not group(driver)._asleep
    driver.tick(200)
    assert driver.edges == [(110, 110, 120, EndReason.NO_DATA)]
    (incident,) = driver.incidents
    assert (incident.value, incident.detected_by) == (900.0, DetectedBy.STREAM)


def test_no_window_is_judged_while_a_group_sleeps_and_only_late_ones_when_it_wakes() -> None:
    driver = asleep(until=20)
    with patch.object(RestingBucketedGroup, "_judge", autospec=True) as judge:
        for time in range(20, 1_000):
            driver.send(time, 1.0, host="h0")
        assert judge.call_count == 0
        driver.send(1_000, 900.0, host="h0")
    assert [call.args[1] for call in judge.call_args_list] == [us(990)]


def test_who_was_loud_sleeps_again_when_no_late_event_can_meet_what_was() -> None:
    driver = asleep()
    driver.send(100, 900.0, host="h0")
    slept = []
    for time in range(101, 140):
        driver.send(time, 1.0, host="h0")
        if group(driver)._asleep:
            slept.append(time)
    assert slept == list(range(135, 140))  # the window up to 110 is not judged again then
    assert len(driver.incidents) == 1


def test_a_quiet_event_that_comes_late_wakes_nobody_and_is_judged_when_somebody_wakes() -> None:
    driver = asleep()
    driver.send(97, 1.0, 1.0, at=100, host="h0")
    assert group(driver)._asleep
    driver.send(98, 700.0, at=100, host="h0")  # in [90, 100): 12 of 1.0 and this
    driver.tick(200)
    assert [incident.value for incident in driver.incidents] == [pytest.approx(712 / 13)]


def test_a_late_event_is_judged_by_what_windows_said_while_the_group_slept() -> None:
    """When it fell asleep there was no data; where the incident ends there had been some."""
    driver = asleep(lateness=50)
    driver.send(15, 9_000.0, at=99, host="h0")
    assert driver.edges == [(20, 20, 30, EndReason.RECOVERED)]


def test_what_comes_after_a_long_silence_is_late_only_where_a_window_was_judged() -> None:
    driver = asleep(until=20)
    driver.tick(500)
    driver.send(480, 900.0, at=500, host="h0")  # the clock is far beyond, but windows were empty
    driver.tick(600)
    (incident,) = driver.incidents
    assert (incident.detected_by, incident.late_by_us) == (DetectedBy.STREAM, 0)


def test_the_state_of_a_sleeper_is_that_of_the_window_that_closed_last() -> None:
    driver = asleep(until=20)
    states = [driver.engine.group_states("r", us(at)) for at in (20, 24, 34, 35, 50)]
    has, has_not = {GroupState.OK: 1}, {GroupState.NO_DATA: 1}
    assert states == [has, has, has, has_not, has_not]


def test_a_sleeper_that_is_restarted_sleeps_on() -> None:
    driver = asleep()
    driver.restart()
    assert group(driver)._asleep
    assert group(driver)._window is NO_EVENTS
    driver.send(100, 900.0, host="h0")
    driver.tick(200)
    assert driver.edges == [(110, 110, 120, EndReason.NO_DATA)]


def test_an_edit_finds_the_window_of_a_sleeper() -> None:
    driver = asleep()
    driver.change(average(threshold=0.5, version=2), at=99)
    assert [incident.rule_version for incident in driver.engine.open_incidents()] == [2]


def test_who_would_have_many_windows_to_judge_when_it_wakes_does_not_sleep() -> None:
    assert group(asleep(bucket=1, window=10, lateness=128))._asleep
    assert not group(asleep(bucket=1, window=10, lateness=129))._asleep


def test_as_many_events_as_nearly_suffice_keep_a_count_awake() -> None:
    driver = asleep(aggregate="count", threshold=100.0)
    assert group(driver)._asleep
    for _ in range(8):
        driver.send(100, *[1.0] * 11, host="h0")
    assert not group(driver)._asleep
    driver.send(101, *[1.0] * 20, host="h0")
    driver.tick(200)
    assert [incident.value for incident in driver.incidents] == [108.0]


def test_who_is_now_behind_the_clock_now_ahead_wakes_a_group_once_a_window_at_most() -> None:
    driver = asleep(window=40, bucket=1)
    with patch.object(
        RestingBucketedGroup, "_fall_asleep", autospec=True, side_effect=_FALL_ASLEEP
    ) as falls:
        for time in range(100, 400):
            driver.tick(time)
            driver.send(time, 1.0, host="h0")
            driver.send(time + 0.5, 1.0, at=time, host="h0")
    assert 1 <= falls.call_count <= 300 // 40


def test_a_sleeper_holds_twice_what_may_be_judged_and_no_more() -> None:
    driver = asleep(window=100, bucket=10)
    needed = 100 + 10 + 5 + 10  # so long a window, a bucket and a lateness, each begun
    held = []
    for time in range(100, 2_000):
        driver.send(time, 1.0, host="h0")
        held.append(len(group(driver)._events.times))
    assert group(driver)._asleep
    assert max(held[1_000:]) <= 2 * needed


def test_who_is_awake_falls_asleep_at_the_same_event_after_a_restart() -> None:
    rule = average(aggregate="sum", threshold=8.0, window=2, bucket=2, lateness=12)
    drivers = [Driver(rule) for _ in range(2)]
    for driver in drivers:
        driver.send(-15, 2.0, at=0, host="h0")  # loud, and no breach
        driver.send(11, 0.0, at=12, host="h0")
    drivers[1].restart()
    for driver in drivers:
        driver.send(12, 0.0, host="h0")
    plain, restarted = (group(driver)._asleep for driver in drivers)
    assert restarted == plain
