"""The database that a command is about, and what ends the command when it says no.

Owns the option ``--store`` and the exit codes of commands that read or change a database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import click

from alertd.cli.configuration import load_configuration
from alertd.errors import AlertdError
from alertd.store.failures import StoreCorrupt

EXIT_FAILED: Final = 3
EXIT_DAMAGED: Final = 4

store_option = click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The database. Default: store.path of the configuration.",
)


def find_store(store_path: Path | None, config_path: Path | None) -> Path:
    """Return the database's path, as it is given or configured."""
    path = store_path or load_configuration(config_path)[1].store.resolve_path()
    return path.resolve()


@contextmanager
def failing() -> Iterator[None]:
    """End the process with a line and an exit code for what the store says no to."""
    try:
        yield
    except StoreCorrupt as error:
        _end(error, EXIT_DAMAGED)
    except AlertdError as error:
        _end(error, EXIT_FAILED)


def _end(error: AlertdError, code: int) -> NoReturn:
    click.secho(str(error), err=True, fg="red")
    sys.exit(code)
