"""One thread, one clock that jumps, one order of tasks: what makes a run a function of its seed.

trio picks at random which of several runnable tasks goes first. Its hook for hypothesis makes
it shuffle them, in the order in which they were made, by a random generator of its own; seeded,
that is a different but repeatable order for every seed. Blocking work is done on the spot: a
clock that jumps while a worker thread runs would not be a function of anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import trio
import trio.testing
from trio._core import _run

from alertd.blocking import Worker
from tests.faults.inline import InlineWorker

T = TypeVar("T")


def run_seeded(main: Callable[[], Awaitable[T]], seed: int) -> T:
    """Run ``main`` under a virtual clock, with the order of its tasks decided by ``seed``."""
    # What it is to be set by would also make hypothesis know the generator.
    vars(_run)["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    _run._r.seed(seed)
    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class Inline:
    """A ``Blocking`` without threads."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    async def run(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Do ``work`` on the spot; other tasks have their turn before it or after it, by chance.

        As with a thread, a task that is cancelled by then finds it done.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._chance.random() < 0.5:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return work()
        result = work()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    def worker(self, name: str) -> Worker:
        """Return a worker that does everything on the spot."""
        return InlineWorker()

    def stopwatch_s(self) -> float:
        """Return the same at each call: work takes no time here."""
        return 0.0
