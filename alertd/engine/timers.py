"""When a quiet group has to be looked at again.

Owns a heap of (wall time, group). A group asks to be woken no later than some time and may be
woken early: on waking it looks at the clock, judges what has come due, and asks again. So a
group that is busy costs nothing here, and a tick costs O(log n) for each group that is due.

Invariant: each group has at most one entry that counts, the one with its ``wake_us`` and
``ticket``. Both are part of a snapshot, so a restart changes neither who is woken when, nor in
which order.
"""

from __future__ import annotations

import heapq
from typing import Protocol

from alertd.engine.window import NEVER_US


class Sleeper(Protocol):
    """Whatever can be woken."""

    wake_us: int
    """The wall time of its entry that counts; ``NEVER_US`` if it has none."""
    ticket: int
    """The number of its entry that counts."""

    def advance(self, now_us: int) -> None:
        """Judge what has come due by ``now_us``, and ask to be woken again if need be."""
        ...


class Timers:
    """Groups by the wall time at which they must be looked at."""

    __slots__ = ("_entries", "last_ticket")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Sleeper]] = []
        self.last_ticket = 0
        """The greatest ticket handed out. It breaks ties, so that sleepers are never compared."""

    def ask(self, sleeper: Sleeper, wake_us: int) -> None:
        """Have ``sleeper`` woken no later than ``wake_us``. O(log n) if that is news."""
        if wake_us < sleeper.wake_us:
            self.last_ticket += 1
            self.restore(sleeper, wake_us, self.last_ticket)

    def restore(self, sleeper: Sleeper, wake_us: int, ticket: int) -> None:
        """Give ``sleeper`` the entry it had in a snapshot, in place of any other."""
        sleeper.wake_us, sleeper.ticket = wake_us, ticket
        if wake_us != NEVER_US:
            heapq.heappush(self._entries, (wake_us, ticket, sleeper))

    def cancel(self, sleeper: Sleeper) -> None:
        """Never wake ``sleeper`` again."""
        sleeper.wake_us, sleeper.ticket = NEVER_US, 0

    def next_us(self) -> int | None:
        """Return the wall time of the next waking, or None. It may turn out to be a false alarm."""
        entries = self._entries
        while entries:
            wake_us, ticket, sleeper = entries[0]
            if wake_us == sleeper.wake_us and ticket == sleeper.ticket:
                return wake_us
            heapq.heappop(entries)
        return None

    def wake(self, now_us: int) -> None:
        """Wake every group that is due."""
        while (due_us := self.next_us()) is not None and due_us <= now_us:
            sleeper = heapq.heappop(self._entries)[2]
            sleeper.wake_us = NEVER_US
            sleeper.advance(now_us)
