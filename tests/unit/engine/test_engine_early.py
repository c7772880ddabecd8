from __future__ import annotations

from array import array
from unittest.mock import patch

from alertd.engine.aggregates import Count
from alertd.engine.condition import Condition
from alertd.engine.continuous import ContinuousGroup
from alertd.engine.early import EarlyWindow
from alertd.model import (
    DetectedBy,
    EndReason,
    Evaluate,
    EventBatch,
    GroupState,
    Operator,
    Rule,
    TransitionKind,
)
from tests.unit.engine.engine_driver import Driver, bucket_rule, us

RECOVERED, NO_DATA = EndReason.RECOVERED, EndReason.NO_DATA


def early_rule(**options: object) -> Rule:
    """Return an early ``BUCKETED_WINDOW avg > 5`` over 10 s, with ``options``."""
    usual: dict[str, object] = {"evaluate": Evaluate.EARLY, "aggregate": "avg", "threshold": 5.0}
    return bucket_rule(**usual | options)


def early_count(**options: object) -> Rule:
    """Return an early ``BUCKETED_WINDOW count > 1`` over 10 s, with ``options``."""
    return early_rule(**{"aggregate": "count", "threshold": 1.0} | options)


def window_of(driver: Driver, place: int = -1) -> tuple[float, float]:
    incident = driver.incidents[place]
    return incident.window_start_us / us(1), incident.window_end_us / us(1)


# ---- one window after the other


def test_an_open_window_fires_at_the_event_that_satisfies_it_and_its_close_confirms_it() -> None:
    driver = Driver(early_count())
    driver.send(1)
    assert driver.edges == []
    driver.send(4)
    assert driver.edges == [(4, 4, None, None)]
    assert driver.incidents[0].value == 2
    assert driver.incidents[0].event_time_us == us(4)
    assert window_of(driver) == (0, 10)
    driver.send(7)
    driver.tick(19.9)
    assert driver.edges == [(4, 4, None, None)]
    driver.tick(20)
    assert driver.edges == [(4, 4, 20, RECOVERED)]
    assert driver.incidents[0].peak_value == 3


def test_a_window_stays_in_breach_until_it_closes_even_if_its_value_falls_again() -> None:
    driver = Driver(early_rule())
    driver.send(1, 8)
    driver.send(2, 0)
    driver.send(9, 0)
    assert driver.edges == [(1, 1, None, None)]
    driver.tick(10)
    assert driver.edges == [(1, 1, 10, RECOVERED)]
    assert driver.incidents[0].peak_value == 8
    assert driver.told[-1].value == 8 / 3


def test_an_event_at_the_end_of_a_window_belongs_to_the_next() -> None:
    driver = Driver(early_count())
    driver.send(1)
    driver.send(10)
    assert driver.edges == []
    driver.send(11)
    assert driver.edges == [(11, 11, None, None)]
    assert window_of(driver) == (10, 20)


def test_the_next_window_takes_over_without_a_break() -> None:
    driver = Driver(early_rule(aggregate="max"))
    driver.send(3, 9)
    driver.send(14, 7)
    driver.tick(25)
    assert driver.edges == [(3, 3, None, None)]
    driver.tick(30)
    assert driver.edges == [(3, 3, 30, NO_DATA)]


def test_the_smallest_value_below_a_threshold_fires_at_once() -> None:
    driver = Driver(early_rule(aggregate="min", operator=Operator.LT))
    driver.send(1, 8)
    driver.send(2, 4)
    driver.send(3, 3)
    assert driver.edges == [(2, 2, None, None)]
    assert (driver.incidents[0].value, driver.incidents[0].peak_value) == (4, 3)


def test_too_few_events_are_no_breach_yet() -> None:
    driver = Driver(early_rule(min_samples=3))
    for time in (1, 2, 3):
        assert driver.edges == []
        driver.send(time, 9)
    assert driver.edges == [(3, 3, None, None)]


