"""How fast work in the background goes: after each portion it rests for as long as that took.

Owns the law, for folding and retention alike: events have half of the processor and of the disk at
least, and more of them the slower these are, for what a portion had to wait counts as its work.
"""

from __future__ import annotations

from typing import Final

import trio

MAX_REST_S: Final = 0.1
"""However long a portion took: the work has to come to an end."""


class Pace:
    """The rests of one piece of work after the other. ``begin`` each."""

    def __init__(self, *, least_s: float = 0.0) -> None:
        """No rest is shorter than ``least_s``."""
        self._least_s = least_s
        self._began_s = 0.0

    def begin(self) -> None:
        """From now on it is worked."""
        self._began_s = trio.current_time()

    async def rest(self) -> None:
        """Let others have as much time as was worked since the last rest."""
        worked_s = trio.current_time() - self._began_s
        await trio.sleep(min(max(worked_s, self._least_s), MAX_REST_S))
        self.begin()

    async def hurry(self) -> None:
        """Take no rest, but let others have their turn."""
        await trio.lowlevel.checkpoint()
        self.begin()
