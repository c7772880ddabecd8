"""Worked examples of a warm start (SEMANTICS, section 7)."""

from __future__ import annotations

from array import array

import pytest

from alertd.engine.inputs import Reconsider
from alertd.engine.progress import Progress
from alertd.model import DetectedBy, EndReason, OnNoData, Operator, TransitionKind
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, make_rule, us

RECOVERED, CHANGED = EndReason.RECOVERED, EndReason.RULE_CHANGED
NO_DATA = EndReason.NO_DATA


def test_a_breach_that_holds_fires_with_its_true_start() -> None:
    driver = Driver()
    driver.warm_start(count_rule(threshold=2.0), (94, 1), (95, 1), (96, 1), (97, 1), at=100)
    assert driver.edges == [(96, 96, None, None)]
    incident = driver.incidents[0]
    assert incident.detected_by is DetectedBy.BACKFILL
    assert (incident.detected_us, incident.late_by_us) == (us(100), 0)
    assert (incident.value, incident.peak_value) == (3, 4)
    assert (incident.window_start_us, incident.window_end_us) == (us(86), us(96))
    assert incident.event_time_us == us(96)
    driver.tick(104)
    assert driver.edges == [(96, 96, None, None)]
    driver.tick(105)
    assert driver.edges == [(96, 96, 105, RECOVERED)]


def test_what_holds_for_longer_than_w_and_l_starts_where_the_look_back_does() -> None:
    driver = Driver()
    events = [(t, 1.0) for t in range(50, 100)]
    driver.warm_start(count_rule(threshold=2.0, lateness=3), *events, at=100)
    assert driver.edges == [(87, 87, None, None)]
    assert driver.incidents[0].value == 10, "the window there is complete"


def test_what_had_ended_and_what_never_held_is_not_told() -> None:
    for rule in (count_rule(threshold=1.0, lateness=20), bucket_rule(threshold=1.0, lateness=20)):
        driver = Driver()
        driver.warm_start(rule, (60, 1), (61, 1), (99, 1), at=100)
        assert driver.told == []
        driver.tick(200)
        assert driver.told == []


def test_a_bucketed_rule_fires_for_the_last_window_that_closed() -> None:
    driver = Driver()
    rule = bucket_rule(threshold=1.0, window=20, bucket=10)
    driver.warm_start(rule, (73, 1), (74, 1), (85, 1), (91, 1), at=95)
    assert driver.edges == [(80, 80, None, None)]
    assert driver.incidents[0].detected_by is DetectedBy.BACKFILL
    driver.tick(100)
    assert driver.edges == [(80, 80, None, None)], "[80, 100) holds two"
    driver.tick(110)
    assert driver.edges == [(80, 80, 110, RECOVERED)]


def test_a_window_that_is_still_open_closes_with_what_was_stored() -> None:
    driver = Driver()
    driver.warm_start(bucket_rule(threshold=2.0), (91, 1), (92, 1), at=95)
    driver.send(96)
    driver.tick(100)
    assert driver.edges == [(100, 100, None, None)]
    assert driver.incidents[0].detected_by is DetectedBy.STREAM


def test_a_condition_that_has_not_held_for_long_enough_is_pending() -> None:
    driver = Driver()
    driver.warm_start(count_rule(for_=6, lateness=0), (97, 1), (98, 1), at=100)
    assert driver.kinds == [(TransitionKind.PENDING, 97)]
    assert driver.told[0].value == 1
    driver.tick(103)
    assert driver.edges == [(97, 103, None, None)]
    assert driver.incidents[0].detected_by is DetectedBy.STREAM


def test_for_that_was_served_before_the_rule_came_has_fired_then() -> None:
    driver = Driver()
    driver.warm_start(count_rule(for_=4, lateness=5), (91, 1), (96, 1), at=100)
    assert driver.edges == [(91, 95, None, None)]
    assert [kind for kind, _ in driver.kinds] == [TransitionKind.FIRING]


def test_keep_firing_and_hysteresis_hold_what_no_longer_breaches() -> None:
    kept = Driver()
    kept.warm_start(make_rule(keep=5, lateness=5), (92, 1), (97, 0), at=100)
    assert kept.edges == [(92, 92, None, None)]
    kept.tick(107)
    assert kept.edges == [(92, 92, 97, RECOVERED)]
    held = Driver()
    held.warm_start(make_rule(threshold=5.0, resolve_threshold=2.0), (92, 6), (97, 3), at=100)
    assert held.edges == [(92, 92, None, None)]
    held.send(101, 1)
    held.send(102, 1)
    assert held.edges == [(92, 92, 101, RECOVERED)]


