"""A backup is of one moment, sound, a single file, and in nobody's way."""

from __future__ import annotations

import stat
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from alertd.errors import AlertdError, Conflict
from alertd.store import backup, existing
from alertd.store.backup import back_up
from alertd.store.check import check_store
from alertd.store.existing import TookTooLong
from alertd.store.failures import StoreCorrupt, StoreOpenError
from alertd.store.store import open_store
from tests.unit.store.store_samples import (
    batch,
    change_directly,
    fill,
    make_store,
    replayed,
    seen_by_another,
    series,
)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_copy_holds_all_that_was_stored_in_one_file_for_its_owner(
    tmp_path: Path,
) -> None:
    store_path, target = tmp_path / "alertd.db", tmp_path / "kept" / "backup.db"
    target.parent.mkdir()
    async with open_store(store_path) as store:
        await fill(store)
        expected = await replayed(store)
        report = await trio.to_thread.run_sync(back_up, store_path, target)
    assert (report.entries, report.events, report.series, report.rules) == (4, 2003, 2000, 1)
    assert report.size_bytes == target.stat().st_size
    assert files_in(target.parent) == ["backup.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    for table in ("rules", "rule_notifications", "incidents", "notifications", "timeline", "meta"):
        rows = f"SELECT * FROM {table}"  # noqa: S608  # one of these names
        assert seen_by_another(target, rows) == seen_by_another(store_path, rows)
    async with open_store(target) as store:
        assert await replayed(store) == expected


async def test_events_are_appended_between_its_steps_and_the_copy_is_of_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEP_PAGES", 4)
    store_path, target = tmp_path / "alertd.db", tmp_path / "backup.db"
    async with open_store(store_path) as store:
        await fill(store)
        appended = 0

        def append_meanwhile(what: str, _done: int, _total: int) -> None:
            nonlocal appended
            if what == "copying":
                trio.from_thread.run(store.events.append, [batch(50)], [])
                appended += 1

        make = partial(back_up, store_path, target, on_progress=append_meanwhile)
        report = await trio.to_thread.run_sync(make)
        assert appended > 5
        assert report.entries == 4
        assert len(await replayed(store)) == 4 + appended


async def test_the_write_ahead_log_that_piled_up_meanwhile_is_copied_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "CHECKPOINT_BYTES", 100_000)
    store_path = tmp_path / "alertd.db"
    async with open_store(store_path) as store:
        await fill(store)
        before_bytes = store_path.stat().st_size
        await store.events.append([batch(20_000)], series(18_000, first=2000))
        await trio.to_thread.run_sync(back_up, store_path, tmp_path / "backup.db")
        assert store_path.stat().st_size > before_bytes + 400_000


def test_an_older_file_is_replaced_only_if_told_to(tmp_path: Path) -> None:
    store_path, target = tmp_path / "alertd.db", tmp_path / "backup.db"
    target.write_text("precious")
    make_store(store_path)
    with pytest.raises(Conflict, match="--force"):
        back_up(store_path, target)
    assert target.read_text() == "precious"
    back_up(store_path, target, replace=True)
    assert check_store(target).events == 2003


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("alertd.db", "a file of its own"),
        (".", "a file of its own"),
        ("no/b.db", "no folder"),
        (250 * "b", "cannot write .*too long"),
    ],
)
def test_a_target_that_cannot_be_is_refused(tmp_path: Path, target: str, reason: str) -> None:
    make_store(tmp_path / "alertd.db")
    with pytest.raises(AlertdError, match=reason):
        back_up(tmp_path / "alertd.db", tmp_path / target, replace=True)


def test_without_a_database_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(StoreOpenError, match=r"no database .*alertd\.db"):
        back_up(tmp_path / "alertd.db", tmp_path / "backup.db")
    assert files_in(tmp_path) == []


def test_an_unsound_copy_does_not_get_its_name(tmp_path: Path) -> None:
    store_path = tmp_path / "alertd.db"
    make_store(store_path)
    change_directly(store_path, "UPDATE event_log SET body = zeroblob(length(body))")
    with pytest.raises(StoreCorrupt, match=r"the copy of .* entry 1: the checksum"):
        back_up(store_path, tmp_path / "backup.db")
    assert not [name for name in files_in(tmp_path) if "backup" in name]


async def test_it_gives_up_before_events_would_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = partial(existing.WalGuard, limit_bytes=1 << 20)
    monkeypatch.setattr(backup, "WalGuard", limited)
    store_path = tmp_path / "alertd.db"
    async with open_store(store_path) as store:
        await fill(store)
        await store.events.append([batch(60_000)], series(58_000, first=2000))
        with pytest.raises(TookTooLong, match="grown to 1 MiB"):
            await trio.to_thread.run_sync(back_up, store_path, tmp_path / "backup.db")
        await store.events.append([batch()], [])
    assert files_in(tmp_path) == ["alertd.db", "alertd.db.lock", "alertd.db.reserve"]


def test_a_database_of_another_program_is_not_backed_up(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "photos.db"))
    other.execute("CREATE TABLE photos (name)")
    other.close()
    with pytest.raises(StoreOpenError, match="another program"):
        back_up(tmp_path / "photos.db", tmp_path / "backup.db")