def test_all_events_of_an_instant_are_judged_together() -> None:
    driver = Driver(early_rule())
    for time, values in ((1, (9.0, 0.0)), (2, (0.0, 99.0))):
        assert driver.told == []
        driver.told += driver.engine.step(
            EventBatch(
                received_us=us(2),
                series_ids=array("I", [driver.series_id("m", ())] * 2),
                times_us=array("q", [us(time)] * 2),
                values=array("d", values),
            )
        )
    assert driver.edges == [(2, 2, None, None)]
    assert driver.incidents[0].value == 27


def test_what_closed_last_is_judged_when_the_horizon_reaches_its_end() -> None:
    driver = Driver(early_rule(lateness=5))
    driver.send(3, 9, at=4)
    assert driver.incidents[0].detected_us == us(4)
    assert driver.engine.next_wake_us() == us(16)  # 3 + (now - 4) - 5 = 10
    driver.tick(25.9)
    assert driver.edges == [(3, 3, None, None)]
    driver.tick(26)
    assert driver.edges == [(3, 3, 20, NO_DATA)]


def test_before_a_window_has_closed_an_idle_group_has_no_data() -> None:
    driver = Driver(early_rule())
    driver.send(10, 0)
    assert driver.engine.group_states("r", us(12)) == {GroupState.NO_DATA: 1}
    assert driver.engine.group_states("r", us(20) + 1) == {GroupState.OK: 1}
    assert driver.engine.group_states("r", us(30) + 1) == {GroupState.NO_DATA: 1}


# ---- hopping windows


def test_of_several_open_windows_the_latched_one_that_ends_first_is_shown() -> None:
    driver = Driver(early_count(window=30, bucket=10))
    driver.send(5)
    driver.send(25)
    # [0, 30) holds both; [10, 40) and [20, 50) only the second
    assert driver.edges == [(25, 25, None, None)]
    assert window_of(driver) == (0, 30)
    driver.tick(39)
    assert driver.edges == [(25, 25, None, None)]
    driver.tick(40)
    assert driver.edges == [(25, 25, 40, RECOVERED)]


def test_a_window_that_is_latched_later_prolongs_what_an_earlier_one_began() -> None:
    driver = Driver(early_count(window=30, bucket=10))
    for time in (5, 25, 35):
        driver.send(time)
    driver.tick(100)
    # [20, 50) is latched by 35, and says so until [30, 60) closes
    assert driver.edges == [(25, 25, 60, RECOVERED)]


def test_a_window_that_ends_first_is_passed_over_if_only_a_later_one_is_latched() -> None:
    driver = Driver(early_rule(window=20, bucket=10))
    driver.send(5, 0)
    driver.send(12, 8)  # [0, 20) comes to 4, [10, 30) to 8
    assert driver.incidents[0].value == 8
    assert window_of(driver) == (10, 30)
    driver.tick(20)
    driver.send(21, 0)
    driver.tick(30)
    assert driver.edges == [(12, 12, 30, RECOVERED)]


def test_the_peak_is_the_worst_of_all_latched_windows() -> None:
    driver = Driver(early_rule(window=20, bucket=10))
    driver.send(5, 6)
    driver.send(12, 20)  # [0, 20) comes to 13, [10, 30) to 20
    assert driver.incidents[0].value == 6
    assert driver.incidents[0].peak_value == 20


def test_windows_that_hold_the_same_events_are_counted_as_one() -> None:
    condition = Condition(early_count(window=100, bucket=1))
    window = EarlyWindow(condition, Count)
    for time in (5, 5.5, 73, 74):
        window.put(us(time), 1.0)
        window.move_to(us(time))
    assert [cohort.count for cohort in window._cohorts] == [4, 2, 1]
    window.move_to(us(104.9))
    assert len(window._cohorts) == 3
    window.move_to(us(105))
    assert len(window._cohorts) == 2


# ---- durations and hysteresis


