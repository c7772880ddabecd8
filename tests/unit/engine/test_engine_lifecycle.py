"""From condition to incident; the rules judge the last value, so a series is its own condition."""

from __future__ import annotations

import sys

import msgspec
import pytest

from alertd.model import EndReason, OnNoData, Operator, TransitionKind, incident_id
from tests.unit.engine.engine_driver import Driver, count_rule, make_rule, us

RECOVERED, NO_DATA = EndReason.RECOVERED, EndReason.NO_DATA
PENDING, CLEARED = TransitionKind.PENDING, TransitionKind.CLEARED
FIRING, RESOLVED = TransitionKind.FIRING, TransitionKind.RESOLVED


def signal(driver: Driver, *points: tuple[float, float]) -> None:
    for time, value in points:
        driver.send(time, value)


def test_a_breach_that_ends_when_for_has_passed_does_not_fire() -> None:
    driver = Driver(make_rule(for_=4, lateness=1))
    signal(driver, (1, 1), (5, 0))
    driver.tick(100)
    assert driver.edges == []
    assert driver.kinds == [(PENDING, 1), (CLEARED, 5)]


def test_a_breach_that_outlasts_for_fires_at_its_end() -> None:
    driver = Driver(make_rule(for_=3))
    signal(driver, (1, 1), (5, 0))
    assert driver.edges == [(1, 4, 5, RECOVERED)]
    assert driver.kinds == [(PENDING, 1), (FIRING, 4), (RESOLVED, 5)]


def test_without_for_a_breach_fires_where_it_begins_and_is_never_pending() -> None:
    driver = Driver(make_rule())
    signal(driver, (1, 1))
    assert driver.kinds == [(FIRING, 1)]
    incident = driver.incidents[0]
    assert incident.id == incident_id("r", (), us(1), us(0), version=1)
    assert (incident.window_start_us, incident.window_end_us) == (us(-9), us(1))
    assert (incident.event_time_us, incident.detected_us) == (us(1), us(1))


def test_keep_firing_is_served_only_if_it_is_still_clear_when_it_ends() -> None:
    driver = Driver(make_rule(keep=4, lateness=1))
    signal(driver, (0, 1), (2, 0), (6, 1), (7, 0), (12, 0))
    assert driver.edges == [(0, 0, 7, RECOVERED)]


def test_an_incident_ends_where_the_clear_condition_began() -> None:
    driver = Driver(make_rule(keep=3))
    signal(driver, (0, 1), (2, 0))
    driver.tick(4.9)
    assert driver.edges == [(0, 0, None, None)]
    driver.tick(5)
    assert driver.edges == [(0, 0, 2, RECOVERED)]


def test_the_reason_is_the_state_at_the_instant_of_the_end() -> None:
    driver = Driver(make_rule(window=2, keep=5))
    signal(driver, (0, 1))
    driver.tick(3)
    signal(driver, (4, 0), (8, 0))
    assert driver.edges == [(0, 0, 2, NO_DATA)]
    other = Driver(make_rule(window=2, keep=5))
    signal(other, (0, 1), (1, 0), (8, 0))
    assert other.edges == [(0, 0, 1, RECOVERED)]


def test_with_hysteresis_an_incident_stays_open_until_the_laxer_threshold_is_passed() -> None:
    driver = Driver(make_rule(threshold=10.0, resolve_threshold=5.0))
    signal(driver, (0, 11), (1, 6), (2, 5.5), (3, 12), (4, 7), (5, 5))
    assert driver.edges == [(0, 0, 5, RECOVERED)]
    assert driver.incidents[0].peak_value == 12


def test_what_only_holds_by_hysteresis_neither_starts_nor_keeps_a_pending_breach() -> None:
    driver = Driver(make_rule(threshold=10.0, resolve_threshold=5.0, for_=3))
    signal(driver, (0, 6), (1, 11), (2, 6), (3, 11), (5, 11))
    driver.tick(5.9)
    assert driver.edges == []
    driver.tick(6)
    assert driver.edges == [(3, 6, None, None)]


def test_missing_data_is_never_reported_as_recovery() -> None:
    driver = Driver(make_rule())
    signal(driver, (0, 1))
    driver.tick(100)
    assert driver.edges == [(0, 0, 10, NO_DATA)]


def test_with_keep_an_open_incident_outlives_its_data_and_a_pending_one_does_not() -> None:
    kept = Driver(make_rule(on_no_data=OnNoData.KEEP))
    signal(kept, (0, 1))
    kept.tick(100)
    assert kept.edges == [(0, 0, None, None)]
    signal(kept, (101, 0))
    assert kept.edges == [(0, 0, 101, RECOVERED)]

    pending = Driver(make_rule(on_no_data=OnNoData.KEEP, for_=12))
    signal(pending, (0, 1))
    pending.tick(100)
    assert pending.kinds == [(PENDING, 0), (CLEARED, 10)]


