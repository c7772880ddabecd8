"""The store's work done at once, in the one thread that there is: the same calls in each run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


class Inline:
    """A ``Blocking`` that blocks. ``on_done`` is called when a transaction has ended."""

    def __init__(self, on_done: Callable[[], None] = lambda: None) -> None:
        self._on_done = on_done

    async def run(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Return what ``work`` returns."""
        return work()

    def worker(self, name: str) -> InlineWorker:
        """Return a worker without a thread."""
        return InlineWorker(self._on_done)

    def stopwatch_s(self) -> float:
        """Return the same at each call: work takes no time here."""
        return 0.0


class InlineWorker:
    """A ``Worker`` that has always done what it was asked.

    ``on_done`` is called before each ``done``, and ``before_work`` before all else that it does.
    """

    def __init__(
        self,
        on_done: Callable[[], None] = lambda: None,
        before_work: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_done = on_done
        self._before_work = before_work

    @property
    def heartbeat_us(self) -> int:
        """It is alive, or nobody could ask."""
        return time.monotonic_ns() // 1000

    def submit(
        self,
        work: Callable[[], None],
        done: Callable[[], object] | None = None,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Do it now."""
        self._before_work()
        work()
        if done is not None:
            self._on_done()
            done()
        if afterwards is not None:
            self._before_work()
            afterwards()

    async def aclose(self) -> None:
        """There is nothing to end."""
