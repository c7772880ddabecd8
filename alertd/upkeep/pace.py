"""How fast work in the background goes: after each portion it rests for as long as that took.

Owns the law, for folding and retention alike: events have half of the processor and of the disk at
least, and more of them the slower these are, for what a portion had to wait counts as its work.
Work that can tell that others are busy rests on until they are not, but not for long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

MAX_REST_S: Final = 0.1
"""However long a portion took, and however busy others are: the work has to come to an end."""
_LOOK_EVERY_S: Final = 0.01


class Pace:
    """The rests of one piece of work after the other. ``begin`` each."""

    def __init__(
        self, *, least_s: float = 0.0, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        """No rest is shorter than ``least_s``; it goes on while others are ``is_busy``."""
        self._least_s = least_s
        self._is_busy = is_busy
        self._began_s = 0.0

    def begin(self) -> None:
        """From now on it is worked."""
        self._began_s = trio.current_time()

    async def rest(self) -> None:
        """Let others have as much time as was worked since the last rest."""
        began_s = trio.current_time()
        await trio.sleep(min(max(began_s - self._began_s, self._least_s), MAX_REST_S))
        ends_s = began_s + MAX_REST_S
        # Nobody tells when they are done: that would cost each batch something.
        while self._is_busy() and (left_s := ends_s - trio.current_time()) > 0:  # noqa: ASYNC110
            await trio.sleep(min(left_s, _LOOK_EVERY_S))
        self.begin()

    async def hurry(self) -> None:
        """Take no rest, but let others have their turn."""
        await trio.lowlevel.checkpoint()
        self.begin()
