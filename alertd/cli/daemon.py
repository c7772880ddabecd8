"""``alertd run | version``.

Owns how the daemon's end is told. Leaves the daemon to ``app.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import click
import structlog

from alertd import __version__, logs
from alertd.cli.commands import command
from alertd.cli.configuration import config_option, load_configuration
from alertd.cli.loading import load
from alertd.errors import AlertdError

EXIT_FAILED: Final = 3
EPILOG: Final = """\b
Exit codes:
  0  stopped as asked
  1  the configuration cannot be used; every mistake is on standard error
  2  the command was not understood
  3  it could not start, or failed while it ran; the log says why
"""


@command(epilog=EPILOG)
@config_option
def run(config_path: Path | None) -> None:
    """Run the daemon.

    It runs until SIGTERM or SIGINT (Ctrl-C) stops it. Its log is on standard error. When a file of
    the configuration changes, or on SIGHUP, it reads that again.
    """
    path, config = load_configuration(config_path)
    logs.configure(config.logging)
    app = load("alertd.app")
    try:
        app.run(path, config)
    except AlertdError as error:
        _fail([str(error)])
    except Exception as error:
        reasons = list(_expected_reasons(error))
        if reasons:
            _fail(reasons)
        structlog.get_logger(__name__).critical("daemon_failed", exc_info=error)
        sys.exit(EXIT_FAILED)


@command()
def version() -> None:
    """Print the version."""
    click.echo(f"alertd {__version__}")


def _expected_reasons(error: Exception) -> Iterator[str]:
    """Yield the messages of a group of nothing but ``AlertdError``, nurseries make such groups."""
    if isinstance(error, ExceptionGroup) and error.split(AlertdError)[1] is None:
        for inner in error.exceptions:
            if isinstance(inner, ExceptionGroup):
                yield from _expected_reasons(inner)
            else:
                yield str(inner)


def _fail(reasons: list[str]) -> NoReturn:
    for reason in reasons:
        structlog.get_logger(__name__).critical("daemon_failed", reason=reason)
    sys.exit(EXIT_FAILED)
