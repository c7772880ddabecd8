"""Opening the database: one daemon a file, the right SQLite, the right pragmas.

Owns the lock file, the connection settings and the checks made before anything is trusted.
Invariant: a connection returned from here is in WAL mode, never memory-maps the file (an I/O
error would be a signal) and never checkpoints by itself (such a failure would be silent).
Leaves whether the file is sound to ``quick_check.py``, the schema to ``migrations.py`` and
checkpoints to ``wal.py``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Final

import apsw

from alertd.store.failures import StoreOpenError, translate
from alertd.store.folders import make_folder, own_like, sync_folder

MIN_SQLITE: Final = (3, 51, 3)
"""The first release without the bug that can corrupt a database when the WAL is reset."""

APPLICATION_ID: Final = 0x616C7464
"""``altd``: marks a SQLite file as alertd's (https://sqlite.org/fileformat.html, offset 68)."""

BUSY_TIMEOUT_MS: Final = 5000
WRITER_CACHE_KIB: Final = 16_384
READER_CACHE_KIB: Final = 2048


class Durability(StrEnum):
    """What an acknowledged write survives."""

    FULL = "full"
    """The loss of power: the WAL is fsynced at each commit."""
    RELAXED = "relaxed"
    """The death of the process, but not the loss of power: the last seconds may go."""


@contextmanager
def sole_daemon(path: Path) -> Iterator[None]:
    """Hold the lock that lets one daemon at a time use the database at ``path``.

    The lock file stays behind; the kernel drops the lock however the process ends. Raises
    ``StoreOpenError``, naming the holder's process id, when another daemon has it.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = lock_path.open("a+", encoding="ascii")
        own_like(lock_path, path.parent)
    except OSError as error:
        raise StoreOpenError(
            f"cannot open {lock_path}: {error}; check who owns that folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            raise StoreOpenError(
                f"{path} is in use by another alertd (process {holder}); stop that one first, "
                "or name another store.path here"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def check_sqlite(version: str) -> None:
    """Raise ``StoreOpenError`` if ``version`` of SQLite may corrupt a database in WAL mode."""
    if tuple(int(part) for part in version.split(".")) < MIN_SQLITE:
        least = ".".join(map(str, MIN_SQLITE))
        raise StoreOpenError(
            f"SQLite {version} can corrupt a database in WAL mode; alertd needs {least} or later: "
            "pip install --upgrade apsw"
        )


def prepare_folder(path: Path) -> Path:
    """Return the real path of the database, with its folder and, readable by us only, the file.

    Raises ``StoreOpenError`` when either cannot be made. SQLite gives the WAL the file's mode.
    """
    try:
        path = path.resolve()
        make_folder(path.parent)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        raise StoreOpenError(
            f"cannot open the database {path}: {error}; check store.path and who owns its folder"
        ) from error
    return path


def open_writable(path: Path, durability: Durability) -> apsw.Connection:
    """Open the database for the writer. Raises ``StoreOpenError`` and ``StoreCorrupt``."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            refuse_foreign(connection, path)
            _set_common(connection, WRITER_CACHE_KIB)
            connection.pragma("auto_vacuum", "INCREMENTAL")  # of a new file; see space.py
            if connection.pragma("journal_mode", "wal") != "wal":
                raise StoreOpenError(
                    f"{path} is on a file system without shared memory, which WAL mode needs; "
                    "set store.path to a local disk"
                )
            connection.pragma("synchronous", "FULL" if durability is Durability.FULL else "NORMAL")
            connection.pragma("foreign_keys", True)
            connection.pragma("wal_autocheckpoint", 0)
        except BaseException:
            abandon(connection)
            raise
    except apsw.Error as error:
        meaning = translate(error, "open the database", str(path))
        raise meaning or StoreOpenError(f"cannot open the database {path}: {error}") from error
    return connection


def open_readonly(path: Path) -> apsw.Connection:
    """Open one more connection that cannot write, to a database that is there."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        _set_common(connection, READER_CACHE_KIB)
    except BaseException:
        connection.close(True)
        raise
    return connection


def open_for_checkpoints(path: Path) -> apsw.Connection:
    """Open one more connection to copy the WAL by; it writes nothing else. Raises ``apsw.Error``.

    The writer opened the database first, so that it is ours and in WAL mode is certain.
    """
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        _set_common(connection, READER_CACHE_KIB)
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("journal_mode")  # reads the file: before, there is no WAL to copy
    except BaseException:
        connection.close(True)
        raise
    return connection


def abandon(connection: apsw.Connection) -> None:
    """Close a connection of which an operation failed, leaving the files as they are.

    The WAL is kept for whoever opens the file next. Raises nothing: the first failure is the one
    to tell.
    """
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


def _set_common(connection: apsw.Connection, cache_kib: int) -> None:
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    # Plans do not depend on what is bound. Else a statement with LIMIT ? is parsed again each time
    # that it is executed, which takes longer than nearly all of ours do: 50 us instead of 6.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.pragma("mmap_size", 0)
    connection.pragma("cache_size", -cache_kib)
    connection.pragma("temp_store", "MEMORY")
    connection.pragma("trusted_schema", False)
    connection.pragma("cell_size_check", True)


def refuse_foreign(connection: apsw.Connection, path: Path) -> None:
    """Raise ``StoreOpenError`` if a database that is not empty is not alertd's."""
    if connection.pragma("application_id") == APPLICATION_ID:
        return
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    if tables or connection.pragma("application_id"):
        raise StoreOpenError(
            f"{path} is a database of another program; set store.path to a file of alertd's own"
        )
