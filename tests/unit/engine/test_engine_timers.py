from __future__ import annotations

import random

import pytest

from alertd.engine.timers import Timers
from alertd.engine.window import NEVER_US


class Waker:
    """Whoever asks, and what it will ask for when it is woken."""

    def __init__(self, timers: Timers[Waker], name: str) -> None:
        self.timers, self.name = timers, name
        self.wake_us = NEVER_US
        self.ticket = 0
        self.then: list[int] = []


def wakers(*names: str) -> tuple[Timers[Waker], list[Waker]]:
    timers = Timers[Waker]()
    return timers, [Waker(timers, name) for name in names]


def woken(timers: Timers[Waker], now_us: int, *, at_most: int = 1) -> list[str]:
    """Wake everyone who is due, and let each ask again."""
    names = []
    while due := timers.take_due(now_us, at_most):
        for waker in due:
            timers.cancel(waker)
            names.append(waker.name)
            if waker.then:
                timers.ask(waker, waker.then.pop(0))
    return names


def test_groups_are_woken_in_order_of_time_and_those_due_together_in_the_order_they_asked() -> None:
    timers, (a, b, c) = wakers("a", "b", "c")
    timers.ask(c, 5)
    timers.ask(b, 7)
    timers.ask(a, 5)
    assert woken(timers, 4) == []
    assert woken(timers, 7) == ["c", "a", "b"]
    assert timers.next_us() is None


def test_those_who_are_taken_together_are_woken_in_the_same_order() -> None:
    timers, (a, b, c) = wakers("a", "b", "c")
    for waker, wake_us in ((b, 2), (a, 2), (c, 1), (a, 3)):
        timers.ask(waker, wake_us)
    b.then = [2]
    assert woken(timers, 2, at_most=9) == ["c", "b", "a", "b"]


def test_who_is_given_what_it_asked_for_from_a_snapshot_is_woken_once() -> None:
    timers, (a,) = wakers("a")
    timers.ask(a, 5)
    timers.restore(a, 5, a.ticket)
    assert woken(timers, 5, at_most=9) == ["a"]


def test_an_earlier_request_replaces_a_later_one_and_a_later_one_is_ignored() -> None:
    timers, (a,) = wakers("a")
    timers.ask(a, 10)
    timers.ask(a, 3)
    timers.ask(a, 8)
    assert timers.next_us() == 3
    assert woken(timers, 100) == ["a"]


def test_whoever_asks_again_while_it_is_woken_is_woken_again_if_it_is_due() -> None:
    timers, (a,) = wakers("a")
    a.then = [6, 60]
    timers.ask(a, 5)
    assert woken(timers, 10) == ["a", "a"]
    assert timers.next_us() == 60


def test_a_replaced_entry_does_not_come_back_to_life_when_the_same_time_is_asked_again() -> None:
    timers, (a, b) = wakers("a", "b")
    a.then = [10]
    timers.ask(a, 10)
    timers.ask(a, 5)
    timers.ask(b, 10)
    assert woken(timers, 5) == ["a"]
    assert woken(timers, 10) == ["b", "a"]


def test_what_was_asked_for_can_be_put_off_and_asked_for_again() -> None:
    timers, (a, b) = wakers("a", "b")
    timers.ask(a, 5)
    timers.ask(b, 6)
    timers.put_off(a, 9)
    timers.put_off(b, 4)
    timers.put_off(b, 6)
    assert woken(timers, 8) == ["b"]
    timers.ask(a, 7)
    assert woken(timers, 8) == ["a"]
    assert woken(timers, 9) == []


def test_a_cancelled_sleeper_is_not_woken() -> None:
    timers, (a,) = wakers("a")
    timers.ask(a, 5)
    timers.cancel(a)
    assert timers.next_us() is None
    assert woken(timers, 9) == []


def test_restored_entries_are_woken_in_the_order_of_their_tickets() -> None:
    timers, (a, b) = wakers("a", "b")
    timers.ask(a, 1)  # as a group does that is made before its state is loaded
    timers.restore(a, 5, 9)
    timers.restore(b, 5, 4)
    assert woken(timers, 1) == []
    assert woken(timers, 5) == ["b", "a"]


def test_entries_that_were_replaced_do_not_pile_up_however_far_away_their_time_is() -> None:
    timers, sleepers = wakers(*map(str, range(100)))
    for now_us in range(0, 10_000, 10):
        for sleeper in sleepers:
            timers.ask(sleeper, 1 << 50)
            timers.ask(sleeper, now_us + 5)
        assert len(woken(timers, now_us + 5)) == len(sleepers)
        assert len(timers) <= 3 * len(sleepers)
    assert timers.next_us() is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_asked_everyone_is_woken_once_and_in_order(seed: int) -> None:
    """Held against a plain list: those due, by their time and then by when they asked for it."""
    source = random.Random(seed)  # noqa: S311 - the same in every run
    timers, sleepers = wakers(*map(str, range(8)))
    asked: dict[Waker, tuple[int, int]] = {}  # the time, and who asked for it before whom
    now_us = 0
    for number in range(2_000):
        sleeper, wake_us = source.choice(sleepers), now_us + source.randrange(1, 6)
        action = source.random()
        if action < 0.5:
            timers.ask(sleeper, wake_us)
            if sleeper not in asked or wake_us < asked[sleeper][0]:
                asked[sleeper] = wake_us, number
        elif action < 0.7:
            timers.put_off(sleeper, wake_us)
            if sleeper in asked and asked[sleeper][0] < wake_us:
                asked[sleeper] = wake_us, number
        elif action < 0.8:
            timers.cancel(sleeper)
            asked.pop(sleeper, None)
        else:
            now_us += source.randrange(3)
            due = [each for each in asked if asked[each][0] <= now_us]
            expected = [each.name for each in sorted(due, key=asked.__getitem__)]
            assert woken(timers, now_us, at_most=source.choice([1, 2, 9])) == expected
            for each in due:
                del asked[each]
        assert timers.next_us() == min((wake_us for wake_us, _ in asked.values()), default=None)
        assert len(timers) <= 2 * len(sleepers) + 64
