"""A check finds what is wrong and names it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import apsw
import pytest

from alertd.store import check, existing
from alertd.store.check import check_store
from alertd.store.existing import TookTooLong
from alertd.store.failures import StoreOpenError
from alertd.store.schema import MIGRATIONS
from tests.unit.store.store_samples import (
    change_directly,
    make_store,
    record,
    seen_by_another,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "alertd.db"
    make_store(path)
    return path


def test_a_sound_database_is_counted_through(path: Path) -> None:
    report = check_store(path)
    assert report.is_sound
    assert report.schema == len(MIGRATIONS)
    assert (report.entries, report.events, report.series, report.rules) == (4, 2003, 2000, 1)


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDATE event_log SET body = zeroblob(length(body)) WHERE position = 2", "entry 2: the c"),
        ("DELETE FROM event_log WHERE position = 2", "event_log has no entry 2"),
        ("DELETE FROM series WHERE id = 1999", "entry 1 is about an unknown series"),
        ("UPDATE series SET labels = '[' WHERE id = 7", "series 7: "),
        ("UPDATE incidents SET group_labels = 'no JSON'", "group labels are no JSON"),
        ("UPDATE notifications SET view = 'no JSON'", "view of the incident is no JSON"),
        ("DELETE FROM messages", "the message that tells it is not there"),
        ("UPDATE rules SET version = 1", f"rules: {record().id} is not what the log made it"),
        (
            "DELETE FROM rule_notifications; DELETE FROM rules",
            f"rules: {record().id} is in the log only",
        ),
        ("UPDATE rules SET spec = json_set(spec, '$.type', 'ODD')", f"rule {record().id}: "),
        ("DELETE FROM rules", "rule_notifications: a row refers to nothing in rules"),
        ("DELETE FROM incidents", "notifications: row 1 refers to nothing in incidents"),
    ],
)
def test_what_is_wrong_is_named(path: Path, sql: str, finding: str) -> None:
    change_directly(path, sql)
    findings = check_store(path).findings
    assert any(finding in each for each in findings), findings


@pytest.mark.parametrize("table", ["event_log", "incidents", "incidents_by_time", "meta"])
def test_a_damaged_page_is_found(path: Path, table: str) -> None:
    ((page,),) = seen_by_another(
        path,
        f"SELECT rootpage FROM sqlite_schema WHERE name = '{table}'",  # noqa: S608
    )
    assert isinstance(page, int)
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 512)
    assert check_store(path).findings


def test_an_index_that_does_not_fit_its_table_is_found(path: Path) -> None:
    """``quick_check``, which the daemon starts with, does not look for this."""
    change_directly(
        path,
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = replace(sql, '(greatest_us, least_us)', "
        "'(least_us, greatest_us)') WHERE name = 'event_log_by_time'",
    )
    assert any("event_log_by_time" in finding for finding in check_store(path).findings)


def test_what_retention_removed_is_not_missed(path: Path) -> None:
    change_directly(path, "DELETE FROM event_log WHERE position <= 3")
    assert check_store(path).is_sound


def test_it_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    check_store(path)
    assert path.read_bytes() == before


def test_a_check_that_holds_up_the_write_ahead_log_for_too_long_is_given_up(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(existing, "PROGRESS_STEPS", 1)
    monkeypatch.setattr(check, "WalGuard", partial(existing.WalGuard, limit_bytes=1000))
    path.with_name("alertd.db-wal").write_bytes(bytes(1000))
    with pytest.raises(TookTooLong, match="cannot check the structure"):
        check_store(path)


def test_a_database_of_another_schema_is_not_judged(path: Path) -> None:
    for schema, who in ((99, "the newer alertd"), (1, "start this alertd on it once")):
        change_directly(path, f"PRAGMA user_version = {schema}")
        with pytest.raises(StoreOpenError, match=who):
            check_store(path)


def test_what_is_no_database_is_damage_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"not a database, but a letter to a friend" * 200)
    assert "not an alertd database" in check_store(tmp_path / "letter").findings[0]
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StoreOpenError, match="there is no database"):
            check_store(path)


def test_a_killed_daemons_write_ahead_log_belongs_to_its_database(path: Path) -> None:
    """What is checked is what a start would find, not the file alone."""
    connection = apsw.Connection(str(path))
    connection.pragma("wal_autocheckpoint", 0)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("UPDATE rules SET version = 1")
    connection.close()
    assert path.with_name("alertd.db-wal").stat().st_size > 0
    assert not check_store(path).is_sound