def test_with_alert_no_value_is_a_breach_after_the_warm_up() -> None:
    driver = Driver(make_rule(on_no_data=OnNoData.ALERT), at=50)
    driver.tick(59)
    assert driver.edges == []
    driver.tick(60)
    assert driver.edges == [(60, 60, None, None)]
    incident = driver.incidents[0]
    assert (incident.value, incident.peak_value) == (None, None)
    assert incident.event_time_us == us(60)
    signal(driver, (70, 0))
    assert driver.edges == [(60, 60, 70, RECOVERED)]


def test_a_dead_mans_switch_needs_no_event_at_all() -> None:
    driver = Driver(count_rule(operator=Operator.LT, threshold=1.0, lateness=5), at=100)
    assert driver.engine.next_wake_us() == us(115)
    driver.tick(114)
    assert driver.edges == []
    driver.tick(115)
    assert driver.edges == [(110, 110, None, None)]
    driver.send(120)
    assert driver.edges == [(110, 110, 120, RECOVERED)]
    driver.tick(134)
    assert len(driver.edges) == 1
    driver.tick(135)
    assert driver.edges[1] == (130, 130, None, None)


def test_the_warm_up_of_a_group_begins_with_its_first_event() -> None:
    rule = count_rule(operator=Operator.LT, threshold=2.0, group_by=("host",))
    driver = Driver(rule, at=0)
    driver.send(100, host="a")
    driver.tick(109)
    assert driver.edges == []
    driver.tick(110)
    assert driver.edges == [(110, 110, None, None)]


def test_what_a_group_sent_before_the_activation_does_not_shorten_the_warm_up() -> None:
    rule = count_rule(operator=Operator.LT, threshold=2.0, group_by=("host",))
    driver = Driver(rule, at=100)
    driver.send(50, at=101, host="a")
    driver.send(109, host="a")
    driver.send(109.5, host="a")
    assert driver.edges == []
    driver.tick(125)
    assert driver.edges == [(119, 119, None, None)]


@pytest.mark.parametrize(
    ("operator", "threshold", "values", "peak"),
    [
        (Operator.GT, 1.0, (2, 5, 3), 5),
        (Operator.LT, 1.0, (0, -5, -3), -5),
        (Operator.NE, 1.0, (2, -5, 3), -5),
        (Operator.EQ, 1.0, (1, 1, 1), 1),
    ],
)
def test_the_peak_is_the_value_furthest_beyond_the_threshold(
    operator: Operator, threshold: float, values: tuple[float, ...], peak: float
) -> None:
    driver = Driver(make_rule(operator=operator, threshold=threshold))
    signal(driver, *enumerate(values))
    assert driver.incidents[0].value == values[0]
    assert driver.incidents[0].peak_value == peak


def test_the_peak_includes_what_was_pending_and_the_value_at_firing() -> None:
    driver = Driver(make_rule(for_=2))
    signal(driver, (0, 3), (1, 2))
    driver.tick(2)
    assert driver.told[-1].incident == driver.incidents[0]
    assert (driver.incidents[0].value, driver.incidents[0].peak_value) == (2, 3)

    rising = Driver(make_rule(for_=2, lateness=1))
    signal(rising, (0, 1), (2, 9))
    fired = rising.told[-1].incident
    assert fired is not None
    assert (fired.fired_us, fired.value, fired.peak_value) == (us(2), 9, 9)


def test_what_an_event_adds_is_detected_at_once_and_silence_after_the_allowed_lateness() -> None:
    driver = Driver(make_rule(lateness=30))
    driver.send(5, at=7)
    assert driver.edges == [(5, 5, None, None)]
    driver.tick(46)
    assert driver.edges == [(5, 5, None, None)]
    driver.tick(47)  # M + (now - R) - L = 5 + 40 - 30 = 15
    assert driver.edges == [(5, 5, 15, NO_DATA)]


def test_an_event_ahead_of_the_clock_waits_for_it_and_makes_nobody_late() -> None:
    driver = Driver(make_rule())
    driver.send(50, 1, at=10)
    assert driver.engine.next_wake_us() == us(50)
    driver.send(20, 1, at=20)
    driver.send(25, 0, at=25)
    assert driver.edges == [(20, 20, 25, RECOVERED)]
    driver.tick(49.9)
    assert driver.edges == [(20, 20, 25, RECOVERED)]
    driver.tick(50)
    assert driver.edges == [(20, 20, 25, RECOVERED), (50, 50, None, None)]
    assert driver.engine.overdue_events == 0


