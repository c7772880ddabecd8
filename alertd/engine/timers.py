"""When a quiet group has to be looked at again.

Owns a heap of (wall time, group). A group asks to be woken no later than some time and may be
woken early: whoever wakes it has it judge what has come due, and ask again. So a group that is
busy costs nothing here, and a tick costs O(log n) for each group that is due. One that falls
asleep has what it asked for put off, lest it is woken for nothing.

Invariant: each group has at most one entry that counts, the one with its ``wake_us`` and
``ticket``. Both are part of a snapshot, so a restart changes neither who is woken when, nor in
which order. Of the entries kept, no more than half are replaced ones, but for a few.
"""

from __future__ import annotations

import heapq
from typing import Final, Generic, Protocol, TypeVar

from alertd.engine.window import NEVER_US

_SWEEP_AT_LEAST: Final = 64


class Sleeper(Protocol):
    """Whatever can be woken."""

    wake_us: int
    """The wall time of its entry that counts; ``NEVER_US`` if it has none."""
    ticket: int
    """The number of its entry that counts."""


SleeperT = TypeVar("SleeperT", bound=Sleeper)


class Timers(Generic[SleeperT]):
    """Groups by the wall time at which they must be looked at. Some 140 bytes a group."""

    __slots__ = ("_counting", "_entries", "last_ticket")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, SleeperT]] = []
        self._counting = 0  # entries that count
        self.last_ticket = 0
        """The greatest ticket handed out. It breaks ties, so that sleepers are never compared."""

    def __len__(self) -> int:
        """Return how many entries are kept, replaced ones included."""
        return len(self._entries)

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
        if (wake_us, ticket) == (sleeper.wake_us, sleeper.ticket):
            return  # two entries that count would wake it twice
        self.cancel(sleeper)
        if wake_us == NEVER_US:
            return
        sleeper.wake_us, sleeper.ticket = wake_us, ticket
        self._counting += 1
        heapq.heappush(self._entries, (wake_us, ticket, sleeper))
        if len(self._entries) > 2 * self._counting + _SWEEP_AT_LEAST:
            self._sweep()

    def cancel(self, sleeper: SleeperT) -> None:
        """Never wake ``sleeper`` again."""
        if sleeper.wake_us != NEVER_US:
            self._counting -= 1
        sleeper.wake_us, sleeper.ticket = NEVER_US, 0

    def next_us(self) -> int | None:
        """Return the wall time of the next waking, or None. It may turn out to be a false alarm."""
        entries = self._entries
        while entries:
            if _counts(entries[0]):
                return entries[0][0]
            heapq.heappop(entries)
        return None

    def take_due(self, now_us: int, at_most: int) -> list[SleeperT]:
        """Return who is to be woken by ``now_us``, in order. Whoever wakes one cancels it."""
        due: list[SleeperT] = []
        while len(due) < at_most and (due_us := self.next_us()) is not None and due_us <= now_us:
            due.append(heapq.heappop(self._entries)[2])
        return due

    def _sweep(self) -> None:
        """Drop replaced entries: those for a time far away would stay for long. Amortised O(1)."""
        self._entries = [entry for entry in self._entries if _counts(entry)]
        heapq.heapify(self._entries)


def _counts(entry: tuple[int, int, Sleeper]) -> bool:
    wake_us, ticket, sleeper = entry
    return wake_us == sleeper.wake_us and ticket == sleeper.ticket
