"""The command line: ``alertd run | check | version``.

Owns the words a person types, what is printed, and the exit codes. Leaves the daemon to
``app.py``, which is imported only to run it, so that ``check`` stays quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import click
import structlog

from alertd import __version__, logs
from alertd.config import Config, load
from alertd.config_errors import ConfigError
from alertd.errors import AlertdError

EXIT_BAD_CONFIGURATION: Final = 1
EXIT_FAILED: Final = 3
DEFAULT_PATHS: Final = (Path("etc/alertd.toml"), Path("/etc/alertd/alertd.toml"))

EXIT_CODES: Final = """\b
Exit codes:
  0  done; run: stopped as asked
  1  the configuration cannot be used; every mistake is on standard error
  2  the command was not understood
  3  the daemon could not start, or failed while it ran
"""

_config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="ALERTD_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help=f"The configuration. Default: {DEFAULT_PATHS[0]} here, then {DEFAULT_PATHS[1]}.",
)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="alertd %(version)s")
def main() -> None:
    """Watch pushed events and tell people when something is wrong."""


@main.command()
@_config_option
def run(config_path: Path | None) -> None:
    """Run the daemon.

    SIGTERM and SIGINT stop it; SIGHUP reads the configuration again.
    """
    path, config = _load(config_path)
    logs.configure(config.logging)
    for warning in config.warnings:
        structlog.get_logger(__name__).warning("configuration", problem=str(warning))
    from alertd import app

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


@main.command()
@_config_option
def check(config_path: Path | None) -> None:
    """Say what is wrong with the configuration.

    Every mistake is named with its file and line. Nothing is started.
    """
    path, config = _load(config_path)
    for warning in config.warnings:
        click.secho(f"warning: {warning}", err=True, fg="yellow")
    rules, channels = len(config.rules), len(config.channels)
    click.secho(
        f"{path}: ok, {rules} {'rule' if rules == 1 else 'rules'}, "
        f"{channels} {'channel' if channels == 1 else 'channels'}",
        fg="green",
    )


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"alertd {__version__}")


def _load(given: Path | None) -> tuple[Path, Config]:
    """Return the configuration and where it was found, or print what is wrong and exit."""
    path = given or next((default for default in DEFAULT_PATHS if default.exists()), None)
    if path is None:
        tried = " nor ".join(map(str, DEFAULT_PATHS))
        _refuse([f"no configuration: there is neither {tried}; name one with --config FILE"])
    try:
        return path, load(path)
    except ConfigError as error:
        _refuse([str(problem) for problem in error.problems])


def _expected_reasons(error: Exception) -> Iterator[str]:
    """Yield the messages of a group of nothing but ``AlertdError``, nurseries make such groups."""
    if isinstance(error, ExceptionGroup) and error.split(AlertdError)[1] is None:
        for inner in error.exceptions:
            if isinstance(inner, ExceptionGroup):
                yield from _expected_reasons(inner)
            else:
                yield str(inner)


def _refuse(lines: list[str]) -> NoReturn:
    for line in lines:
        click.secho(line, err=True, fg="red")
    sys.exit(EXIT_BAD_CONFIGURATION)


def _fail(reasons: list[str]) -> NoReturn:
    for reason in reasons:
        structlog.get_logger(__name__).critical("daemon_failed", reason=reason)
    sys.exit(EXIT_FAILED)