def test_for_is_served_by_an_open_window_whatever_it_comes_to_meanwhile() -> None:
    driver = Driver(early_rule(for_=4))
    driver.send(1, 8)
    driver.send(3, 0)
    driver.tick(4.9)
    assert driver.kinds == [(TransitionKind.PENDING, 1)]
    driver.tick(5)
    assert driver.edges == [(1, 5, None, None)]
    assert (driver.incidents[0].value, driver.incidents[0].peak_value) == (4, 8)


def test_for_is_not_served_if_the_closed_window_ends_it_before() -> None:
    driver = Driver(early_rule(for_=4))
    driver.send(7, 8)
    driver.send(8, 0)
    driver.tick(50)
    assert driver.kinds == [(TransitionKind.PENDING, 7), (TransitionKind.CLEARED, 10)]


def test_for_may_be_served_by_a_window_that_closed_meanwhile() -> None:
    driver = Driver(early_rule(for_=4))
    driver.send(7, 8)
    driver.tick(11)
    assert driver.edges == [(7, 11, None, None)]
    assert window_of(driver) == (0, 10)
    assert driver.incidents[0].event_time_us == us(7)


def test_keep_firing_outlasts_a_pause_between_two_windows() -> None:
    driver = Driver(early_rule(keep=5))
    driver.send(1, 8)
    driver.send(2, 0)
    driver.send(14, 8)
    driver.send(15, 0)
    driver.tick(24.9)
    assert driver.edges == [(1, 1, None, None)]
    driver.tick(25)
    assert driver.edges == [(1, 1, 20, RECOVERED)]


def test_a_closed_window_in_the_band_keeps_an_incident_open() -> None:
    driver = Driver(early_rule(resolve_threshold=3.0))
    driver.send(1, 8)
    driver.send(2, 0)  # closes with 4
    driver.send(12, 4)  # closes with 4: that alone would not fire
    driver.send(22, 1)
    driver.tick(29)
    assert driver.edges == [(1, 1, None, None)]
    driver.tick(30)
    assert driver.edges == [(1, 1, 30, RECOVERED)]


# ---- late events


def test_a_late_event_fires_where_it_belongs() -> None:
    driver = Driver(early_rule(aggregate="max", lateness=5))
    driver.send(4, 1)
    driver.send(3, 9, at=5)
    assert driver.edges == [(3, 3, None, None)]
    incident = driver.incidents[0]
    assert (incident.detected_by, incident.late_by_us) == (DetectedBy.LATE, us(1))
    assert (window_of(driver), incident.event_time_us) == ((0, 10), us(3))


def test_a_late_event_of_a_closed_window_makes_an_incident_that_is_over() -> None:
    driver = Driver(early_rule(aggregate="max", lateness=20))
    driver.send(4, 1)
    driver.send(25, 1)
    driver.send(8, 9, at=25)
    assert driver.edges == [(8, 8, 20, NO_DATA)]
    assert [kind for kind, _ in driver.kinds] == [TransitionKind.FIRING, TransitionKind.RESOLVED]


def test_a_late_event_that_takes_the_breach_back_ends_what_was_told() -> None:
    driver = Driver(early_rule(lateness=5))
    driver.send(2, 8)
    driver.send(1, 0, at=2)
    assert driver.edges == [(2, 2, 2, NO_DATA)]  # no window has closed yet
    driver.send(3, 8)
    assert driver.edges[1:] == [(3, 3, None, None)]


def test_a_late_event_can_move_the_latch_of_an_open_window_to_later() -> None:
    driver = Driver(early_rule(lateness=5))
    driver.send(2, 8)
    driver.send(3, 8)
    driver.send(1, 0, at=3)  # now 4 at 2, and 5.33 at 3
    assert driver.edges == [(2, 2, None, None)]
    driver.tick(20)
    assert driver.edges == [(2, 2, None, None)]
    assert driver.engine.overdue_events == 0


