"""Every command that README, docs/ and ``--help`` show is understood."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from alertd import cli
from tests.unit.cli.test_commands import commands

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCED = re.compile(r"^```(?:console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
IN_PROSE = re.compile(r"`(alertd [^`]+)`")
COMMAND = re.compile(r"^(?:\$ )?(?:sudo )?(alertd .*)$", re.MULTILINE)


def shown_in(page: str) -> Iterator[str]:
    for block in FENCED.findall(page):
        yield from COMMAND.findall(block.replace("\\\n", " "))
    for command in IN_PROSE.findall(FENCED.sub("", page)):
        yield re.sub(r"\s+", " ", command)


def shown() -> list[tuple[str, str]]:
    """Return each command that is shown, and where."""
    found = [
        (page.name, command)
        for page in PAGES
        for command in shown_in(page.read_text(encoding="utf-8"))
    ]
    for path, command in commands(cli.main):
        found += [(f"{' '.join(path)} --help", one) for one in examples(command.epilog)]
    return found


def examples(epilog: str | None) -> list[str]:
    return re.findall(r"^ +(alertd .*)$", epilog or "", re.MULTILINE)


def refusal(line: str) -> str | None:
    """Return why ``alertd`` would not understand ``line``; None if it does. Nothing is done."""
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: click.Command = cli.main
    context = click.Context(command)
    while isinstance(command, click.Group):
        if not words:
            return None
        found = command.get_command(context, words.pop(0))
        if found is None:
            return "there is no such command"
        command = found
    try:
        command.make_context("alertd", words)
    except click.UsageError as error:
        return error.format_message()
    except SystemExit:
        return None  # --help
    return None


@pytest.mark.parametrize(("where", "line"), sorted(set(shown())))
def test_a_command_that_is_shown_is_understood(
    where: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ann.token").touch()  # a command before made it
    assert refusal(line) is None, where


def test_commands_are_found_on_all_pages_and_one_that_is_mistyped_is_noticed() -> None:
    found = shown()
    assert len(found) > 50
    assert ("README.md", "alertd silence list") in found
    assert ("silence --help", "alertd silence list") in found
    assert refusal("alertd silence add --for 2h --comment") is not None
    assert refusal("alertd silnce list") is not None
