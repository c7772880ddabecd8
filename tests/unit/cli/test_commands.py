"""What holds of every command of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from alertd import cli
from alertd.cli.commands import has_one_value
from tests.unit.cli.test_cli import invoked


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command, groups too, with what is typed to have it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


OPTIONS = [
    (path, command, option)
    for path, command in commands(cli.main)
    for option in command.params
    if isinstance(option, click.Option)
]


def refusal(command: click.Command, *arguments: str) -> str:
    """Return why ``command`` does not understand ``arguments``; nothing is done."""
    try:
        command.make_context(command.name, list(arguments))
    except click.UsageError as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize(
    ("path", "command", "option"), [each for each in OPTIONS if has_one_value(each[2])], ids=str
)
def test_an_option_that_has_one_value_is_refused_where_it_is_there_twice(
    path: tuple[str, ...], command: click.Command, option: click.Option
) -> None:
    name = option.opts[-1]
    refused = f"{name} is there 2 times, and has one value; give it once"
    assert refusal(command, name, "a", f"{name}=a") == refused, path


@pytest.mark.parametrize(
    ("path", "command", "option"), [each for each in OPTIONS if not has_one_value(each[2])], ids=str
)
def test_a_flag_and_an_option_that_collects_may_be_there_twice(
    path: tuple[str, ...], command: click.Command, option: click.Option
) -> None:
    words = [option.opts[-1]] if option.is_flag else [option.opts[-1], "a=b"]
    assert "is there 2 times, and has one value" not in refusal(command, *words, *words), path


def test_an_option_twice_is_a_command_that_was_not_understood() -> None:
    refused = invoked("silence", "add", "--comment", "a", "--comment", "b", "service=shop")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--comment is there 2 times" in refused.stderr


def help_of(command: click.Command) -> str:
    return command.get_help(click.Context(command, terminal_width=80))


def test_lists_of_commands_have_a_whole_line_for_each() -> None:
    for path, command in [((), cli.main), *commands(cli.main)]:
        if isinstance(command, click.Group):
            listed = help_of(command).partition("Commands:")[2].partition("\n\n")[0]
            assert len(listed.splitlines()) > 1
            assert "..." not in listed, path


def test_help_says_what_the_exit_codes_of_a_command_mean() -> None:
    for path, command in commands(cli.main):
        if path != ("version",):
            assert "Exit codes:\n  " in help_of(command), path


def test_there_are_commands_with_options_of_both_kinds() -> None:
    assert len({path for path, _, _ in OPTIONS}) > 15
    assert {has_one_value(option) for _, _, option in OPTIONS} == {True, False}