def test_an_event_behind_the_lateness_is_overdue_but_counts_for_the_present() -> None:
    driver = Driver(early_rule(aggregate="max", lateness=2))
    driver.send(8, 1)
    driver.send(1, 9, at=8)
    assert driver.engine.overdue_events == 1
    assert driver.edges == [(8, 8, None, None)]
    assert driver.engine.overdue()[0].from_us == 0


def test_a_late_event_changes_what_a_closed_window_says_until_the_next_one_closes() -> None:
    driver = Driver(early_rule(aggregate="sum", lateness=30))
    driver.send(4, 1)
    driver.send(25, 1)
    driver.send(8, 9, at=25)
    assert driver.edges == [(8, 8, 20, NO_DATA)]


def test_a_late_event_leaves_alone_what_the_first_instant_of_a_closed_window_did() -> None:
    driver = Driver(early_rule(aggregate="sum", lateness=30))
    driver.send(0, 9)
    driver.send(15, 0)
    driver.send(12, 0, at=15)
    assert driver.edges == [(0, 0, None, None)]


def test_an_instant_that_goes_on_in_a_later_step_is_judged_again() -> None:
    driver = Driver(early_rule())
    driver.send(1, 8)
    driver.send(1, 0)
    driver.tick(5)
    assert driver.edges == [(1, 1, 1, NO_DATA)]


def test_a_late_event_that_is_the_newest_belongs_to_its_own_bucket_all_the_same() -> None:
    driver = Driver(early_rule(lateness=5))
    driver.send(4, 8)
    driver.tick(17)  # [0, 10) has closed
    driver.send(8, 99, at=17.1)
    driver.tick(100)
    assert driver.edges == [(4, 4, 20, NO_DATA)]


def test_a_late_event_in_a_bucket_that_was_passed_over_in_silence_opens_its_windows() -> None:
    driver = Driver(early_rule(aggregate="sum", lateness=5))
    driver.send(1, 0)
    driver.tick(40)
    driver.send(32, 9, at=40.1)
    assert window_of(driver) == (30, 40)
    driver.tick(100)
    assert driver.edges == [(32, 32, 50, NO_DATA)]


def test_a_late_event_before_all_windows_is_kept_in_order_and_moves_none() -> None:
    driver = Driver(early_rule(aggregate="delta", lateness=30))
    for time in (7, 12, 25):
        driver.send(time, 0)
    driver.send(6, -9, at=25)
    assert driver.edges == [(7, 7, 20, RECOVERED)]
    driver = Driver(early_rule(aggregate="delta", lateness=30))
    driver.send(25, 0)
    driver.send(8, -9, at=25)
    driver.send(26, 1)
    assert driver.edges == []


def test_an_overdue_event_still_counts_in_the_window_that_closed_last() -> None:
    driver = Driver(early_rule(min_samples=2, lateness=3))
    driver.send(1, 9)
    driver.send(15, 0)
    driver.send(2, 4, at=15)
    assert driver.engine.overdue_events == 1
    assert driver.edges == [(15, 15, None, None)]
    assert window_of(driver) == (0, 10)


def test_what_closed_last_is_kept_for_as_long_as_late_events_may_ask_for_it() -> None:
    driver = Driver(early_rule(aggregate="sum", lateness=9))
    for tenth in range(100):
        driver.send(tenth / 10, -1 if tenth < 50 else 1)
    driver.send(21, 0)
    driver.send(13, 0, at=21)  # at 13, [0, 10) is what closed last, and comes to 0
    assert driver.edges == []


# ---- edits of the rule


def test_an_edited_threshold_is_held_against_all_that_an_open_window_has_been() -> None:
    driver = Driver(early_rule(threshold=9.0))
    driver.send(1, 8)
    driver.send(2, 0)
    driver.change(early_rule(threshold=5.0, version=2), at=3)
    assert [edge[0] for edge in driver.edges] == [3]
    assert window_of(driver) == (0, 10)
    driver.change(early_rule(threshold=9.0, version=3), at=5)
    assert driver.edges[0][2:] == (5, EndReason.RULE_CHANGED)


