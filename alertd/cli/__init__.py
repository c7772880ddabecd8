"""The command line: what a person types.

Owns the group of commands and the meaning of their exit codes. Each command stands in a module of
its own kind; ``configuration.py`` finds and loads the configuration for all of them.
"""

from __future__ import annotations

from typing import Final

import click

from alertd import __version__
from alertd.cli.commands import Group
from alertd.cli.loading import load

EXIT_CODES: Final = """\b
Exit codes:
  0  done; run: stopped as asked
  1  the configuration cannot be used; every mistake is on standard error
  2  the command was not understood
  3  the daemon could not start, or failed while it ran; other commands: it could not be done
  4  the database, or the backup, is damaged
"""


_MODULES: Final = {
    **dict.fromkeys(("run", "version"), "daemon"),
    **dict.fromkeys(("incidents", "why", "ack"), "incidents"),
    **{name: name for name in ("check", "db", "events", "messages", "notify", "reload")},
    **{name: name for name in ("route", "silence", "status", "token")},
}
"""Where each command stands."""


class _Commands(Group):
    """Imports the command that was named, and no other: the daemon needs nothing of the rest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names, for ``--help`` and for who mistypes one."""
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of that name."""
        module = _MODULES.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(load(f"alertd.cli.{module}"), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Do as any group, and know which command may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=_MODULES, ctx=ctx) from None


@click.group(
    cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="alertd %(version)s")
def main() -> None:
    """Watch pushed events and tell people when something is wrong."""
