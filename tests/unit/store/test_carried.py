"""A backup carries a snapshot that is older than itself, and a restored store begins with it."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest
import trio

from alertd.store import backup as backup_module
from alertd.store.backup import back_up
from alertd.store.check import check_store
from alertd.store.failures import StoreCorrupt
from alertd.store.restore import restore
from alertd.store.snapshots import (
    CHUNK_BYTES,
    newest_snapshot,
    snapshot_files,
    snapshots_folder,
    write_snapshot,
)
from alertd.store.store import open_store
from tests.unit.store.store_samples import batch, change_directly, make_store, seen_by_another

STATE = [random.Random(1).randbytes(CHUNK_BYTES), b"the end"]  # noqa: S311 - not a secret


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Return a store of four entries with 2,003 events, and snapshots of the first three."""
    path = tmp_path / "store" / "alertd.db"
    make_store(path)
    for position in (2, 3):
        write_snapshot(snapshots_folder(path), position, STATE)
    return path


async def opened_once(path: Path) -> None:
    async with open_store(path):
        pass


def payload(path: Path) -> tuple[int, bytes] | None:
    """Return the position and the state of the newest snapshot of a store."""
    found = newest_snapshot(snapshots_folder(path)).snapshot
    return None if found is None else (found.position, b"".join(found.chunks()))


def carries(path: Path) -> bool:
    return seen_by_another(
        path, "SELECT count(*) FROM sqlite_schema WHERE name = 'carried_snapshot'"
    ) == [(1,)]


def test_a_restored_store_begins_with_the_newest_snapshot_of_the_backup(
    tmp_path: Path, store_path: Path
) -> None:
    target, other = tmp_path / "backup.db", tmp_path / "other" / "alertd.db"
    made = back_up(store_path, target)
    assert made.snapshot_position == 3
    restored = restore(target, other)
    assert restored.snapshot_position == 3
    assert restored.events_behind_snapshot == made.events_behind_snapshot < made.events == 2003
    assert carries(other)
    trio.run(opened_once, other)
    assert payload(other) == (3, b"".join(STATE))
    assert not carries(other), "it is set down once, and takes no room in the store"
    assert check_store(other).is_sound


def test_events_behind_the_snapshot_are_counted_exactly(tmp_path: Path, store_path: Path) -> None:
    async def append() -> None:
        async with open_store(store_path) as store:
            await store.events.append([batch(100), batch(11)], [])
            assert await store.folding.fold(1)

    trio.run(append)
    write_snapshot(snapshots_folder(store_path), 5, STATE)
    assert back_up(store_path, tmp_path / "backup.db").events_behind_snapshot == 11


def test_a_snapshot_taken_while_the_copy_was_made_is_not_carried(
    tmp_path: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold an incident that the copy does not have, and nobody would record that."""
    usual = backup_module.copy_database

    def meanwhile(*arguments: object, **options: object) -> None:
        usual(*arguments, **options)  # type: ignore[arg-type]
        for position in (4, 5):
            write_snapshot(snapshots_folder(store_path), position, [b"later"])

    monkeypatch.setattr(backup_module, "copy_database", meanwhile)
    assert back_up(store_path, tmp_path / "backup.db").snapshot_position == 3, (
        "though its file is gone by now"
    )


def test_a_damaged_snapshot_is_passed_over_and_stays_for_the_daemon(
    tmp_path: Path, store_path: Path
) -> None:
    newest = snapshots_folder(store_path) / snapshot_files(snapshots_folder(store_path))[0].name
    newest.write_bytes(newest.read_bytes()[:-1])
    assert back_up(store_path, tmp_path / "backup.db").snapshot_position == 2
    assert newest.exists(), "a backup changes nothing in the store"


def test_without_a_snapshot_the_whole_log_is_to_be_replayed(tmp_path: Path) -> None:
    store_path = tmp_path / "store" / "alertd.db"
    make_store(store_path)
    made = back_up(store_path, tmp_path / "backup.db")
    assert (made.snapshot_position, made.events_behind_snapshot) == (None, 2003)


def test_a_backup_that_is_copied_over_a_store_does_not_meet_its_snapshots(
    tmp_path: Path, store_path: Path
) -> None:
    back_up(store_path, tmp_path / "backup.db")
    for position in (4, 9):
        write_snapshot(snapshots_folder(store_path), position, [b"another's"])
    store_path.write_bytes((tmp_path / "backup.db").read_bytes())
    trio.run(opened_once, store_path)
    assert payload(store_path) == (3, b"".join(STATE))
    assert [file.position for file in snapshot_files(snapshots_folder(store_path))] == [3]


def test_every_damage_to_a_carried_snapshot_is_noticed(tmp_path: Path, store_path: Path) -> None:
    target = tmp_path / "backup.db"
    back_up(store_path, target)
    change_directly(
        target, "UPDATE carried_snapshot SET body = CAST(body || x'00' AS BLOB) WHERE piece = 2"
    )
    assert "the snapshot that it carries is damaged" in check_store(target).findings[0]
    with pytest.raises(StoreCorrupt, match="carries is damaged"):
        restore(target, tmp_path / "other" / "alertd.db")
    change_directly(target, "DELETE FROM carried_snapshot WHERE piece = 1")
    trio.run(opened_once, target)
    assert payload(target) is None, "the log remains"
    assert not carries(target)


def test_a_snapshot_that_cannot_be_set_down_is_no_reason_not_to_start(
    tmp_path: Path, store_path: Path
) -> None:
    target = tmp_path / "backup.db"
    back_up(store_path, target)
    snapshots_folder(target).write_text("in the way")
    trio.run(opened_once, target)
    assert not carries(target)


def test_setting_it_down_is_done_again_if_it_was_interrupted(
    tmp_path: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup.db"
    back_up(store_path, target)

    def interrupted(_connection: apsw.Connection) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alertd.store.carried._drop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trio.run(opened_once, target)
    trio.run(opened_once, target)
    assert payload(target) == (3, b"".join(STATE))
    assert not carries(target)