def test_each_group_is_judged_by_its_own_events() -> None:
    driver = Driver()
    a, b, c = ((("host", name),) for name in "abc")
    driver.start_from(
        count_rule(threshold=1.0, group_by=("host",)),
        100,
        {c: [(1, 1, 1)], b: [(95, 1, 95)], a: [(93, 1, 93), (94, 1, 94)]},
    )
    assert [incident.group for incident in driver.incidents] == [a]
    assert driver.engine.group_count() == 2, "c has no event that counts"
    driver.send(100, host="b")
    driver.send(100, host="b")
    assert [incident.group for incident in driver.incidents] == [a, b]
    assert driver.incidents[1].value == 2


def test_the_warm_up_wins_for_a_condition_that_is_true_on_empty() -> None:
    switch = count_rule(operator=Operator.LT, threshold=1.0)
    for group_by in ((), ("host",)):
        driver = Driver()
        labels = dict.fromkeys(group_by, "a")
        driver.warm_start(
            count_rule(operator=Operator.LT, threshold=1.0, group_by=group_by),
            (81, 1),
            (82, 1),
            at=100,
            **labels,
        )
        assert driver.told == []
        driver.tick(109)
        assert driver.told == []
        driver.tick(110)
        assert driver.edges == [(110, 110, None, None)]
    fed = Driver()
    fed.warm_start(switch, (95, 1), at=100)
    fed.send(103)
    fed.tick(112)
    assert fed.told == []
    fed.tick(113)
    assert fed.edges == [(113, 113, None, None)]


def test_missing_data_alerts_only_after_the_warm_up_too() -> None:
    driver = Driver()
    driver.warm_start(
        make_rule(on_no_data=OnNoData.ALERT, group_by=("host",), threshold=5.0),
        (95, 9),
        at=100,
        host="a",
    )
    driver.tick(109)
    assert driver.told == []
    driver.tick(110)
    assert driver.edges == [(110, 110, None, None)]


def test_the_clock_goes_on_from_when_the_newest_event_was_received() -> None:
    """A source that lags by 30 s is not late because a rule was made."""
    driver = Driver()
    rule = count_rule(threshold=1.0, window=60, lateness=5)
    driver.start_from(rule, 102, {(): [(70, 1, 100), (71, 1, 101)]})
    assert driver.edges == [(71, 71, None, None)]
    driver.send(72, at=103)
    assert driver.engine.overdue_events == 0
    assert [t.kind for t in driver.told] == [TransitionKind.FIRING]


def test_an_event_ahead_of_the_clock_waits() -> None:
    for rule, fires in ((count_rule(threshold=1.0), 103), (bucket_rule(threshold=1.0), 110)):
        driver = Driver()
        driver.start_from(rule, 102, {(): [(101, 1, 101), (103, 1, 101)]})
        assert driver.told == []
        driver.tick(112)
        assert driver.edges[0][0] == fires


def test_a_late_event_makes_what_was_backfilled_longer() -> None:
    driver = Driver()
    driver.warm_start(count_rule(threshold=2.0, lateness=10), (90, 1), (95, 1), (98, 1), at=100)
    assert driver.edges == [(98, 98, None, None)]
    driver.send(92, at=100)
    assert driver.edges == [(95, 98, None, None)]
    assert [t.kind for t in driver.told] == [TransitionKind.FIRING, TransitionKind.CORRECTED]


def test_a_late_event_does_not_bring_back_what_had_ended() -> None:
    rule = count_rule(threshold=1.0, window=3, lateness=20)
    driver = Driver()
    driver.warm_start(rule, (90, 1), (91, 1), (99, 1), at=100)
    driver.send(85, at=100)
    assert driver.told == []
    driver.send(92, at=100)
    assert driver.edges == [(91, 91, 94, RECOVERED)], "now it is longer: 91 to 94, not 93"
    assert driver.incidents[0].detected_by is DetectedBy.LATE
    driver.send(86, at=100)
    new = (86, 86, 88, RECOVERED)
    assert driver.edges == [(91, 91, 94, RECOVERED), new]


