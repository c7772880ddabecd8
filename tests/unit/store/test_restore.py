"""A restore exchanges the store as a whole, or does not touch it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from alertd.store import existing, migrations
from alertd.store import restore as restore_module
from alertd.store.backup import back_up
from alertd.store.check import check_store
from alertd.store.failures import StoreCorrupt, StoreOpenError
from alertd.store.restore import finish_restore, restore
from alertd.store.schema import MIGRATIONS
from alertd.store.snapshots import newest_snapshot, snapshots_folder, write_snapshot
from alertd.store.store import open_store
from tests.unit.store.store_samples import (
    batch,
    change_directly,
    make_store,
    replayed,
    seen_by_another,
)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Return a backup of four entries; the store has gone on since, and has been killed."""
    store_path, target = tmp_path / "store" / "alertd.db", tmp_path / "backup.db"
    make_store(store_path)
    back_up(store_path, target)
    return target


@pytest.fixture
def store_path(tmp_path: Path, backup: Path) -> Path:
    """Return the store, with five entries more than the backup, some in its WAL only."""
    path = tmp_path / "store" / "alertd.db"
    trio.run(go_on_and_be_killed, path)
    for position in (2, 4, 9):
        write_snapshot(snapshots_folder(path), position, [b"state"])
    return path


async def go_on_and_be_killed(path: Path) -> None:
    copies = {}
    async with open_store(path) as store:
        for _ in range(5):
            await store.events.append([batch(500)], [])
        for name in (path, path.with_name("alertd.db-wal"), path.with_name("alertd.db-shm")):
            copies[name] = name.read_bytes()
    for name, content in copies.items():
        name.write_bytes(content)


async def positions(path: Path) -> list[int]:
    async with open_store(path) as store:
        return [position for position, _ in await replayed(store)]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but the lock, which the last process that had it left its number in."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.suffix != ".lock"
    }


def kept_of(path: Path) -> Path:
    (kept,) = (each for each in path.parent.glob("*.before-restore-*Z"))
    return kept


def test_the_backup_becomes_the_store_and_what_was_there_is_kept_whole(
    backup: Path, store_path: Path
) -> None:
    report = restore(backup, store_path)
    assert (report.entries, report.events, report.series, report.rules) == (4, 2003, 2000, 1)
    kept = kept_of(store_path)
    assert report.kept_as == str(kept)
    assert check_store(kept).entries == 9
    assert trio.run(positions, store_path) == [1, 2, 3, 4]
    assert trio.run(positions, kept) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert backup.exists()


def test_no_snapshot_stays_in_use_and_the_old_ones_stay_with_their_log(
    backup: Path, store_path: Path
) -> None:
    """One of a position that the log has is no better: it may know incidents that it has not."""
    restore(backup, store_path)
    assert newest_snapshot(snapshots_folder(store_path)).snapshot is None
    found = newest_snapshot(snapshots_folder(kept_of(store_path)), not_after=9)
    assert found.snapshot is not None
    assert found.snapshot.position == 9


def test_a_store_that_is_not_there_is_restored_with_its_folder(
    tmp_path: Path, backup: Path
) -> None:
    path = tmp_path / "another" / "machine" / "alertd.db"
    assert restore(backup, path).kept_as is None
    assert trio.run(positions, path) == [1, 2, 3, 4]
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["alertd.db", "alertd.db.lock", "alertd.db.reserve"]


async def test_a_store_that_a_daemon_holds_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    await trio.to_thread.run_sync(make_store, path)
    await trio.to_thread.run_sync(back_up, path, tmp_path / "backup.db")
    async with open_store(path) as store:
        with pytest.raises(StoreOpenError, match=rf"another alertd \(process {os.getpid()}\)"):
            restore(tmp_path / "backup.db", path)
        await store.events.append([batch()], [])
        assert [position for position, _ in await replayed(store)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event_log SET body = zeroblob(length(body)) WHERE position = 2",
        "PRAGMA foreign_keys = OFF; DELETE FROM incidents",
    ],
)
def test_a_damaged_backup_is_refused_and_the_store_left_alone(
    backup: Path, store_path: Path, sql: str
) -> None:
    change_directly(backup, sql)
    before = contents(store_path.parent)
    with pytest.raises(StoreCorrupt, match="is not sound"):
        restore(backup, store_path)
    assert contents(store_path.parent) == before


def test_what_is_no_backup_is_refused(tmp_path: Path, store_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_bytes(b"not a database, but a letter to a friend" * 200)
    with pytest.raises(StoreCorrupt, match=r"not an alertd database\. .* try an older one"):
        restore(letter, store_path)
    with pytest.raises(StoreOpenError, match="there is no database"):
        restore(tmp_path / "missing", store_path)
    with pytest.raises(StoreOpenError, match="from itself"):
        restore(store_path, store_path)


def test_a_backup_of_an_older_schema_is_migrated_and_one_of_a_newer_refused(
    backup: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_directly(backup, "PRAGMA user_version = 99")
    with pytest.raises(StoreOpenError, match=r"schema 99.*newer alertd"):
        restore(backup, store_path)
    change_directly(backup, f"PRAGMA user_version = {len(MIGRATIONS)}")
    for module in (migrations, existing):
        monkeypatch.setattr(
            module, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (a INTEGER) STRICT;")
        )
    restore(backup, store_path)
    assert seen_by_another(store_path, "PRAGMA user_version") == [(len(MIGRATIONS) + 1,)]
    assert trio.run(positions, store_path) == [1, 2, 3, 4]


class Cut(Exception):
    """The process is killed here."""


@pytest.mark.parametrize("step", range(1, 6))
def test_a_restore_that_is_cut_off_is_carried_to_its_end_by_the_next_start(
    backup: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Cut before each change of the folder: the start finds the old store, or the new one."""
    steps = 0

    def counted(name: str) -> None:
        original = getattr(Path, name)

        def change(path: Path, *arguments: object, **options: object) -> object:
            nonlocal steps
            if path.parent == store_path.parent and "unfinished" not in path.name:
                steps += 1
                if steps == step:
                    raise Cut
            return original(path, *arguments, **options)

        monkeypatch.setattr(Path, name, change)

    for name in ("rename", "replace", "unlink"):
        counted(name)
    with pytest.raises(Cut):
        restore(backup, store_path)
    monkeypatch.undo()
    assert trio.run(positions, store_path) == [1, 2, 3, 4]
    kept = kept_of(store_path)
    assert trio.run(positions, kept) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert newest_snapshot(snapshots_folder(store_path)).snapshot is None
    assert newest_snapshot(snapshots_folder(kept), not_after=9).snapshot is not None


def test_a_restore_that_is_not_decided_leaves_the_store_as_it_was(
    backup: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise Cut

    monkeypatch.setattr(restore_module, "publish", cut)
    with pytest.raises(Cut):
        restore(backup, store_path)
    assert finish_restore(store_path) is None
    assert trio.run(positions, store_path) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert newest_snapshot(snapshots_folder(store_path), not_after=9).snapshot is not None
