"""``alertd check``: what is wrong with a configuration, before anything is started.

Owns what is printed of it, and the look at the database that it names: whether a start would make a
new one, and the rules in it that were made over HTTP. That is one short read, by which a daemon
that runs is not disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Sized
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from alertd.cli.commands import command
from alertd.cli.configuration import config_option, examine_configuration, refuse
from alertd.cli.store_file import failing, store_option
from alertd.config.clashes import clash_problem, clashes
from alertd.config.settings import Config
from alertd.errors import AlertdError
from alertd.rules import RuleRecord, Source

EPILOG: Final = """\b
Exit codes:
  0  it can be used, also where there are warnings
  1  it cannot be used; every mistake is on standard error
  2  the command was not understood
  3  the database that was named with --store could not be read
  4  the database that was named with --store is damaged
"""


@command(epilog=EPILOG)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@store_option
@click.pass_context
def check(
    context: click.Context, file: Path | None, config_path: Path | None, store_path: Path | None
) -> None:
    """Say what is wrong with a configuration.

    That is FILE, or what --config says. Every mistake is named with its file and line, and so is
    what works but is most likely not meant: a warning. Nothing is started. Rules made over HTTP
    are considered too, for they have names and channels as well: they are read from the database,
    if there is one. Where store.path names a database that is not there yet, that is noted.
    """
    option = context.get_parameter_source("config_path")
    if file is not None and option is ParameterSource.COMMANDLINE:
        raise click.UsageError("name one configuration, as FILE or with --config")
    path, examined = examine_configuration(file or config_path)
    config = examined.config
    stored = _stored_rules(store_path, config)
    warnings = examined.warnings(rule.spec for rule in stored if rule.source is Source.API)
    for warning in warnings:
        click.secho(f"{warning.place}: warning: {warning.text}", err=True, fg="yellow")
    if store_path is None and (note := _of_new_store(config)) is not None:
        place = examined.documents[0].problem(("store", "path"), note)
        click.secho(f"{place.place}: note: {place.text}", err=True, fg="cyan")
    found = clashes(config.rules, stored)
    if found:
        refuse([str(clash_problem(rule, owner)) for owner, rule in found.items()])
    counts = [_counted(config.rules, "rule"), _counted(config.channels, "channel")]
    if warnings:
        counts.append(_counted(warnings, "warning"))
    click.secho(f"{path}: ok, {', '.join(counts)}", fg="green")


def _counted(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun if len(things) == 1 else f'{noun}s'}"


def _stored_rules(given: Path | None, config: Config) -> list[RuleRecord]:
    """Return the rules in the database; none where none was named and none can be read."""
    if given is not None:
        with failing():
            return _read_rules(given)
    path = config.store.resolve_path()
    try:
        return _read_rules(path) if _may_be_there(path) else []
    except AlertdError as error:
        click.secho(f"rules made over HTTP are not considered: {error}", err=True, fg="yellow")
        return []


def _of_new_store(config: Config) -> str | None:
    """Return what becomes of a start if there is no database where the configuration names one.

    None where there is one, and where none is named: then no name can be mistyped.
    """
    if config.store.path is None:
        return None
    path = config.store.resolve_path().resolve()
    if _may_be_there(path):
        return None
    folder = next(filter(_may_be_there, path.parents))
    absent = f"there is no database {path} yet"
    # Path.is_dir raises where the folder above may not be looked into.
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)):
        return f"{absent}, and {folder} is no folder that this user may write to: a start fails"
    missing = "" if folder == path.parent else f", and the folder {path.parent}"
    return f"{absent}: a start makes a new, empty one{missing}"


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that is not to be looked into
        return True


def _read_rules(path: Path) -> list[RuleRecord]:
    """Return the rules in the database at ``path``. Raises as ``existing.opened`` does."""
    from alertd.store.existing import opened  # only who has a database has to wait for SQLite
    from alertd.store.rule_reads import read_rules

    with opened(path, "read the rules") as connection:
        return read_rules(str(path), connection)
