"""Where work that blocks is done: beside the event loop, never in it.

Owns the threads of the daemon, but for those that libraries start. What blocks is a system call
or SQLite, which release the GIL. ``Blocking`` is a seam: with another one the same daemon runs
in one thread, in an order that a seed decides.

Invariant: once submitted, work runs, whatever becomes of the task that asked for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, TypeVar

import trio

T = TypeVar("T")

HEARTBEAT_INTERVAL_S: Final = 1.0


class Worker(Protocol):
    """Does pieces of work one after the other, in the order in which they were submitted."""

    @property
    def heartbeat_us(self) -> int:
        """When it last showed that it is alive, as ``time.monotonic_ns() // 1000``.

        At most ``HEARTBEAT_INTERVAL_S`` old while it is idle; it stands still during a piece of
        work.
        """

    def submit(
        self,
        work: Callable[[], None],
        done: Callable[[], object] | None = None,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Do ``work``, have ``done`` called in the event loop, and do ``afterwards``.

        Neither ``work`` nor ``afterwards`` may raise.
        """
        ...

    async def aclose(self) -> None:
        """Finish what was submitted, and end."""
        ...


class Blocking(Protocol):
    """A way to do work that blocks."""

    async def run(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Return what ``work`` returns, or raise what it raises; several may run at a time."""
        ...

    def worker(self, name: str) -> Worker:
        """Return a new worker."""
        ...

    def stopwatch_s(self) -> float:
        """Return the time on a clock that only tells how long work takes. In any thread."""
        ...


class Threads:
    """The ``Blocking`` of the daemon."""

    async def run(self, work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None) -> T:
        """Do ``work`` in one of trio's worker threads."""
        return await trio.to_thread.run_sync(work, limiter=limiter)

    def worker(self, name: str) -> Worker:
        """Start a thread that is a worker."""
        return WorkerThread(name)

    def stopwatch_s(self) -> float:
        """Return the time of a clock that runs evenly."""
        return time.perf_counter()


_Job: TypeAlias = tuple[Callable[[], None], Callable[[], object] | None, Callable[[], None] | None]


class WorkerThread:
    """A ``Worker`` with a thread of its own. Must be made inside ``trio.run``."""

    def __init__(self, name: str) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._heartbeat_us = time.monotonic_ns() // 1000
        # A daemon thread: one that hangs in an fsync must not keep a dying process alive.
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def heartbeat_us(self) -> int:
        """See ``Worker.heartbeat_us``."""
        return self._heartbeat_us

    def submit(
        self,
        work: Callable[[], None],
        done: Callable[[], object] | None = None,
        afterwards: Callable[[], None] | None = None,
    ) -> None:
        """Queue ``work``; never blocks."""
        self._jobs.put((work, done, afterwards))

    async def aclose(self) -> None:
        """Finish what was submitted, and end the thread."""
        self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)

    def _loop(self) -> None:
        while True:
            self._heartbeat_us = time.monotonic_ns() // 1000
            try:
                job = self._jobs.get(timeout=HEARTBEAT_INTERVAL_S)
            except queue.Empty:
                continue
            if job is None:
                return
            work, done, afterwards = job
            work()
            if done is not None:
                self._token.run_sync_soon(done)
            if afterwards is not None:
                afterwards()
            del job, work, done, afterwards
