"""How often a receiver may be written to: at most so many attempts within any 60 seconds.

Pure but for what it remembers: the starts of recent attempts, at most ``per_minute`` of them for
each target that has a limit. That is a limit on what is sent, not on what is recorded: what must
wait gathers in the outbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

from alertd.model import US_PER_S, Target

WINDOW_US: Final = 60 * US_PER_S


class Rates:
    """The recent attempts at each target that has a limit."""

    def __init__(self) -> None:
        self._begun: dict[Target, deque[int]] = {}

    def targets(self) -> Collection[Target]:
        """Return the targets of which something is remembered."""
        return self._begun.keys()

    def note(self, target: Target, now_us: int) -> None:
        """Remember that an attempt begins now. Only for a target with a limit."""
        self._begun.setdefault(target, deque()).append(now_us)

    def wait_us(self, target: Target, per_minute: int | None, now_us: int) -> int:
        """Return for how long the next attempt must wait; 0 if it need not."""
        begun = self._begun.get(target)
        if begun is None:
            return 0
        while begun and begun[0] + WINDOW_US <= now_us:
            begun.popleft()
        if not begun or per_minute is None:
            del self._begun[target]
            return 0
        if len(begun) < per_minute:
            return 0
        return begun[-per_minute] + WINDOW_US - now_us
