"""Connections that only read, in worker threads of their own.

Owns a small pool. Invariant: a read is one short transaction that is over before the event loop
hears of it: a reader that stays open would stop the WAL from being reused. Reads wait for each
other at most, never for the writer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import trio

from alertd.blocking import Blocking
from alertd.store.connection import open_readonly
from alertd.store.failures import translate

T = TypeVar("T")

MAX_READERS: Final = 4


class Readers:
    """A pool of read-only connections, opened when first needed."""

    def __init__(self, path: Path, blocking: Blocking, *, max_readers: int = MAX_READERS) -> None:
        self._path = path
        self._blocking = blocking
        self._limiter = trio.CapacityLimiter(max_readers)
        self._idle: list[apsw.Connection] = []

    async def run(self, operation: str, work: Callable[[apsw.Connection], T]) -> T:
        """Run ``work`` on one consistent state of the database, in a worker thread.

        ``operation`` completes "cannot …" in error messages. Raises ``StoreUnavailable`` and
        ``StoreCorrupt``, and whatever ``work`` raises.
        """
        read = partial(self._read, operation, work)
        return await self._blocking.run(read, limiter=self._limiter)

    async def compute(self, work: Callable[[], T]) -> T:
        """Run ``work`` in such a thread, without a connection: what was read is to be decoded."""
        return await self._blocking.run(work, limiter=self._limiter)

    def close(self) -> None:
        """Close every connection. No ``run`` may be under way or follow."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _read(self, operation: str, work: Callable[[apsw.Connection], T]) -> T:
        try:
            connection = self._take()
            try:
                connection.execute("BEGIN")
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close(True)
                raise
        except apsw.Error as error:
            meaning = translate(error, operation, str(self._path))
            if meaning is None:
                raise
            raise meaning from error
        self._idle.append(connection)
        return result

    def _take(self) -> apsw.Connection:
        try:
            return self._idle.pop()  # atomic, as is append: worker threads need no lock
        except IndexError:
            return open_readonly(self._path)
