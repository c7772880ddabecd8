"""The write-ahead log file: room in it before a transaction, checkpoints after.

Owns four decisions. *Room*: space is allocated ahead of each transaction, so that a full disk
is found before anything is written, where it is certain that nothing was; found in COMMIT it
would be ambiguous. *Reserve*: what must go on gets its room from ``reserve.py`` when there is no
other, and so do checkpoints; while that is not whole, everything else is refused. *Checkpoints*:
explicit and PASSIVE; SQLite's own fail silently. They are made beside the writer
(``checkpointer.py``), and between transactions when the WAL has not come to its end for long.
*Bound*: a reader that stays open (someone's ``sqlite3`` in a transaction) keeps the file from
being reused; at the bound transactions are refused until that reader has gone.

Invariant: only the writer thread calls this, between transactions; ``size_bytes`` and
``has_room`` alone may be read from elsewhere. File format:
https://sqlite.org/fileformat.html, section 4.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import structlog

from alertd.errors import StoreUnavailable
from alertd.store.failures import is_sync_failure
from alertd.store.reserve import CANNOT_ALLOCATE, Reserve

_log = structlog.get_logger()

CHECKPOINT_BYTES: Final = 1 << 20
"""When the WAL has grown by so much, that is copied, beside the writer."""
END_BYTES: Final = 16 << 20
"""Grown by so much without having been begun again, it is copied to its end, by the writer: two
fsyncs and what little is left, for which the next append may have to wait, 3 ms."""
PATIENCE: Final = 2
"""Times as much before that is done while a transaction waits for its turn."""
LIMIT_BYTES: Final = 1 << 30
ROOM_STEP_BYTES: Final = 4 << 20

_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24


class Checkpoints:
    """One at a time, whoever makes it, and none any more after one whose fsync failed.

    Another try could find the disk willing and copy pages of which the WAL has been lost.
    """

    def __init__(self) -> None:
        self.failure: apsw.Error | None = None
        """The fsync that failed, if one did: nobody knows what is in the database."""
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Make one within the block. Raises ``failure`` where there is one."""
        with self._lock:
            if self.failure is not None:
                raise self.failure
            try:
                yield
            except apsw.Error as error:
                if is_sync_failure(error):
                    self.failure = error
                raise


