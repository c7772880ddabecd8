"""A backup becomes the store.

Owns the exchange of the files. The backup is copied and checked beside the store first; when the
copy is whole it gets the name ``….restoring``, and from then on the restore is decided: whatever
interrupts the exchange, ``finish_restore`` carries it to its end, at the next start too. So there
is never a moment at which a database meets a write-ahead log, or snapshots, of another one.

Nothing is deleted: what was the store before stays beside it under a name of its own, with its
write-ahead log and its snapshots, and is a store again under its old name.

Of the snapshots that were there none stays in use, whatever its position. One from behind the end
of the restored log knows events that this log does not have. But one from before it must not be
trusted either: it may have been taken after the backup was, hold an incident that the clock or
late data made since, and so keep the replay, which would find that incident again, from recording
it. The start after a restore begins with the snapshot that the backup carries (``carried.py``); if
it carries none, with the beginning of the log.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from alertd.errors import StoreUnavailable
from alertd.store.backup import copy_database, publish, refuse_unsound, unfinished_file
from alertd.store.check import CheckReport, check_store, check_structure
from alertd.store.connection import sole_daemon
from alertd.store.existing import Progress, WalGuard, opened, silent
from alertd.store.failures import StoreCorrupt, StoreOpenError, translate
from alertd.store.folders import make_folder, own_like, sync_folder
from alertd.store.migrations import migrate
from alertd.store.snapshots import snapshots_folder

RESTORING_SUFFIX: Final = ".restoring"


class RestoreReport(Struct, frozen=True, rename="camel"):
    """What has become the store, and where the one before it is."""

    path: str
    entries: int
    events: int
    series: int
    rules: int
    snapshot_position: int | None
    """Position of the snapshot that the next start begins with; None if the backup has none."""
    events_behind_snapshot: int
    """So many events the next start replays."""
    kept_as: str | None
    """The database that was there before; None if there was none."""


def restore(backup: Path, store: Path, on_progress: Progress = silent) -> RestoreReport:
    """Put a checked copy of ``backup`` in the place of ``store``.

    A backup of an older schema is migrated on the way. Raises ``StoreOpenError`` (a daemon holds
    the store; there is no such backup), ``StoreCorrupt`` (the backup, or the copy of it, is not
    sound) and ``StoreUnavailable``; the store is as it was then.
    """
    try:
        store = store.resolve()
        make_folder(store.parent)
    except OSError as error:
        raise StoreOpenError(f"cannot restore to {store}: {error}") from error
    if store.exists() and backup.exists() and backup.samefile(store):
        raise StoreOpenError(f"cannot restore {store} from itself")
    with sole_daemon(store), unfinished_file(store) as unfinished:
        finish_restore(store)  # one that was interrupted
        try:
            report = _copy(backup, unfinished, on_progress)
        except StoreCorrupt as error:
            raise StoreCorrupt(
                f"{backup} cannot be used: {error.finding}. Nothing was changed; try an older one",
                error.finding,
            ) from error
        own_like(unfinished, store if store.exists() else store.parent)
        publish(unfinished, _restoring(store))
        kept = finish_restore(store)
    return RestoreReport(
        path=str(store),
        entries=report.entries,
        events=report.events,
        series=report.series,
        rules=report.rules,
        snapshot_position=report.snapshot_position,
        events_behind_snapshot=report.replayed_events,
        kept_as=None if kept is None else str(kept),
    )


def _copy(backup: Path, target: Path, on_progress: Progress) -> CheckReport:
    """Copy ``backup`` to ``target``, in the present schema; raise ``StoreCorrupt`` if unsound."""
    with opened(backup, "restore the backup") as source:
        findings = check_structure(source, backup, on_progress)
        if findings:
            raise StoreCorrupt(f"it is not sound: {'; '.join(findings)}")
        guard = WalGuard(backup, "restore the backup")
        copy_database(source, target, guard=guard, on_progress=on_progress)
    _migrate(target)
    report = check_store(target, on_progress)
    refuse_unsound(report, "its copy")
    return report


def finish_restore(store: Path) -> Path | None:
    """Carry a restore that is decided to its end; do nothing if there is none.

    The caller has the daemon's lock. May be interrupted anywhere and called again. Returns where
    the old database is, None if there was none. Raises ``StoreUnavailable``.
    """
    restoring = _restoring(store)
    try:
        if not restoring.exists():
            return None
        # The same name at each attempt, so that what belongs together stays together.
        decided_s, decided_ns = divmod(restoring.stat().st_mtime_ns, 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(decided_s))
        kept = _beside(store, f".before-restore-{stamp}.{decided_ns:09}Z")
        if store.exists() and store.stat().st_size == 0:
            store.unlink()  # made by an interrupted start, and never written
        for part in (Path, _wal_of, snapshots_folder):
            if part(store).exists():
                part(store).rename(part(kept))
        _beside(store, "-shm").unlink(missing_ok=True)
        sync_folder(store.parent)
        restoring.replace(store)
        sync_folder(store.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"cannot exchange {store} for the restored {restoring}: {error}; mend that and start "
            "alertd or the restore again, which goes on from there"
        ) from error
    return kept if kept.exists() else None


def _restoring(store: Path) -> Path:
    return _beside(store, RESTORING_SUFFIX)


def _wal_of(database: Path) -> Path:
    return _beside(database, "-wal")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _migrate(path: Path) -> None:
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            migrate(connection, path)
        finally:
            connection.close()
    except apsw.Error as error:
        raise translate(error, "migrate the copy", str(path)) or error from error