def test_the_reconciler_does_not_bring_back_what_had_ended() -> None:
    rule = count_rule(threshold=1.0, window=10)
    for late, edges in ((70, []), (86, [(85, 85, 95, RECOVERED)])):
        driver = Driver()
        stored = [(84.0, 1.0), (85.0, 1.0)]
        driver.warm_start(rule, *stored, at=100)
        assert driver.told == []
        driver.send(late, at=100)
        (stretch,) = driver.engine.overdue()
        assert stretch.received_from_us == us(100)
        assert us(79) < stretch.warm_after_us < us(80)
        times = sorted([*(us(t) for t, _ in stored), us(late)])
        driver.told += driver.engine.step(
            Reconsider(
                now_us=us(101),
                stretch=stretch,
                times_us=array("q", times),
                values=array("d", [1.0] * 3),
                before_times_us=array("q", [us(t) for t, _ in stored]),
                before_values=array("d", [1.0] * 2),
                told=(),
            )
        )
        assert driver.edges == edges


def test_an_edited_rule_tells_again_what_still_holds_under_another_id() -> None:
    driver = Driver()
    events = [(t, 1.0) for t in range(90, 100)]
    driver.warm_start(count_rule(threshold=2.0), *events, at=100)
    driver.warm_start(count_rule(threshold=2.0, window=9, version=2), *events, at=101)
    first, second = driver.incidents
    assert (first.end_reason, second.end_reason) == (CHANGED, None)
    assert first.started_us == second.started_us == us(92)
    assert first.id != second.id


def test_a_rule_that_is_told_nothing_stays_cold() -> None:
    driver = Driver()
    driver.change(count_rule(), at=100)
    assert [rule.id for rule in driver.engine.cold_rules()] == ["r"]
    driver.warm_start(count_rule(version=2, window=20), at=101)
    assert driver.engine.cold_rules() == []
    driver.change(count_rule(version=3, window=20, threshold=7.0), at=102)
    assert driver.engine.look_backs == (), "its windows are the same"
    assert driver.engine.cold_rules() == []


def test_a_large_group_is_judged_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many events of one instant, more than a slice, are one change point."""
    monkeypatch.setattr("alertd.engine.window_group.BACKFILL_SLICE_EVENTS", 3)
    driver = Driver()
    values = [(98.0, value) for value in (1, 9, 9, 9, 9, 9, 1)]
    driver.warm_start(make_rule(threshold=5.0), (97, 9), *values, at=100)
    assert driver.told == []
    driver.warm_start(make_rule(threshold=5.0, window=20), (97, 9), *values[:-1], at=100)
    assert driver.edges == [(97, 97, None, None)]


@pytest.mark.parametrize(
    ("arrivals", "newest", "raised", "clock"),
    [
        ([(10, 10), (12, 12)], 12, 12, 20 - 5),
        ([(10, 11), (9, 12)], 10, 11, 10 + 9 - 5),
        ([(10, 10), (10, 15)], 10, 10, 10 + 10 - 5),
        ([(10, 10), (14, 11), (12, 13)], 14, 14, 14 + 6 - 5),
        ([(10, 10), (12, 19)], 12, 19, 10 + 9 - 5),
        ([(10, 10), (30, 11)], 10, 10, 10 + 10 - 5),
    ],
)
def test_progress_is_that_of_a_group_that_was_there(
    arrivals: list[tuple[int, int]], newest: int, raised: int, clock: int
) -> None:
    progress = Progress(5)
    for time_us, received_us in arrivals:
        progress.see(time_us, received_us)
    progress.close(20)
    assert (progress.newest_us, progress.raised_us, progress.clock_us) == (newest, raised, clock)


def test_nobody_is_woken_for_what_the_clock_of_the_stored_events_has_passed() -> None:
    for oldest, second, third, last in ((3, 3, -3, -3), (-2, -1, -3, 2), (3, 1, 3, -3)):
        driver = Driver()
        rule = make_rule(aggregate="avg", threshold=0.0, window=5, lateness=0)
        stored = ((89.999999, oldest), (94.999999, second), (98, third), (99, last))
        driver.warm_start(rule, *stored, at=100)
        next_us = driver.engine.next_wake_us()
        assert next_us is None or next_us > us(100), "the second event has left by then"
