"""``alertd reload``: have a running daemon read its configuration again, and see what comes of it.

Owns the words of the command and what it prints. The daemon does the work, on its own files: those
that it was started with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from alertd.cli.commands import command
from alertd.cli.daemon_api import ask, daemon_options
from alertd.cli.terminal import is_terminal, print_json
from alertd.cli.warnings import tell_warnings

EPILOG: Final = """\b
Exit codes:
  0  done; what changed is printed
  2  the command was not understood
  3  the daemon could not be reached, or refused: nothing was changed, and every mistake is on
     standard error with its file and line
"""

_KINDS: Final = ("rules", "channels", "tokens")


@command(epilog=EPILOG)
@daemon_options
def reload(url: str) -> None:
    """Have a running daemon read its configuration again.

    It does so by itself when a file changes, and on SIGHUP; here what comes of it is told.
    """
    report = ask(url, "POST", "/api/reload")
    tell_warnings(report)
    if not is_terminal():
        print_json(report)
        return
    for line in _changes(report) or ["nothing has changed"]:
        click.secho(line, fg="green")
    for section in report["atNextStart"]:
        click.secho(f"a change of [{section}] takes effect at the next start", fg="yellow")


# Any: a reply as the API gives it.
def _changes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reload did, in lines."""
    return [*_listed(report), *(f"[{section}] applies now" for section in report["policies"])]


# Any: as above.
def _listed(report: Mapping[str, Any]) -> Iterator[str]:
    for kind in _KINDS:
        for what, names in report[kind].items():
            if names:
                yield f"{kind} {what}: {', '.join(names)}"