def test_an_edit_of_when_windows_are_judged_starts_anew() -> None:
    driver = Driver(early_rule())
    driver.send(1, 8)
    driver.change(early_rule(evaluate=Evaluate.ON_CLOSE, version=2), at=2)
    assert driver.edges == [(1, 1, 2, EndReason.RULE_CHANGED)]
    driver.send(3, 8)
    assert len(driver.edges) == 1
    driver.tick(10)
    assert driver.edges[1:] == [(10, 10, None, None)]


# ---- what it costs


def test_a_year_of_silence_is_judged_once() -> None:
    year_s = 366 * 86_400
    driver = Driver(early_rule(window=1, threshold=-1.0))
    driver.send(0)
    with patch.object(
        ContinuousGroup, "_step_to", autospec=True, side_effect=ContinuousGroup._step_to
    ) as steps:
        driver.send(year_s)
        driver.tick(2 * year_s)
    assert steps.call_count < 10
    assert [edge[2:] for edge in driver.edges] == [(2, NO_DATA), (year_s + 2, NO_DATA)]


def test_a_quiet_group_sleeps_and_wakes_at_a_loud_event() -> None:
    driver = Driver(early_rule(window=10))
    with patch.object(EarlyWindow, "look", autospec=True, side_effect=EarlyWindow.look) as looks:
        for time in range(1, 1000):
            driver.send(time, 1)
    assert looks.call_count < 10
    driver.send(1000, 999)
    assert driver.edges == [(1000, 1000, None, None)]
    driver.send(1001, 0)
    driver.tick(1010)
    assert driver.edges == [(1000, 1000, None, None)]
    driver.tick(1020)
    assert driver.edges == [(1000, 1000, 1020, NO_DATA)]


def test_events_that_no_window_and_no_late_event_asks_for_are_forgotten() -> None:
    for threshold in (1e9, -1.0):  # asleep, and firing
        driver = Driver(early_rule(window=20, bucket=10, lateness=5, threshold=threshold))
        for time in range(1, 2000):
            driver.send(time, 1)
        groups = driver.engine._router.get("r")
        assert groups is not None
        group = groups.by_labels[()]
        assert isinstance(group, ContinuousGroup)
        assert len(group._window.times) < 64 + 2 * (20 + 10 + 5)


def test_an_open_window_in_breach_fires_when_the_rule_is_made() -> None:
    driver = Driver()
    driver.warm_start(early_count(), (91, 1), (92, 1), at=95)
    assert driver.edges == [(92, 92, None, None)]
    assert driver.incidents[0].detected_by is DetectedBy.BACKFILL
    assert window_of(driver) == (90, 100)
    driver.tick(110)
    assert driver.edges == [(92, 92, 110, RECOVERED)], "[90, 100) holds two, [100, 110) none"


def test_a_rule_that_is_made_late_judges_the_window_that_had_closed_by_all_its_events() -> None:
    driver = Driver()
    driver.warm_start(early_rule(), (81, -9), (88, 9), (98, 9), at=107)
    assert driver.edges == [(98, 98, None, None)], "[80, 90) comes to 0, not to 9"


def test_a_rule_over_what_is_long_past_asks_for_nothing_that_is_over() -> None:
    driver = Driver()
    rule = early_rule(bucket=2, window=10)
    driver.start_from(rule, 100, {(): [(81, 1, 95)]})
    wake_us = driver.engine.next_wake_us()
    assert wake_us is not None
    assert wake_us > us(100)
    driver.send(89.5, 9, at=101)
    assert driver.edges == [(89.5, 89.5, None, None)]


def test_a_sleeper_that_starts_warm_asks_for_nothing_but_its_end() -> None:
    driver = Driver()
    driver.start_from(early_rule(group_ttl_us=us(60)), 102, {(): [(99, 1, 100)]})
    assert driver.engine.next_wake_us() == us(160)
