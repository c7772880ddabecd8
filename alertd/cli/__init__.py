"""The command line: what a person types.

Owns the group of commands and the meaning of their exit codes. Each command stands in a module of
its own kind; ``configuration.py`` finds and loads the configuration for all of them.
"""

from __future__ import annotations

from typing import Final

import click

from alertd import __version__
from alertd.cli.daemon import check, run, version
from alertd.cli.db import db
from alertd.cli.events import events
from alertd.cli.notify import notify
from alertd.cli.route import route
from alertd.cli.silence import silence
from alertd.cli.token import token

EXIT_CODES: Final = """\b
Exit codes:
  0  done; run: stopped as asked
  1  the configuration cannot be used; every mistake is on standard error
  2  the command was not understood
  3  the daemon could not start, or failed while it ran; db, events: it could not be done
  4  db, events: the database, or the backup, is damaged
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="alertd %(version)s")
def main() -> None:
    """Watch pushed events and tell people when something is wrong."""


for command in (run, check, db, events, notify, route, silence, token, version):
    main.add_command(command)
