"""``alertd token``: what lets a program or a person use the HTTP interface.

Owns what is printed where: the token alone on standard output, so that it can be piped into a
file, and what to write into the configuration on standard error.
"""

from __future__ import annotations

from typing import Final

import click
import msgspec

from alertd.access import Scope, new_token, written_hash
from alertd.cli.commands import group

EPILOG: Final = """\b
Examples:
  alertd token new --name web-1 --scope ingest > web-1.token
  alertd token new --name ann --scope read --scope write > ann.token
  alertd incidents --token-file ann.token

\b
Exit codes:
  0  done
  2  the command was not understood
"""


def _quoted(text: str) -> str:
    """Return ``text`` as a string of TOML; JSON's are of the same form."""
    return msgspec.json.encode(text).decode()


@group(epilog=EPILOG)
def token() -> None:
    """Make tokens for the HTTP interface."""


@token.command()
@click.option("--name", required=True, metavar="NAME", help="Who is to have it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=[Scope.INGEST.value],
    show_default=True,
    help="What it may do: push events, read everything, change rules and silences and what is "
    "told, or all of that and reload. May be repeated.",
)
def new(name: str, scopes: tuple[str, ...]) -> None:
    """Make a token that nobody can guess.

    It is printed once, on standard output. The configuration gets its hash, which is printed on
    standard error and is no secret.
    """
    made = new_token()
    click.echo(made)
    click.secho("# For the configuration; a reload is enough:", err=True, dim=True)
    click.echo("[[auth.tokens]]", err=True)
    click.echo(f"name = {_quoted(name)}", err=True)
    click.echo(f"scopes = [{', '.join(map(_quoted, scopes))}]", err=True)
    click.echo(f"hash = {_quoted(written_hash(made))}", err=True)
