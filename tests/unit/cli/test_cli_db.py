"""``alertd db``: what a person types and reads, and what a script can rely on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio

from alertd.cli.db import db
from alertd.store.snapshots import snapshots_folder, write_snapshot
from alertd.store.store import open_store
from tests.unit.cli.terminals import at_a_terminal
from tests.unit.cli.test_cli import invoked
from tests.unit.store.store_samples import change_directly, make_store

COMMANDS = ("check", "backup", "restore", "stats")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "alertd.db"
    make_store(path)
    write_snapshot(snapshots_folder(path), 4, [b"state"])
    return path


def test_a_pipe_gets_json_and_a_terminal_words(path: Path, tmp_path: Path) -> None:
    checked = invoked("db", "check", "--store", str(path))
    assert checked.exit_code == 0
    found = json.loads(checked.stdout)
    assert found["findings"] == []
    assert "snapshotPosition" not in found, "the store's own lie beside it"
    assert checked.stderr == ""
    code, text = at_a_terminal("db", "check", "--store", path)
    assert code == 0
    assert "sound; 2,003 events of 2,000 series in 4 entries, 1 rules" in text
    code, text = at_a_terminal("db", "backup", "--store", path, tmp_path / "b.db")
    assert code == 0
    assert "2,003 events" in text
    code, text = at_a_terminal("db", "restore", "--store", path, tmp_path / "b.db")
    assert code == 0
    assert f"kept as {path}.before-restore-" in text


def test_stats_tell_tables_events_and_snapshots(path: Path) -> None:
    figures = json.loads(invoked("db", "stats", "--store", str(path)).stdout)
    rows = {table["name"]: table["rows"] for table in figures["tables"]}
    assert (rows["event_log"], rows["rules"], rows["incidents"]) == (4, 1, 1)
    of_no_table = 4096  # the page that says which page refers to which (auto_vacuum)
    in_tables = sum(table["sizeBytes"] for table in figures["tables"])
    assert in_tables + of_no_table == figures["sizeBytes"]
    assert figures["events"] == 2003
    assert figures["bytesPerEvent"] == figures["sizeBytes"] / 2003
    assert figures["newestEvent"] == "2025-06-15T15:06:40.000000Z"
    assert [file["position"] for file in figures["snapshots"]] == [4]
    code, text = at_a_terminal("db", "stats", "--store", path)
    assert code == 0
    for part in ("event_log", "2,003, ", "bytes each", "snapshot at position", "2025-06-15T15:06"):
        assert part in text


def test_the_store_is_found_by_the_configuration(path: Path) -> None:
    config = path.with_name("a.toml")
    config.write_text(f'[store]\npath = "{path}"\n')
    result = invoked("db", "check", environ={"ALERTD_CONFIG": str(config)})
    assert json.loads(result.stdout)["path"] == str(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_with_its_exit_code_how_it_went(
    tmp_path: Path, path: Path, command: str
) -> None:
    others = {"backup": [str(tmp_path / "b.db")], "restore": [str(path)]}.get(command, [])
    missing = tmp_path / "missing" / "alertd.db"
    if command == "restore":
        others, missing = [str(tmp_path / "missing.db")], path
    refused = invoked("db", command, *others, "--store", str(missing))
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "there is no database" in refused.stderr
    assert invoked("db", command, *others, "--config", str(tmp_path / "no")).exit_code == 1
    assert invoked("db", command, "--store").exit_code == 2


def test_damage_has_an_exit_code_of_its_own(path: Path, tmp_path: Path) -> None:
    change_directly(path, "UPDATE event_log SET body = zeroblob(length(body))")
    checked = invoked("db", "check", "--store", str(path))
    assert checked.exit_code == 4
    assert json.loads(checked.stdout)["findings"]
    code, text = at_a_terminal("db", "check", "--store", path)
    assert code == 4
    assert "alertd db restore" in text
    for command, file in (("backup", tmp_path / "b.db"), ("restore", path)):
        store = path if command == "backup" else tmp_path / "other.db"
        result = invoked("db", command, str(file), "--store", str(store))
        assert (result.exit_code, result.stdout) == (4, "")
        assert "is not sound" in result.stderr


async def test_restore_while_a_daemon_runs_is_refused_with_its_process_id(path: Path) -> None:
    backup = path.with_name("b.db")
    arguments = ["db", "restore", str(backup), "--store", str(path)]
    assert (
        await trio.to_thread.run_sync(
            lambda: invoked("db", "backup", str(backup), "--store", str(path)).exit_code
        )
        == 0
    )
    async with open_store(path):
        result = await trio.to_thread.run_sync(lambda: invoked(*arguments))
    assert result.exit_code == 3
    assert f"process {os.getpid()}" in result.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_documents_the_exit_codes(command: str) -> None:
    text = invoked("db", *command.split(), "--help").stdout
    codes = [line.split()[0] for line in text.partition("Exit codes:")[2].splitlines() if line]
    assert codes == ["0", "1", "2", "3", "4"]


def test_the_commands_are_those_that_are_tested() -> None:
    assert set(db.commands) == set(COMMANDS)


def test_what_is_checked_by_its_name_need_not_be_the_daemons_database(
    path: Path, tmp_path: Path
) -> None:
    letter, half = tmp_path / "letter", tmp_path / "half.db"
    letter.write_text("not a database, but a letter to a friend" * 200)
    assert invoked("db", "backup", "--store", str(path), str(half)).exit_code == 0
    os.truncate(half, half.stat().st_size // 2)
    for file, remedy in (
        (letter, "is no database of alertd's and no backup; name another file"),
        (half, "is damaged; if it is a backup, take another;"),
    ):
        code, text = at_a_terminal("db", "check", "--store", file)
        assert code == 4
        assert remedy in text
        assert ("db restore" in text) == (file == half)
