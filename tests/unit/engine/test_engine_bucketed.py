from __future__ import annotations

from unittest.mock import patch

import pytest

from alertd.engine.bucketed import BucketedGroup
from alertd.model import EndReason, Operator, TransitionKind
from tests.unit.engine.engine_driver import Driver, bucket_rule, us

RECOVERED, NO_DATA = EndReason.RECOVERED, EndReason.NO_DATA


def test_buckets_are_aligned_to_the_epoch_and_closed_on_the_left() -> None:
    driver = Driver(bucket_rule(min_samples=1))
    driver.send(19.999999)
    driver.tick(20)
    assert driver.edges == [(20, 20, None, None)]
    incident = driver.incidents[0]
    assert (incident.window_start_us, incident.window_end_us) == (us(10), us(20))
    driver.send(30, at=30)
    driver.tick(40)
    assert driver.edges == [(20, 20, 30, NO_DATA), (40, 40, None, None)]


def test_buckets_before_the_epoch_are_aligned_too() -> None:
    driver = Driver(bucket_rule())
    driver.send(-0.5, at=0)
    driver.tick(0.4)
    assert driver.edges == []
    driver.tick(0.5)
    assert driver.edges == [(0, 0, None, None)]


def test_a_window_is_judged_when_the_horizon_reaches_its_end_and_not_before() -> None:
    driver = Driver(bucket_rule(lateness=5))
    driver.send(3, at=4)
    assert driver.engine.next_wake_us() == us(16)  # 3 + (now - 4) - 5 = 10
    driver.tick(15.9)
    assert driver.edges == []
    driver.tick(16)
    assert driver.edges == [(0 + 10, 10, None, None)]
    assert driver.incidents[0].detected_us == us(16) + 1


def test_a_newer_event_closes_a_window_once_it_is_the_lateness_past_its_end() -> None:
    driver = Driver(bucket_rule(lateness=5))
    driver.send(3)
    driver.send(14.9)
    assert driver.edges == []
    driver.send(15)
    assert driver.edges == [(10, 10, None, None)]


def test_events_of_an_open_window_may_come_in_any_order() -> None:
    driver = Driver(bucket_rule(aggregate="first", min_samples=1, threshold=5.0, lateness=5))
    driver.send(8, 1)
    driver.send(2, 9, at=8)
    driver.send(14, 1)
    driver.tick(15)
    assert driver.incidents[0].value == 9
    assert driver.engine.overdue_events == 0


def test_an_event_of_a_judged_window_is_overdue() -> None:
    driver = Driver(bucket_rule())
    driver.send(3)
    driver.send(12)
    driver.send(9, at=12)
    assert driver.engine.overdue_events == 1


def test_a_hopping_window_covers_its_length_and_is_judged_every_bucket() -> None:
    driver = Driver(bucket_rule(window=30, bucket=10, threshold=1.0))
    driver.send(5)
    driver.send(25)
    driver.tick(100)
    # [0, 30) holds both; [10, 40) and [20, 50) only the second
    assert driver.edges == [(30, 30, 40, RECOVERED)]


def test_an_event_late_for_some_hopping_windows_counts_in_the_others() -> None:
    driver = Driver(bucket_rule(window=30, bucket=10, threshold=1.0))
    driver.send(5)
    driver.send(12)  # closes [-20, 10)
    driver.send(6, at=12)
    assert driver.engine.overdue_events == 1
    driver.tick(20)
    assert driver.edges == [(20, 20, 40, RECOVERED)] or driver.edges == [(20, 20, None, None)]
    assert driver.incidents[0].value == 3


def test_the_condition_holds_between_two_judgements() -> None:
    driver = Driver(bucket_rule(for_=7, lateness=0))
    driver.send(5)
    driver.tick(16.9)
    assert driver.kinds == [(TransitionKind.PENDING, 10)]
    driver.tick(17)
    assert driver.edges == [(10, 17, None, None)]
    assert driver.incidents[0].window_end_us == us(10)
    driver.tick(20)
    assert driver.edges == [(10, 17, 20, RECOVERED)]


def test_the_window_of_a_firing_is_the_last_one_judged_even_among_empty_ones() -> None:
    driver = Driver(bucket_rule(operator=Operator.LT, threshold=1.0, for_=25), at=0)
    driver.tick(1000)
    incident = driver.incidents[0]
    assert driver.edges == [(10, 35, None, None)]
    assert (incident.window_start_us, incident.window_end_us) == (us(20), us(30))


def test_a_dead_mans_switch_is_first_judged_on_a_window_that_it_watched_in_full() -> None:
    driver = Driver(bucket_rule(operator=Operator.LT, threshold=1.0), at=5)
    driver.tick(19)
    assert driver.edges == []
    driver.tick(20)
    assert driver.edges == [(20, 20, None, None)]


def test_an_event_before_the_activation_is_in_time_for_a_window_that_is_still_open() -> None:
    driver = Driver(bucket_rule(operator=Operator.LT, threshold=1.0, lateness=8), at=25)
    driver.send(3, at=26)
    assert driver.engine.overdue_events == 1
    driver.send(13, at=26)
    assert driver.engine.overdue_events == 1


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_year_of_empty_buckets_is_judged_once(threshold: float) -> None:
    year_s = 366 * 86_400
    driver = Driver(bucket_rule(window=1, min_samples=1, threshold=threshold))
    driver.send(0)
    with patch.object(
        BucketedGroup, "_next_change_us", autospec=True, side_effect=BucketedGroup._next_change_us
    ) as asked:
        driver.send(year_s)
        driver.tick(2 * year_s)
    assert asked.call_count < 20
    assert driver.edges == [
        (1, 1, 2, NO_DATA),
        (year_s + 1, year_s + 1, year_s + 2, NO_DATA),
    ]


def test_an_event_ahead_of_the_clock_does_not_hold_up_the_windows_before_it() -> None:
    driver = Driver(bucket_rule(lateness=2))
    driver.send(45, at=5)
    driver.send(6, at=6)
    driver.send(8, at=8)
    driver.tick(12)
    assert driver.edges == [(10, 10, None, None)]
    driver.tick(22)
    driver.tick(52)
    assert driver.edges == [(10, 10, 20, RECOVERED), (50, 50, None, None)]


def test_an_event_ahead_of_the_clock_is_not_the_first_of_its_group_if_another_comes_before() -> (
    None
):
    rule = bucket_rule(operator=Operator.LT, threshold=1.0, group_by=("host",))
    driver = Driver(rule)
    driver.send(55, at=5, host="a")
    driver.send(6, at=6, host="a")
    driver.tick(30)
    assert driver.edges == [(20, 20, None, None)]


def test_an_event_whose_window_closed_at_once_does_not_hide_the_next_one() -> None:
    driver = Driver(bucket_rule(window=10, bucket=10, threshold=0.0))
    driver.send(5)
    driver.send(25, at=40)  # its window is closed by the clock as soon as it comes
    driver.send(42, at=42)
    driver.tick(100)
    assert [edge[0] for edge in driver.edges] == [10, 30, 50]


def test_a_late_event_that_makes_the_group_older_ends_its_warm_up_earlier() -> None:
    rule = bucket_rule(operator=Operator.LT, threshold=5.0, group_by=("host",), lateness=50)
    driver = Driver(rule)
    driver.send(12, host="a")
    driver.send(80, host="a")
    assert driver.edges == [(30, 30, None, None)]  # it had been warm since 22
    driver.send(2, host="a", at=80)
    assert driver.edges == [(20, 30, None, None)]  # since 12, and its own window ends at 10