class Wal:
    """The write-ahead log of the writer's connection."""

    def __init__(self, connection: apsw.Connection, path: Path, reserve: Reserve) -> None:
        """Take charge of the WAL of the database at ``path`` and empty it if nobody reads it.

        Raises ``apsw.IOError`` when an fsync failed.
        """
        self.checkpoints = Checkpoints()
        self._connection = connection
        self._path = path.with_name(path.name + "-wal")
        self._frame_bytes: int = connection.pragma("page_size") + _FRAME_HEADER_BYTES
        self._frames = 0
        self._frames_at_copy = 0
        self._frames_at_end = 0
        self._can_allocate = True
        self._reserve = reserve
        connection.set_wal_hook(self._committed)
        self._empty()
        try:
            self._reserve.take()
        except OSError as error:
            _log.warning("events are refused until there is more room", error=str(error))

    @property
    def size_bytes(self) -> int:
        """How much of the file is in use. It falls when the file is begun again."""
        return _HEADER_BYTES + self._frames * self._frame_bytes

    @property
    def has_room(self) -> bool:
        """Whether there is room for more than what must go on."""
        return self._reserve.is_whole

    def make_room(self, transaction_bytes: int, *, must_go_on: bool) -> None:
        """Make sure that a transaction of about that size can be written.

        What ``must_go_on`` may use the reserve. Raises ``StoreUnavailable`` when the disk is full
        or the bound is reached, and ``apsw.IOError`` when an fsync failed.
        """
        if self.size_bytes >= LIMIT_BYTES:
            self._empty()
            if self.size_bytes >= LIMIT_BYTES:
                raise StoreUnavailable(
                    f"cannot write: {self._path} has reached {LIMIT_BYTES >> 20} MiB because "
                    "another program keeps a read transaction open; end it (fuser names it)"
                )
        needed_bytes = self.size_bytes + transaction_bytes
        try:
            if not must_go_on:
                self._reserve.take()
            self._allocate(needed_bytes, ROOM_STEP_BYTES)
        except OSError as error:
            if must_go_on and self._free_reserve():
                self.make_room(transaction_bytes, must_go_on=True)
                return
            raise StoreUnavailable(
                f"cannot write: no room for {needed_bytes} bytes in {self._path} "
                f"({error.strerror}); free some space on that disk"
            ) from error

    def is_to_be_copied(self) -> bool:
        """Return whether it has grown by a step since this was last true."""
        if self._frames - self._frames_at_copy < CHECKPOINT_BYTES // self._frame_bytes:
            return False
        self._frames_at_copy = self._frames
        return True

    def is_to_be_ended(self, *, is_awaited: bool) -> bool:
        """Return whether it has grown so far that ``checkpoint`` should come to its end.

        Where a transaction ``is_awaited`` it goes first, up to ``PATIENCE`` times as far.
        """
        step = END_BYTES // self._frame_bytes
        return self._frames - self._frames_at_end >= (PATIENCE * step if is_awaited else step)

    def checkpoint(self) -> None:
        """Copy the WAL into the database, to its end unless a reader is in the way.

        What is committed is safe whatever happens here; a failure is logged and tried again a
        step later, but for one: raises ``apsw.IOError`` when an fsync failed.
        """
        self._frames_at_copy = self._frames_at_end = self._frames
        self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _committed(self, _connection: apsw.Connection, _database: str, frames: int) -> int:
        if frames < self._frames:  # it has been begun again
            self._frames_at_copy = self._frames_at_end = 0
        self._frames = frames
        return apsw.SQLITE_OK

    def _empty(self) -> None:
        """Copy everything and truncate the file, unless a reader is in the way right now."""
        busy_ms = self._connection.pragma("busy_timeout")
        self._connection.set_busy_timeout(0)
        try:
            if self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE):
                self._frames = self._frames_at_copy = self._frames_at_end = 0
        finally:
            self._connection.set_busy_timeout(busy_ms)

    def _checkpoint(self, mode: int) -> bool:
        """Return whether it was done. Raises ``apsw.IOError`` when an fsync failed."""
        try:
            with self.checkpoints.one():
                frames, copied = self._connection.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            if is_sync_failure(error):
                raise
            if isinstance(error, apsw.FullError) and self._free_reserve():
                return self._checkpoint(mode)
            _log.warning("checkpoint failed", wal_bytes=self.size_bytes, error=repr(error))
            return False
        if copied < frames:
            _log.debug("checkpoint held up by a reader", frames=frames, copied=copied)
        return True

    def _free_reserve(self) -> bool:
        """Free the reserve; return False if that has been done already."""
        freed = self._reserve.release()
        if freed:
            _log.warning("the disk is full: the reserve is used, and events are refused")
        return freed

    def _allocate(self, needed_bytes: int, ahead_bytes: int) -> None:
        """Make the file that long, and longer if there is room. Raises ``OSError``."""
        # Looked at each time: another program may have truncated, or deleted, the file.
        size_bytes = os.stat(self._path).st_size
        if size_bytes >= needed_bytes or not self._can_allocate:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.posix_fallocate(descriptor, size_bytes, needed_bytes + ahead_bytes - size_bytes)
        except OSError as error:
            if error.errno in CANNOT_ALLOCATE:
                self._can_allocate = False
            elif ahead_bytes:
                os.ftruncate(descriptor, size_bytes)  # what was allocated before it failed
                self._allocate(needed_bytes, 0)
            else:
                os.ftruncate(descriptor, size_bytes)
                raise
        finally:
            os.close(descriptor)
