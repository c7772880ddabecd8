"""How far the clock of a group has come by the events that were stored (SEMANTICS, section 5).

Owns M, R and the part of the horizon that follows from the clock alone, for events that are
read in order of receipt. A live group does the same arithmetic as its events come; this is for
a group that is made after them.

Invariant: the answer is a function of the events' times and receive times. Cost: O(1) an event,
O(log n) for one that was ahead of the wall clock.
"""

from __future__ import annotations

import heapq

from alertd.engine.window import BEFORE_TIME_US


class Progress:
    """The clock of one group, while its events are told in order of receipt."""

    __slots__ = ("_ahead", "_lateness_us", "clock_us", "heard_us", "newest_us", "raised_us")

    def __init__(self, lateness_us: int) -> None:
        self._lateness_us = lateness_us
        self._ahead: list[int] = []  # times that the wall clock had not reached
        self.newest_us = BEFORE_TIME_US
        """M: the greatest event time that the wall clock has reached."""
        self.raised_us = BEFORE_TIME_US
        """R: when it was raised to that."""
        self.heard_us = BEFORE_TIME_US
        """When the last event was received."""
        self.clock_us = BEFORE_TIME_US
        """How far the clock has moved the horizon: the greatest M + (now - R) - L so far."""

    def see(self, time_us: int, received_us: int) -> None:
        """Count an event in; receive times never decrease."""
        self.heard_us = received_us
        if self._ahead:
            self._reach(received_us)
        if time_us > received_us:
            heapq.heappush(self._ahead, time_us)
        elif time_us > self.newest_us:
            self._raise(time_us, received_us)

    def close(self, now_us: int) -> None:
        """Let the clock go on to ``now_us``; everything received before has been seen."""
        self._reach(now_us)
        self._run_until(now_us)

    def _reach(self, now_us: int) -> None:
        """Let the wall clock reach events that were ahead of it."""
        while self._ahead and self._ahead[0] <= now_us:
            time_us = heapq.heappop(self._ahead)
            if time_us > self.newest_us:
                self._raise(time_us, time_us)

    def _raise(self, time_us: int, at_us: int) -> None:
        self._run_until(at_us)
        self.newest_us, self.raised_us = time_us, at_us

    def _run_until(self, now_us: int) -> None:
        if self.newest_us != BEFORE_TIME_US:
            clock_us = self.newest_us + (now_us - self.raised_us) - self._lateness_us
            self.clock_us = max(self.clock_us, clock_us)
