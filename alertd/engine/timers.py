"""When a quiet group has to be looked at again.

Owns a heap of (wall time, group). A group asks to be woken no later than some time and may be
woken early: on waking it looks at the clock, judges what has come due, and asks again. So a
group that is busy costs nothing here, and a tick costs O(log n) for each group that is due.

Invariant: each group has at most one entry that counts, the one at its ``wake_us``.
"""

from __future__ import annotations

import heapq
from typing import Protocol

from alertd.engine.window import NEVER_US


class Sleeper(Protocol):
    """Whatever can be woken."""

    wake_us: int
    """The wall time of its entry that counts; ``NEVER_US`` if it has none."""

    def advance(self, now_us: int) -> None:
        """Judge what has come due by ``now_us``, and ask to be woken again if need be."""
        ...


class Timers:
    """Groups by the wall time at which they must be looked at."""

    __slots__ = ("_entries", "_ticket")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Sleeper]] = []
        self._ticket = 0  # breaks ties, so that sleepers are never compared

    def ask(self, sleeper: Sleeper, wake_us: int) -> None:
        """Have ``sleeper`` woken no later than ``wake_us``. O(log n) if that is news."""
        if wake_us < sleeper.wake_us:
            sleeper.wake_us = wake_us
            self._ticket += 1
            heapq.heappush(self._entries, (wake_us, self._ticket, sleeper))

    def next_us(self) -> int | None:
        """Return the wall time of the next waking, or None. It may turn out to be a false alarm."""
        entries = self._entries
        while entries and entries[0][2].wake_us != entries[0][0]:
            heapq.heappop(entries)
        return entries[0][0] if entries else None

    def wake(self, now_us: int) -> None:
        """Wake every group that is due."""
        while (due_us := self.next_us()) is not None and due_us <= now_us:
            sleeper = heapq.heappop(self._entries)[2]
            sleeper.wake_us = NEVER_US
            sleeper.advance(now_us)
