"""``alertd db check | backup | restore | stats``.

Owns the words and the exit codes of looking after a database. Leaves the work to ``store/``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from alertd import logs
from alertd.cli.commands import group
from alertd.cli.configuration import config_option
from alertd.cli.store_file import EXIT_DAMAGED, failing, find_store, store_option
from alertd.cli.terminal import is_terminal, print_json, progress, size_text
from alertd.config.settings import LoggingConfig
from alertd.store.backup import BackupReport, back_up
from alertd.store.check import CheckReport, check_store
from alertd.store.failures import NO_DATABASE
from alertd.store.restore import RestoreReport
from alertd.store.restore import restore as restore_store
from alertd.store.statistics import StoreFigures, read_figures

EPILOG: Final = """\b
Examples:
  alertd db backup /backup/alertd.db
  alertd db backup /backup/alertd.db --force --store /var/lib/alertd/alertd.db
  alertd db check --store /backup/alertd.db
  alertd db restore /backup/alertd.db

\b
Exit codes:
  0  done; check: nothing is wrong
  1  the configuration cannot be used
  2  the command was not understood
  3  it could not be done, and nothing was changed; standard error says why
  4  the database, or the backup, is damaged
"""


@group(epilog=EPILOG)
def db() -> None:
    """Look after the database: check, backup, restore, stats.

    All of them but restore work while the daemon runs, and do not hold it up. At a terminal they
    answer in words; into a pipe or a file they write one JSON document.
    """
    logs.configure(LoggingConfig(level="warning"))  # to standard error: the other is for answers


@db.command()
@store_option
@config_option
def check(store_path: Path | None, config_path: Path | None) -> None:
    """Read everything that is stored, and say what is wrong.

    SQLite checks the file's structure, every row must refer to something that is there, and every
    event, rule and message is decoded and its checksum compared. Nothing is changed. Takes about
    10 seconds a gigabyte; the daemon may be running.
    """
    with failing(), progress() as report:
        found = check_store(find_store(store_path, config_path), report)
    if not is_terminal():
        print_json(found)
    else:
        _tell_findings(found, is_named=store_path is not None)
    if not found.is_sound:
        sys.exit(EXIT_DAMAGED)


@db.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="PATH")
@click.option("--force", is_flag=True, help="Replace PATH if it is there.")
@store_option
@config_option
def backup(target: Path, force: bool, store_path: Path | None, config_path: Path | None) -> None:
    """Copy the database to the file PATH.

    The copy is of one moment, is checked as `alertd db check` would before it gets its name, and
    is one file that holds everything: rules, events, incidents, what is still to be told, and the
    newest snapshot. The daemon may be running and taking events meanwhile.
    """
    with failing(), progress() as report:
        made = back_up(
            find_store(store_path, config_path), target, replace=force, on_progress=report
        )
    if not is_terminal():
        print_json(made)
        return
    click.secho(
        f"{made.path}: {size_text(made.size_bytes)}, {made.events:,} events, {made.rules:,} rules; "
        "checked and sound",
        fg="green",
    )
    click.echo(f"a start after its restore will replay {_replayed(made)}")


@db.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="PATH")
@store_option
@config_option
def restore(source: Path, store_path: Path | None, config_path: Path | None) -> None:
    """Put the backup PATH in the place of the database.

    Stop the daemon first: this refuses while one uses the database. The backup is checked before
    anything is touched, and its copy again. The database that was there is kept beside the new
    one, with its snapshots. How many events the next start has to replay is told. Notifications
    that were pending when the backup was made are sent, again perhaps, under the same keys.
    """
    with failing(), progress() as report:
        restored = restore_store(source, find_store(store_path, config_path), report)
    if not is_terminal():
        print_json(restored)
        return
    click.secho(
        f"{restored.path}: restored, {restored.events:,} events, {restored.rules:,} rules; start "
        "alertd now",
        fg="green",
    )
    click.echo(f"it will replay {_replayed(restored)}")
    if restored.kept_as is not None:
        click.echo(f"what was there is kept as {restored.kept_as}")


@db.command()
@store_option
@config_option
def stats(store_path: Path | None, config_path: Path | None) -> None:
    """Show what is in the database, and how much room it takes.

    Table by table, with the newest snapshots. Reads the file once; the daemon may be running.
    """
    with failing(), progress() as report:
        figures = read_figures(find_store(store_path, config_path), report)
    if not is_terminal():
        print_json(figures)
    else:
        _tell_figures(figures)


def _replayed(report: BackupReport | RestoreReport) -> str:
    events = f"{report.events_behind_snapshot:,} events"
    return events if report.snapshot_position is not None else f"the whole log, {events}"


def _tell_findings(found: CheckReport, *, is_named: bool) -> None:
    """Print what was found, and the remedy: a file that is named may be a backup, or anything."""
    for finding in found.findings:
        click.secho(finding, fg="red")
    if found.findings == (NO_DATABASE,) and is_named:
        click.echo(f"{found.path} is no database of alertd's and no backup; name another file")
        return
    if not found.is_sound:
        backup = "if it is a backup, take another; if it is in use, " if is_named else ""
        click.echo(f"{found.path} is damaged; {backup}restore a backup: alertd db restore PATH")
        return
    click.secho(
        f"{found.path}: sound; {found.events:,} events of {found.series:,} series in "
        f"{found.entries:,} entries, {found.rules:,} rules, all decoded",
        fg="green",
    )


def _tell_figures(figures: StoreFigures) -> None:
    console = Console()
    per_event = figures.bytes_per_event
    summary = {
        "database": f"{figures.path} (schema {figures.schema})",
        "size": f"{size_text(figures.size_bytes)}, {size_text(figures.free_bytes)} of it free",
        "write-ahead log": size_text(figures.wal_bytes),
        "events": f"{figures.events:,}"
        + ("" if per_event is None else f", {per_event:.1f} bytes each in all"),
        "event times": f"{figures.oldest_event or '-'} to {figures.newest_event or '-'}",
        "log": f"up to position {figures.log_position:,}",
    }
    grid = Table.grid(padding=(0, 2))
    for name, text in summary.items():
        grid.add_row(name, text)
    console.print(grid)
    tables = Table(box=SIMPLE_HEAD)
    tables.add_column("table")
    tables.add_column("rows", justify="right")
    tables.add_column("size", justify="right")
    for table in figures.tables:
        tables.add_row(table.name, f"{table.rows:,}", size_text(table.size_bytes))
    console.print(tables)
    snapshots = Table(box=SIMPLE_HEAD)
    for heading in ("snapshot at position", "size", "written"):
        snapshots.add_column(heading, justify="right")
    for file in figures.snapshots:
        snapshots.add_row(f"{file.position:,}", size_text(file.size_bytes), file.written_at)
    console.print(snapshots if figures.snapshots else "no snapshots")
