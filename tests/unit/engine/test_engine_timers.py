from __future__ import annotations

from alertd.engine.timers import Timers
from alertd.engine.window import NEVER_US


class Waker:
    """Notes when it is woken, and asks for what it is told to ask for."""

    def __init__(self, timers: Timers, log: list[tuple[str, int]], name: str) -> None:
        self.timers, self.log, self.name = timers, log, name
        self.wake_us = NEVER_US
        self.ticket = 0
        self.then: list[int] = []

    def advance(self, now_us: int) -> None:
        self.log.append((self.name, now_us))
        if self.then:
            self.timers.ask(self, self.then.pop(0))


def wakers(*names: str) -> tuple[Timers, list[tuple[str, int]], list[Waker]]:
    timers, log = Timers(), list[tuple[str, int]]()
    return timers, log, [Waker(timers, log, name) for name in names]


def test_groups_are_woken_in_order_of_time_and_those_due_together_in_the_order_they_asked() -> None:
    timers, log, (a, b, c) = wakers("a", "b", "c")
    timers.ask(c, 5)
    timers.ask(b, 7)
    timers.ask(a, 5)
    timers.wake(4)
    assert log == []
    timers.wake(7)
    assert log == [("c", 7), ("a", 7), ("b", 7)]
    assert timers.next_us() is None


def test_an_earlier_request_replaces_a_later_one_and_a_later_one_is_ignored() -> None:
    timers, log, (a,) = wakers("a")
    timers.ask(a, 10)
    timers.ask(a, 3)
    timers.ask(a, 8)
    assert timers.next_us() == 3
    timers.wake(100)
    assert log == [("a", 100)]


def test_whoever_asks_again_while_it_is_woken_is_woken_again_if_it_is_due() -> None:
    timers, log, (a,) = wakers("a")
    a.then = [6, 60]
    timers.ask(a, 5)
    timers.wake(10)
    assert log == [("a", 10), ("a", 10)]
    assert timers.next_us() == 60


def test_a_replaced_entry_does_not_come_back_to_life_when_the_same_time_is_asked_again() -> None:
    timers, log, (a, b) = wakers("a", "b")
    a.then = [10]
    timers.ask(a, 10)
    timers.ask(a, 5)
    timers.ask(b, 10)
    timers.wake(5)
    timers.wake(10)
    assert log == [("a", 5), ("b", 10), ("a", 10)]


def test_a_cancelled_sleeper_is_not_woken() -> None:
    timers, log, (a,) = wakers("a")
    timers.ask(a, 5)
    timers.cancel(a)
    assert timers.next_us() is None
    timers.wake(9)
    assert log == []


def test_restored_entries_are_woken_in_the_order_of_their_tickets() -> None:
    timers, log, (a, b) = wakers("a", "b")
    timers.ask(a, 1)  # as a group does that is made before its state is loaded
    timers.restore(a, 5, 9)
    timers.restore(b, 5, 4)
    timers.wake(1)
    assert log == []
    timers.wake(5)
    assert log == [("b", 5), ("a", 5)]
