"""What a failure of SQLite means, in alertd's own terms.

Owns the two errors that only the store raises and the translation of apsw's. It says nothing
of a failure in COMMIT, which is ambiguous and belongs to ``writer.py``.
"""

from __future__ import annotations

from typing import Final

import apsw

from alertd.errors import AlertdError, StoreUnavailable

NO_DATABASE: Final = "it is not an alertd database"
"""The finding where a file does not begin like one of SQLite's."""


class StoreOpenError(AlertdError):
    """The database cannot be used as it is; the message says what to do about it."""


class StoreCorrupt(AlertdError):
    """What is on disk is not what was written. It needs a person; trying again will not help.

    ``finding`` is what was found, without the remedy that the message has.
    """

    def __init__(self, message: str, finding: str | None = None) -> None:
        self.finding = finding or message
        super().__init__(message)


_REMEDIES: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.FullError, "the disk is full; free some space there"),
    (apsw.ReadOnlyError, "it is read-only; check its owner, its mode and the mount"),
    (apsw.CantOpenError, "it or its folder cannot be opened; check owner and mode"),
    (apsw.BusyError, "another program holds a lock on it; end that program's transaction"),
    (apsw.LockedError, "another program holds a lock on it; end that program's transaction"),
    (apsw.NoMemError, "memory ran out; give the process more"),
    (apsw.IOError, "the disk reported an error; look at the kernel's log"),
)


_SYNC_FAILURES: Final = frozenset({apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_DIR_FSYNC})


def is_sync_failure(error: BaseException) -> bool:
    """Return whether an fsync failed.

    Linux forgets what it could not write and calls it written: the next fsync succeeds without
    it. So nothing that is on disk can be relied on before the file has been read again.
    """
    return getattr(error, "extendedresult", None) in _SYNC_FAILURES


def translate(error: apsw.Error, operation: str, path: str) -> AlertdError | None:
    """Return what a rolled back ``error`` of ``operation`` on ``path`` means.

    None if it is a mistake in alertd itself (bad SQL, a broken constraint): let that one rise.
    """
    if isinstance(error, apsw.NotADBError):
        return corrupt(path, NO_DATABASE)
    if isinstance(error, apsw.CorruptError):
        return corrupt(path, f"{operation} failed: {error}")
    for kind, remedy in _REMEDIES:
        if isinstance(error, kind):
            return StoreUnavailable(f"cannot {operation} in {path}: {remedy} ({error})")
    return None


def corrupt(path: str, finding: str) -> StoreCorrupt:
    """Return the error for a damaged file, with the way out of it."""
    return StoreCorrupt(
        f"{path} is damaged: {finding}. With alertd stopped, restore a backup: alertd db restore "
        f"BACKUP (it keeps this file aside). Without one, save what can be read, with a copy of "
        f"the file and its -wal at hand: sqlite3 {path} .recover | sqlite3 recovered.db",
        finding,
    )
