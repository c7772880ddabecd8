"""What a person sees at a terminal, and what a program gets instead.

Owns the choice between the two: progress only where standard error is a terminal; a table, or
words in colour, only where standard output is one, and one JSON document where it is not. And how
sizes are written for a person.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is; 0 of 0 is unknown."""


def is_terminal() -> bool:
    """Return whether a person reads standard output."""
    return sys.stdout.isatty()


def print_json(document: object) -> None:
    """Print ``document`` as JSON, with all that belongs to it."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def size_text(size_bytes: int) -> str:
    """Return a number of bytes in the unit that makes it short: ``1.5 MiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


@contextmanager
def progress() -> Iterator[Report]:
    """Show a bar for each thing that is done, while the block runs."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total or None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield report
