"""Checkpoints beside the writer: what is committed is copied into the database meanwhile.

A checkpoint is two fsyncs, and in the writer's thread every append stands behind it. Here they
are made by a connection and a thread of their own, so the writer goes on. What such a checkpoint
cannot do is to come to the end of a WAL to which somebody writes all the time. So what can wait
does so while one is under way; and where events come without a pause the writer makes one itself,
rarely (``wal.py``), and has little left to copy then.

Nothing depends on a checkpoint but the size of the WAL, so one that fails is left to the writer.
After an fsync that failed nothing is copied any more, by either (``wal.py``).
"""

from __future__ import annotations

from pathlib import Path

import apsw
import structlog
import trio

from alertd.blocking import Worker
from alertd.store.connection import open_for_checkpoints
from alertd.store.failures import is_sync_failure
from alertd.store.wal import Checkpoints

_log = structlog.get_logger()


class Checkpointer:
    """Copies when it is asked to. Only the writer's thread asks, and reads what is here."""

    def __init__(self, path: Path, worker: Worker, checkpoints: Checkpoints) -> None:
        self.is_at_work = False
        """Whether a checkpoint is under way."""
        self._path = path
        self._worker = worker
        self._checkpoints = checkpoints
        self._connection: apsw.Connection | None = None
        self._has_failed = False
        self._over = trio.Event()

    def start(self) -> bool:
        """Begin to copy what is committed, unless that is under way; return at once.

        False where the last attempt failed, once: it is for the writer then to find out why.
        """
        if self._has_failed:
            self._has_failed = False
            return False
        if not self.is_at_work:
            self._over = trio.Event()
            self.is_at_work = True
            self._worker.submit(self._copy, self._over.set)
        return True

    async def until_over(self) -> None:
        """Return when no checkpoint is under way that began before. In the event loop."""
        if self.is_at_work:
            await self._over.wait()

    async def aclose(self) -> None:
        """Finish what is under way, close the connection and end the thread."""
        self._worker.submit(self._close)
        await self._worker.aclose()

    def _copy(self) -> None:
        try:
            with self._checkpoints.one():
                if self._connection is None:
                    self._connection = open_for_checkpoints(self._path)
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.Error as error:
            self._has_failed = True
            if is_sync_failure(error):
                _log.critical("checkpoint failed", error=repr(error))
            else:
                _log.debug("checkpoint beside the writer failed", error=repr(error))
        self.is_at_work = False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close(True)
