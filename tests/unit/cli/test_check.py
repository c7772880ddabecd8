"""``alertd check``: what it knows of the rules that were made over HTTP."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
import trio

from alertd.rules import Source
from alertd.store.store import open_store
from tests.unit.cli.test_cli import invoked
from tests.unit.store.store_samples import change, make_store, record

RULE = """
[[rules]]
name = "{name}"
type = "SIMPLE_COUNT"
metric_name = "m"
threshold = 1
window_duration_secs = 60
"""
TAKEN = "High Error Count"
"""The name of the rule that ``make_store`` has over HTTP."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALERTD_CONFIG", raising=False)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def write(*names: str, store: str = "") -> None:
    rules = "".join(RULE.format(name=name) for name in names)
    Path("a.toml").write_text(f'[store]\npath = "{store}"\n{rules}' if store else rules)


@pytest.mark.parametrize("way", ["the default", "configured", "named"])
def test_check_names_each_rule_whose_name_was_taken_over_http(way: str) -> None:
    path = Path("data/alertd.db" if way == "the default" else "b.db")
    path.parent.mkdir(exist_ok=True)
    make_store(path)
    write("free", TAKEN, store="b.db" if way == "configured" else "")
    result = invoked("check", "a.toml", *(["--store", "b.db"] if way == "named" else []))
    assert (result.exit_code, result.stdout) == (1, "")
    line = 11 if way == "configured" else 9
    assert result.stderr == (
        f"a.toml:{line}: the name 'High Error Count' belongs to a rule that was made over HTTP; "
        f"delete that one (DELETE /api/alerts/{record().id}), or rename one of the two\n"
    )


def test_check_finds_nothing_wrong_with_names_that_are_free_or_the_files_own() -> None:
    async def store_rule() -> None:
        async with open_store(Path("b.db")) as store:
            own = msgspec.structs.replace(record("own"), source=Source.TOML)
            await store.rules.apply(change(own))

    trio.run(store_rule)
    write("own", "free")
    result = invoked("check", "a.toml", "--store", "b.db")
    assert (result.exit_code, result.stdout) == (0, "a.toml: ok, 2 rules, 0 channels\n")


def test_check_does_not_need_a_database_and_makes_none() -> None:
    write(TAKEN)
    assert invoked("check", "a.toml").exit_code == 0
    assert os.listdir() == ["a.toml"]


def test_check_says_so_where_the_database_cannot_be_read_and_checks_the_rest() -> None:
    Path("data").mkdir()
    Path("data/alertd.db").write_bytes(b"no database at all, whatever it is called" * 100)
    write(TAKEN)
    result = invoked("check", "a.toml")
    assert (result.exit_code, result.stdout) == (0, "a.toml: ok, 1 rule, 0 channels\n")
    assert result.stderr.startswith("rules made over HTTP are not considered: ")


@pytest.mark.parametrize("there", [False, True])
def test_a_database_that_was_named_has_to_be_one(there: bool) -> None:
    if there:
        Path("b.db").write_bytes(b"no database at all, whatever it is called" * 100)
    write(TAKEN)
    result = invoked("check", "a.toml", "--store", "b.db")
    assert result.exit_code in (3, 4)
    assert "b.db" in result.stderr


def test_a_file_that_cannot_even_be_looked_at_is_no_reason_to_fail() -> None:
    write(TAKEN, store="x" * 300)
    result = invoked("check", "a.toml")
    assert result.exit_code == 0
    assert "rules made over HTTP are not considered: cannot read the rules: " in result.stderr
    assert "be the daemon's user, or root" in result.stderr


IDLE = """
[channels.ops]
type = "webhook"
url = "http://127.0.0.1:9/"
[channels.idle]
type = "webhook"
url = "http://127.0.0.1:9/"
"""


def test_check_warns_of_what_is_most_likely_not_meant_and_finds_it_usable() -> None:
    Path("a.toml").write_text(IDLE + RULE.format(name="a") + 'notifications = ["ops"]\n')
    result = invoked("check", "a.toml")
    assert (result.exit_code, result.stdout) == (0, "a.toml: ok, 1 rule, 2 channels, 1 warning\n")
    assert result.stderr == (
        "a.toml:5: warning: channels.idle: no rule, route or channel names it: nobody is told "
        "anything over it\n"
    )


def test_check_considers_what_rules_over_http_use() -> None:
    make_store(Path("b.db"))  # with a rule that tells "ops"
    Path("a.toml").write_text(IDLE + RULE.format(name="a") + 'notifications = ["idle"]\n')
    alone = invoked("check", "a.toml")
    assert alone.stderr.startswith("a.toml:2: warning: channels.ops: ")
    with_store = invoked("check", "a.toml", "--store", "b.db")
    assert (with_store.exit_code, with_store.stderr) == (0, "")


@pytest.mark.parametrize(
    ("store", "note"),
    [
        ("b.db", "there is no database {here}/b.db yet: a start makes a new, empty one"),
        (
            "a/b/b.db",
            "there is no database {here}/a/b/b.db yet: a start makes a new, empty one, and the "
            "folder {here}/a/b",
        ),
        (
            "a.toml/b.db",
            "there is no database {here}/a.toml/b.db yet, and {here}/a.toml is no folder that this "
            "user may write to: a start fails",
        ),
    ],
)
def test_a_database_that_is_not_there_yet_is_noted_where_one_is_named(
    tmp_path: Path, store: str, note: str
) -> None:
    write("a", store=store)
    result = invoked("check", "a.toml")
    assert (result.exit_code, result.stdout) == (0, "a.toml: ok, 1 rule, 0 channels\n")
    said = note.format(here=tmp_path.resolve())
    assert result.stderr == f"a.toml:2: note: store.path: {said}\n"
    assert sorted(os.listdir()) == ["a.toml"]


def test_nothing_is_noted_of_a_database_that_is_there_or_that_nobody_has_named() -> None:
    write("a")
    assert invoked("check", "a.toml").stderr == ""
    make_store(Path("b.db"))
    write("a", store="b.db")
    assert invoked("check", "a.toml").stderr == ""
