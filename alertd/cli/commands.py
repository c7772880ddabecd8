"""What every command and group of the command line is made of.

Owns what click leaves open. An option that has one value may be given once: of two click takes the
last without a word, and who types two means something else. And whoever asks a command for help
sees the examples and the exit codes of its group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click

from alertd.names import repeated


class Command(click.Command):
    """A command that refuses a second value where only one counts."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Do as any command. Raises ``UsageError`` for an option that is there twice."""
        _, _, in_order = self.make_parser(ctx).parse_args(list(args))
        _refuse_repeated(ctx, in_order)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands, whose examples and exit codes are those of each of them."""

    command_class = Command

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Do as any group; what stands below the group's help stands below the command's, too."""
        cmd.epilog = cmd.epilog or self.epilog
        super().add_command(cmd, name)


# Any: what ``click.command`` and ``click.group`` take.
def command(**attributes: Any) -> Callable[[Callable[..., None]], Command]:
    """Return what makes a function a command."""
    return click.command(cls=Command, **attributes)


# Any: as above.
def group(**attributes: Any) -> Callable[[Callable[..., None]], Group]:
    """Return what makes a function a group of commands."""
    return click.group(cls=Group, **attributes)


def _refuse_repeated(ctx: click.Context, in_order: Iterable[click.Parameter]) -> None:
    """Raise ``UsageError`` for the first option with one value that has been given several."""
    for parameter, count in repeated(in_order).items():
        if has_one_value(parameter):
            raise click.UsageError(
                f"{parameter.opts[-1]} is there {count} times, and has one value; give it once", ctx
            )


def has_one_value(parameter: click.Parameter) -> bool:
    """Return whether of several values for ``parameter`` only one could count."""
    if not isinstance(parameter, click.Option):
        return False
    return not (parameter.multiple or parameter.is_flag or parameter.count)
