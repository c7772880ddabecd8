"""Opening: one daemon a file, a sound file, a schema that is understood."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import apsw
import pytest
from structlog.testing import capture_logs

from alertd.store import migrations, quick_check
from alertd.store.connection import WRITER_CACHE_KIB, Durability, check_sqlite
from alertd.store.failures import StoreCorrupt, StoreOpenError
from alertd.store.migrations import migrate
from alertd.store.schema import MIGRATIONS
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import batch, change, record, replayed, seen_by_another, series


def settings_of(opened: apsw.Connection) -> dict[str, object]:
    names = ("journal_mode", "synchronous", "mmap_size", "foreign_keys", "wal_autocheckpoint")
    return {name: opened.pragma(name) for name in names}


@pytest.mark.parametrize(
    ("durability", "synchronous"), [(Durability.FULL, 2), (Durability.RELAXED, 1)]
)
async def test_the_writer_has_the_settings_that_durability_rests_on(
    tmp_path: Path, durability: Durability, synchronous: int
) -> None:
    async with open_store(tmp_path / "alertd.db", durability=durability) as store:
        settings = await store.writer.run("look", settings_of)
        # set_wal_hook, which the gauge needs, reports 0 for wal_autocheckpoint too.
        assert settings == {
            "journal_mode": "wal",
            "synchronous": synchronous,
            "mmap_size": 0,
            "foreign_keys": 1,
            "wal_autocheckpoint": 0,
        }


async def test_what_sqlite_holds_of_a_large_file_is_told_and_bounded(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db", durability=Durability.RELAXED) as store:
        at_first_bytes = store.sqlite_bytes
        await store.events.append([], series(5_000))
        for _ in range(50):
            await store.events.append([batch(5_000) for _ in range(10)], [])
        held_bytes = store.sqlite_bytes - at_first_bytes
        assert (tmp_path / "alertd.db").stat().st_size > WRITER_CACHE_KIB * 1024
    assert WRITER_CACHE_KIB * 1024 / 2 < held_bytes < WRITER_CACHE_KIB * 1024 * 1.1


async def test_a_second_daemon_on_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    (tmp_path / "other.db").symlink_to(path)
    async with open_store(path):
        for name in (path, tmp_path / "other.db"):
            with pytest.raises(StoreOpenError, match=rf"another alertd \(process {os.getpid()}\)"):
                async with open_store(name):
                    pytest.fail("two daemons on one database")
    async with open_store(path) as store:
        await store.events.append([batch()], series(3))


async def test_the_database_is_made_with_its_folder_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "alertd.db"
    async with open_store(path) as store:
        await store.events.append([batch()], series(3))
        for name in ("alertd.db", "alertd.db-wal"):
            assert stat.S_IMODE(path.with_name(name).stat().st_mode) == 0o600


async def test_a_path_that_cannot_be_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "alertd.db", tmp_path):
        with pytest.raises(StoreOpenError, match=r"check store\.path"):
            async with open_store(path):
                pytest.fail("opened")


@pytest.mark.parametrize("version", ["3.51.2", "3.7.17", "3.50.9"])
def test_a_sqlite_that_can_corrupt_the_file_is_refused(version: str) -> None:
    with pytest.raises(StoreOpenError, match="pip install --upgrade apsw"):
        check_sqlite(version)


def test_the_sqlite_that_is_here_is_good() -> None:
    check_sqlite(apsw.sqlite_lib_version())
    check_sqlite("3.51.3")


async def test_an_empty_file_is_migrated_from_version_0(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    path.touch()
    with capture_logs() as lines:
        async with open_store(path):
            pass
    created = [line for line in lines if "schema" in line]
    assert [(line["event"], line["schema"]) for line in created] == [
        ("a new store was made: there was none", len(MIGRATIONS))
    ]
    async with open_store(path):
        assert seen_by_another(path, "PRAGMA user_version") == [(len(MIGRATIONS),)]


async def test_each_migration_runs_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await store.rules.apply(change(record()))
    more = ("CREATE TABLE added (x)", "INSERT INTO added VALUES (7)")
    monkeypatch.setattr(migrations, "MIGRATIONS", MIGRATIONS + more)
    for _ in range(2):
        async with open_store(path) as store:
            assert await store.rules.all() == [record()]
            assert seen_by_another(path, "SELECT x FROM added") == [(7,)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alertd.db"
    opened = apsw.Connection(str(path))
    migrate(opened, path)
    broken = "CREATE TABLE added (x); INSERT INTO nowhere VALUES (1)"
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(StoreOpenError, match=rf"schema {len(MIGRATIONS) + 1}.*nowhere"):
        migrate(opened, path)
    assert opened.pragma("user_version") == len(MIGRATIONS)
    assert not opened.table_exists(None, "added")
    opened.close()


async def test_a_schema_from_a_newer_alertd_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await store.writer.run("age", lambda opened: opened.pragma("user_version", 99))
    before = path.read_bytes()
    with pytest.raises(StoreOpenError, match=r"schema 99.*newer alertd"):
        async with open_store(path):
            pytest.fail("opened")
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE photos (name)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreOpenError, match="another program"):
        async with open_store(path):
            pytest.fail("opened")
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    path.write_bytes(b"not a database, but a letter to a friend" * 200)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        async with open_store(path):
            pytest.fail("opened")
    assert path.read_bytes() == before


async def filled(store: Store) -> None:
    await store.events.append([batch(2000)] * 4, series(50))
    await store.rules.apply(change(*(record(f"rule {number}") for number in range(50))))


def damage_root_of(path: Path, table: str) -> None:
    ((page,),) = seen_by_another(
        path,
        f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'",  # noqa: S608  # a table
    )
    assert isinstance(page, int)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(512))


@pytest.mark.parametrize(
    ("table", "whole_file_s"), [("event_log", 60), ("rules", 60), ("rules", 0)]
)
async def test_a_damaged_page_is_found_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, whole_file_s: float
) -> None:
    monkeypatch.setattr(quick_check, "WHOLE_FILE_S", whole_file_s)
    monkeypatch.setattr(quick_check, "_LOOK_STEPS", 1)
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await filled(store)
    damage_root_of(path, table)
    with pytest.raises(StoreCorrupt, match=r"alertd db restore"):
        async with open_store(path):
            pytest.fail("opened")


async def test_a_file_too_large_to_be_checked_in_time_is_opened_and_damage_found_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_check, "WHOLE_FILE_S", 0)
    monkeypatch.setattr(quick_check, "_LOOK_STEPS", 1)
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await filled(store)
    async with open_store(path) as store:
        assert len(await replayed(store)) == 5
    damage_root_of(path, "event_log")
    async with open_store(path) as store:
        with pytest.raises(StoreCorrupt):
            await replayed(store)


async def test_a_long_check_and_a_long_migration_say_that_they_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_check, "TELL_EVERY_S", 0)
    monkeypatch.setattr(quick_check, "_LOOK_STEPS", 1)
    told: list[str] = []
    path = tmp_path / "alertd.db"
    async with open_store(path, on_progress=told.append) as store:
        await filled(store)
    assert told[-1] == "migrating the database"
    told.clear()
    async with open_store(path, on_progress=told.append) as store:
        count = len(told)
        assert told[0] == "checking the database"
        await store.events.append([batch()], [])
        assert len(told) == count


async def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, copy = tmp_path / "alertd.db", tmp_path / "copy.db"
    async with open_store(path) as store:
        for _ in range(5):
            await store.events.append([batch(500)], [])
        for suffix in ("", "-wal"):  # what the disk holds at this moment
            copy.with_name(copy.name + suffix).write_bytes(
                path.with_name(path.name + suffix).read_bytes()
            )
    async with open_store(copy) as store:
        assert [position for position, _ in await replayed(store)] == [1, 2, 3, 4, 5]
