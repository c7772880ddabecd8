"""``alertd check``: what is wrong with a configuration, before anything is started.

Owns what is printed of it, and the look at the rules that were made over HTTP, which are in the
database of the same configuration, if there is one. That is one short read, by which a daemon that
runs is not disturbed.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from alertd.cli.configuration import config_option, load_configuration, refuse
from alertd.cli.store_file import failing, store_option
from alertd.config.clashes import clash_problem, clashes
from alertd.config.settings import Config
from alertd.errors import AlertdError
from alertd.rules import RuleRecord


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@store_option
@click.pass_context
def check(
    context: click.Context, file: Path | None, config_path: Path | None, store_path: Path | None
) -> None:
    """Say what is wrong with the configuration, FILE or that of --config.

    Every mistake is named with its file and line. Nothing is started. A rule must not have the name
    of one that was made over HTTP: those are read from the database, if there is one.
    """
    option = context.get_parameter_source("config_path")
    if file is not None and option is ParameterSource.COMMANDLINE:
        raise click.UsageError("name one configuration, as FILE or with --config")
    path, config = load_configuration(file or config_path)
    stored = _stored_rules(store_path, config)
    found = clashes(config.rules, stored)
    if found:
        refuse([str(clash_problem(rule, owner)) for owner, rule in found.items()])
    rules, channels = len(config.rules), len(config.channels)
    click.secho(
        f"{path}: ok, {rules} {'rule' if rules == 1 else 'rules'}, "
        f"{channels} {'channel' if channels == 1 else 'channels'}",
        fg="green",
    )


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


def _may_be_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that is not to be looked into
        return True


def _read_rules(path: Path) -> list[RuleRecord]:
    """Return the rules in the database at ``path``. Raises as ``existing.opened`` does."""
    from alertd.store.existing import opened  # for those who have a database: it takes long to load
    from alertd.store.rules import read_rules

    with opened(path, "read the rules") as connection:
        return read_rules(str(path), connection)
