"""Where a command's configuration comes from.

Owns the option ``--config``, the places that are looked at without it, and what is printed when
there is no usable configuration.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from alertd.config.errors import ConfigError
from alertd.config.lint import Examined, examine
from alertd.config.settings import Config

EXIT_BAD_CONFIGURATION: Final = 1
DEFAULT_PATHS: Final = (Path("etc/alertd.toml"), Path("/etc/alertd/alertd.toml"))

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    envvar="ALERTD_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help=f"The configuration. Default: {DEFAULT_PATHS[0]} here, then {DEFAULT_PATHS[1]}.",
)


def load_configuration(given: Path | None) -> tuple[Path, Config]:
    """Return the configuration and where it was found, or print what is wrong and exit."""
    path, examined = examine_configuration(given)
    return path, examined.config


def examine_configuration(given: Path | None) -> tuple[Path, Examined]:
    """Do as ``load_configuration``; what is returned can be asked for warnings."""
    path = given or next((default for default in DEFAULT_PATHS if default.exists()), None)
    if path is None:
        tried = " nor ".join(map(str, DEFAULT_PATHS))
        refuse([f"no configuration: there is neither {tried}; name one with --config FILE"])
    try:
        return path, examine(path)
    except ConfigError as error:
        refuse([str(problem) for problem in error.problems])


def refuse(lines: list[str]) -> NoReturn:
    """Print what is wrong with a configuration, and exit."""
    for line in lines:
        click.secho(line, err=True, fg="red")
    sys.exit(EXIT_BAD_CONFIGURATION)
