from __future__ import annotations

import pytest

from alertd.engine.aggregates import aggregate_factory
from alertd.engine.window import NEVER_US, Window


def window_of(*times: int, span_us: int = 10) -> Window:
    window = Window(span_us, aggregate_factory("sum", span_us))
    for time in times:
        window.put(time, float(time))
    return window


def inside(window: Window) -> list[int]:
    return list(window.times[window.low : window.high])


def test_the_window_is_open_on_the_left_and_closed_on_the_right() -> None:
    window = window_of(0, 1, 10)
    window.move_to(9)
    assert inside(window) == [0, 1]
    window.move_to(10)
    assert inside(window) == [1, 10]


def test_put_keeps_the_events_that_wait_in_order_and_ties_by_arrival() -> None:
    window = window_of(5)
    window.move_to(5)
    for time, value in ((30, 1.0), (20, 2.0), (30, 3.0), (20, 4.0)):
        window.put(time, value)
    assert list(window.times) == [5, 20, 20, 30, 30]
    assert list(window.values) == [5.0, 2.0, 4.0, 1.0, 3.0]


def test_next_change_is_the_next_entry_or_leaving() -> None:
    window = window_of(3, 8)
    assert window.next_change_us() == 3
    window.move_to(3)
    assert window.next_change_us() == 8
    window.move_to(8)
    assert window.next_change_us() == 13
    window.move_to(18)
    assert window.next_change_us() == NEVER_US


def test_a_slide_past_an_event_never_counts_it() -> None:
    window = window_of(1, 2, 100)
    assert window.move_to(100)
    assert inside(window) == [100]
    assert window.aggregate.value(window) == 100.0


def test_put_before_leaves_what_is_inside_alone() -> None:
    window = window_of(1, 20)
    window.move_to(25)
    window.put_before(5, 5.0)
    assert (list(window.times), inside(window)) == ([1, 5, 20], [20])


def test_forgetting_never_drops_what_is_inside_or_newer_than_asked_for() -> None:
    window = window_of(*range(100))
    window.move_to(80)
    window.forget_until(40)
    assert window.times[0] == 41
    assert inside(window) == list(range(71, 81))
    assert window.aggregate.value(window) == sum(range(71, 81))
    window.forget_until(1000)
    assert inside(window) == list(range(71, 81))


@pytest.mark.parametrize("kept", [0, 10, 1000])
def test_forgetting_moves_the_columns_seldom_and_keeps_a_third_too_much_at_most(kept: int) -> None:
    window = window_of()
    for time in range(10_000):
        window.put(time, 0.0)
        window.move_to(time)
        before = len(window.times)
        window.forget_until(time - 10 - kept)
        dropped = before - len(window.times)
        assert dropped == 0 or 4 * dropped >= before
        assert len(window.times) <= 43 + (10 + kept) * 4 / 3


def test_questions_about_times_are_answered_whether_reached_or_not() -> None:
    window = window_of(3, 8, 8, 20)
    window.move_to(8)
    assert [window.last_until(time) for time in (2, 3, 19, 20, 99)] == [None, 3, 8, 20, 20]
    assert window.first_after(8) == 20
    assert window.count_between(3, 8) == 2
    assert window_of().last_until(5) is None


def test_a_dump_loads_into_an_equal_window() -> None:
    window = window_of(1, 5, 9, 30)
    window.move_to(12)
    copy = window_of()
    copy.load(window.dump(), 12)
    assert copy.dump() == window.dump()
    assert inside(copy) == inside(window) == [5, 9]
    assert copy.aggregate.value(copy) == window.aggregate.value(window) == 14.0


@pytest.mark.parametrize("garbage", [(b"\0" * 8, b""), (b"", b"\0" * 8), (b"\0" * 7, b"\0" * 7)])
def test_a_dump_that_does_not_fit_together_is_refused(garbage: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"differ in length|not a multiple"):
        window_of().load(garbage, 0)
