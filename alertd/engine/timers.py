"""When a quiet group has to be looked at again.

Owns groups by the wall time that they ask for. A group asks to be woken no later than some time and
may be woken early: whoever wakes it has it judge what has come due, and ask again. So a group that
is busy costs nothing here, and a tick costs O(log n) for each time that is due and O(1) for each
group. One that falls asleep has what it asked for put off, lest it is woken for nothing.

Invariant: each group has at most one entry that counts, the one at its ``wake_us``; those at one
time are woken in the order of their ``ticket``. Both are part of a snapshot, so a restart changes
neither who is woken when, nor in which order. Of the entries kept, no more than half are replaced
ones, but for a few.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Final, Generic, Protocol, TypeVar

from alertd.engine.window import NEVER_US

_SWEEP_AT_LEAST: Final = 64
_in_order = attrgetter("ticket")


class Sleeper(Protocol):
    """Whatever can be woken."""

    wake_us: int
    """The wall time of its entry that counts; ``NEVER_US`` if it has none."""
    ticket: int
    """The number of its entry that counts."""


SleeperT = TypeVar("SleeperT", bound=Sleeper)


class Timers(Generic[SleeperT]):
    """Groups by the wall time at which they must be looked at.

    8 bytes a group, and some 170 for each time that is asked for: the groups of a batch share it.
    """

    __slots__ = ("_counting", "_due", "_kept", "_sleepers", "_times", "last_ticket")

    def __init__(self) -> None:
        self._sleepers: dict[int, list[SleeperT]] = {}  # by the time that they asked for
        self._times: list[int] = []  # the same times, as a heap
        self._due: deque[SleeperT] = deque()  # who was due at the last time that was taken
        self._kept = 0  # entries
        self._counting = 0  # entries that count
        self.last_ticket = 0
        """The greatest ticket handed out. It orders those who are woken at one time."""

    def __len__(self) -> int:
        """Return how many entries are kept, replaced ones included."""
        return self._kept

    def ask(self, sleeper: SleeperT, wake_us: int) -> None:
        """Have ``sleeper`` woken no later than ``wake_us``. O(log n) if that is news."""
        if wake_us < sleeper.wake_us:
            self._give(sleeper, wake_us)

    def put_off(self, sleeper: SleeperT, wake_us: int) -> None:
        """Have ``sleeper`` not woken before ``wake_us``, though it has asked. O(log n)."""
        if sleeper.wake_us < wake_us:
            self._give(sleeper, wake_us)

    def _give(self, sleeper: SleeperT, wake_us: int) -> None:
        self.last_ticket += 1
        self.restore(sleeper, wake_us, self.last_ticket)

    def restore(self, sleeper: SleeperT, wake_us: int, ticket: int) -> None:
        """Give ``sleeper`` the entry it had in a snapshot, in place of any other."""
        self.cancel(sleeper)
        if wake_us == NEVER_US:
            return
        self._counting += 1
        self._kept += 1
        sleepers = self._sleepers.get(wake_us)
        if sleepers is None:
            self._sleepers[wake_us] = [sleeper]
            heapq.heappush(self._times, wake_us)
        else:
            if sleepers[-1].wake_us == wake_us:
                wake_us = sleepers[-1].wake_us  # the same object: one for all of a million
            sleepers.append(sleeper)
        sleeper.wake_us, sleeper.ticket = wake_us, ticket
        if self._kept > 2 * self._counting + _SWEEP_AT_LEAST:
            self._sweep()

    def cancel(self, sleeper: SleeperT) -> None:
        """Never wake ``sleeper`` again."""
        if sleeper.wake_us != NEVER_US:
            self._counting -= 1
        sleeper.wake_us, sleeper.ticket = NEVER_US, 0

    def next_us(self) -> int | None:
        """Return the wall time of the next waking, or None. It may turn out to be a false alarm."""
        while self._times:
            wake_us = self._times[0]
            sleepers = self._sleepers[wake_us]
            while sleepers and sleepers[-1].wake_us != wake_us:
                sleepers.pop()
                self._kept -= 1
            if sleepers:
                return wake_us
            self._take_first()
        return None

    def take_due(self, now_us: int, at_most: int) -> list[SleeperT]:
        """Return who is to be woken by ``now_us``, in order. Whoever wakes one cancels it."""
        due: list[SleeperT] = []
        while len(due) < at_most and self._has_due(now_us):
            sleeper = self._due.popleft()
            if sleeper.wake_us <= now_us:
                due.append(sleeper)
        return due

    def _has_due(self, now_us: int) -> bool:
        """Return whether anybody is left who was due; see before who else is due by ``now_us``."""
        if not self._due:
            due_us = self.next_us()
            if due_us is not None and due_us <= now_us:
                self._due.extend(sorted(_counting(self._take_first(), due_us), key=_in_order))
        return bool(self._due)

    def _take_first(self) -> list[SleeperT]:
        """Take out, and return, the entries at the earliest time."""
        sleepers = self._sleepers.pop(heapq.heappop(self._times))
        self._kept -= len(sleepers)
        return sleepers

    def _sweep(self) -> None:
        """Drop replaced entries: those for a time far away would stay for long. Amortised O(1)."""
        swept: dict[int, list[SleeperT]] = {}
        for wake_us, sleepers in self._sleepers.items():
            if counting := _counting(sleepers, wake_us):
                swept[wake_us] = counting
        self._sleepers = swept
        self._times = list(self._sleepers)
        heapq.heapify(self._times)
        self._kept = sum(map(len, self._sleepers.values()))


def _counting(sleepers: Iterable[SleeperT], wake_us: int) -> list[SleeperT]:
    """Return those who are still to be woken then, each once though it may have asked twice."""
    counting = [sleeper for sleeper in sleepers if sleeper.wake_us == wake_us]
    return list(dict.fromkeys(counting)) if len(counting) > 1 else counting
