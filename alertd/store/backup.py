"""A copy of the database while the daemon runs, and the copying that a restore does too.

Owns the way of a copy: SQLite's own backup, page by page, in short steps within one read
transaction, into a file under a temporary name; then its structure is checked and all that is
stored is decoded; then it is fsynced, gets its name, and the folder is fsynced. Invariant: a file
under its final name is a whole and sound database, a single file that needs nothing beside it. It
carries the newest snapshot from before that transaction (``carried.py``).

Appends go on meanwhile: in WAL mode a reader holds up no writer. What it does hold up is the
reuse of the write-ahead log, which therefore grows by what comes in while the copy takes; see
``existing.WalGuard``. The pages that have piled up there are copied into the database by this
process afterwards, or the daemon's writer would do it between two appends.

Rejected: ``VACUUM INTO`` (no progress, and the same read transaction for longer); the backup
without a transaction around it (begins anew at each append); copying the rows table by table
(every new table would be one to forget).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import apsw
import structlog
from msgspec import Struct

from alertd.errors import Conflict, StoreUnavailable
from alertd.store.carried import carry, newest_held
from alertd.store.check import CheckReport, check_store
from alertd.store.existing import Progress, WalGuard, opened, refuse_other_schema, silent
from alertd.store.failures import StoreCorrupt, StoreOpenError, translate
from alertd.store.folders import sync_file, sync_folder
from alertd.store.wal import CHECKPOINT_BYTES

STEP_PAGES: Final = 256
"""1 MiB: a step takes about a millisecond."""

_log = structlog.get_logger(__name__)


class BackupReport(Struct, frozen=True, rename="camel"):
    """What a backup holds."""

    path: str
    size_bytes: int
    entries: int
    events: int
    series: int
    rules: int
    snapshot_position: int | None
    """Position of the snapshot that it carries; None if there was none."""
    events_behind_snapshot: int
    """So many a start after a restore replays."""


def back_up(
    store: Path, target: Path, *, replace: bool = False, on_progress: Progress = silent
) -> BackupReport:
    """Copy the database at ``store`` to the file ``target``, verified.

    Raises ``Conflict`` if there is such a file already and it is not to be replaced,
    ``StoreCorrupt`` if the copy is not sound, which is then removed, and ``StoreOpenError``,
    ``StoreUnavailable`` and ``TookTooLong`` when it cannot be made.
    """
    _refuse_target(store, target, replace)
    with unfinished_file(target) as unfinished:
        with newest_held(store) as snapshot:
            with opened(store, "back up the database") as source:
                refuse_other_schema(source, store)
                guard = WalGuard(store, "back up the database")
                copy_database(source, unfinished, guard=guard, on_progress=on_progress)
            _copy_wal_back(store, guard)
            if snapshot is not None:
                _carry(snapshot, unfinished)
        report = check_store(unfinished, on_progress)
        refuse_unsound(report, f"the copy of {store}")
        publish(unfinished, target)
    return BackupReport(
        path=str(target),
        size_bytes=target.stat().st_size,
        entries=report.entries,
        events=report.events,
        series=report.series,
        rules=report.rules,
        snapshot_position=report.snapshot_position,
        events_behind_snapshot=report.replayed_events,
    )


def copy_database(
    source: apsw.Connection, target: Path, *, guard: WalGuard, on_progress: Progress = silent
) -> None:
    """Copy what ``source`` holds at this moment into the empty file ``target``, not yet durable."""
    source.execute("BEGIN")
    try:
        source.pragma("user_version")  # from here on one state of it is seen
        copy = apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # A copy that is cut off is thrown away: it needs neither journal nor syncs.
            copy.pragma("journal_mode", "OFF")
            copy.pragma("synchronous", "OFF")
            with copy.backup("main", source, "main") as backup:
                while not backup.done:
                    guard.look()
                    backup.step(STEP_PAGES)
                    pages = backup.page_count
                    on_progress("copying", pages - backup.remaining, pages)
            copy.pragma("journal_mode", "DELETE")  # so that no -wal and -shm belong to it
        finally:
            copy.close(True)
    except apsw.FullError as error:  # it is the copy's disk
        raise translate(error, "write the copy", str(target)) or error from error
    finally:
        source.execute("ROLLBACK")


@contextmanager
def unfinished_file(target: Path) -> Iterator[Path]:
    """Make an empty file beside ``target``, readable by its owner only, that is gone at the end.

    Unless ``publish`` has given it its name by then. Raises ``StoreUnavailable``.
    """
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.unfinished")
    try:
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"cannot write {unfinished}: {error.strerror}") from error
    try:
        yield unfinished
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)


def publish(unfinished: Path, target: Path) -> None:
    """Make ``unfinished`` durable and give it the name ``target``. Raises ``StoreUnavailable``."""
    try:
        sync_file(unfinished)
        unfinished.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {target}: {error.strerror}") from error


def refuse_unsound(report: CheckReport, what: str) -> None:
    """Raise ``StoreCorrupt`` for what a check found in ``what``."""
    if not report.is_sound:
        raise StoreCorrupt(f"{what} is not sound: {'; '.join(report.findings)}")


def _refuse_target(store: Path, target: Path, replace: bool) -> None:
    if not target.parent.is_dir():
        raise StoreOpenError(f"cannot back up to {target}: there is no folder {target.parent}")
    if not target.exists():
        return
    if not target.is_file() or (store.exists() and target.samefile(store)):
        raise Conflict(f"cannot back up to {target}: name a file of its own")
    if not replace:
        raise Conflict(f"{target} is there already; choose another name, or replace it (--force)")


def _carry(snapshot: BinaryIO, copy: Path) -> None:
    try:
        carry(snapshot, copy)
    except apsw.Error as error:
        raise translate(error, "write the copy", str(copy)) or error from error


def _copy_wal_back(store: Path, guard: WalGuard) -> None:
    """Copy what has piled up in the write-ahead log into the database. Appends go on meanwhile.

    The daemon can do this too, only later and between two appends, so a failure is no matter.
    """
    if guard.size_bytes < 2 * CHECKPOINT_BYTES:
        return
    try:
        connection = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.pragma("user_version")  # a connection that has read nothing knows no WAL
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        finally:
            connection.close()
    except apsw.Error as error:
        _log.info("the daemon's checkpoint is left to it", reason=str(error))