def test_a_backlog_is_judged_by_its_own_event_time() -> None:
    driver = Driver(make_rule(for_=2), at=1_000_000)
    for time, value in ((0, 1), (1, 1), (3, 0), (50, 0)):
        driver.send(time, value, at=1_000_001)
    assert driver.edges == [(0, 2, 3, RECOVERED)]


def test_an_event_older_than_the_lateness_is_overdue_and_still_counts_from_now_on() -> None:
    driver = Driver(make_rule())
    driver.send(100, 0)
    driver.send(90, 1, at=100)
    assert driver.engine.overdue_events == 1
    driver.send(91, 1, at=100)
    assert driver.engine.overdue_events == 2
    assert driver.edges == []


def test_an_event_of_the_very_instant_at_which_it_is_received_is_never_late() -> None:
    driver = Driver(count_rule(for_=15))  # one event leaves the window as the next one enters
    for time in (0, 10, 20):
        driver.send(time)
    assert driver.edges == [(0, 15, None, None)]


def test_an_incident_that_goes_on_from_one_of_no_length_has_an_id_of_its_own() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0))
    for value in (8, 0, 22, -50, 105):  # all at one instant: the average is 8, 4, 10, -5, 17
        driver.send(1, value)
    ids = [t.incident.id for t in driver.told if t.kind is FIRING and t.incident is not None]
    assert len(ids) == len(set(ids)) == 3
    assert [incident.continues for incident in driver.incidents] == [None, *ids[:2]]


def test_with_alert_a_pending_breach_goes_on_without_data() -> None:
    driver = Driver(make_rule(on_no_data=OnNoData.ALERT, for_=12))
    signal(driver, (12, 0), (20, 1))
    driver.tick(31.9)
    assert driver.edges == []
    driver.tick(32)
    assert driver.edges == [(20, 32, None, None)]
    assert driver.incidents[0].value is None


def test_a_window_with_fewer_samples_than_asked_for_has_no_value() -> None:
    """A number that is given is meant, for a count too."""
    driver = Driver(count_rule(min_samples=2, operator=Operator.LT, threshold=5.0, window=10))
    signal(driver, (0, 1))
    assert driver.edges == []
    signal(driver, (5, 1))
    assert driver.edges == [(5, 5, None, None)]
    driver.tick(10)
    assert driver.edges == [(5, 5, 10, NO_DATA)]


def test_equal_and_not_equal_hold_exactly_where_they_hold() -> None:
    two = Driver(count_rule(operator=Operator.EQ, threshold=2.0))
    signal(two, (0, 1), (4, 1), (7, 1))
    two.tick(20)
    assert two.edges == [(4, 4, 7, RECOVERED), (10, 10, 14, RECOVERED)]
    other = Driver(make_rule(operator=Operator.NE, threshold=1.0))
    signal(other, (0, 1), (4, 1.0000000001), (7, 1))
    assert other.edges == [(4, 4, 7, RECOVERED)]


def test_a_sum_beyond_all_floats_breaches_and_is_gone_with_its_values() -> None:
    driver = Driver(make_rule(aggregate="sum", threshold=100.0))
    signal(driver, (0, 1e308), (1, 1e308), (5, 0.1))
    driver.tick(12)
    assert driver.edges == [(0, 0, 11, RECOVERED)]
    assert driver.incidents[0].peak_value == sys.float_info.max
    signal(driver, (13, 99.9))
    assert len(driver.edges) == 1, "0.1 + 99.9 is 100, exactly as before"
    signal(driver, (14, 0.2))
    assert (driver.incidents[1].started_us, driver.incidents[1].value) == (us(14), 100.2)
    assert msgspec.json.encode(driver.incidents[0].peak_value) != b"null", "it can be shown"


def test_a_dead_mans_switch_goes_on_over_restarts() -> None:
    driver = Driver(count_rule(operator=Operator.LT, threshold=1.0, lateness=5), at=100)
    for time in (104, 112, 120):
        driver.restart()
        driver.send(time)
    driver.restart()
    driver.tick(134.9)
    assert driver.edges == []
    driver.restart()
    assert driver.engine.next_wake_us() == us(135)
    driver.tick(135)
    assert driver.edges == [(130, 130, None, None)]
    never_fed = Driver(count_rule(operator=Operator.LT, threshold=1.0), at=100)
    never_fed.restart()
    never_fed.tick(110)
    assert never_fed.edges == [(110, 110, None, None)]
