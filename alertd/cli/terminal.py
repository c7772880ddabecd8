"""What a person sees at a terminal, and what a program gets instead.

Owns the choice between the two: progress only where standard error is a terminal; a table, or
words in colour, only where standard output is one, and one JSON document where it is not. And how
sizes are written for a person. Invariant: a table shows every character of its cells, however
narrow the terminal is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

LONG_WORD_COLUMNS: Final = 16
"""A word that is longer is folded where there is no room, rather than have items as lines."""

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


def print_table(
    titles: Sequence[str],
    rows: Sequence[Sequence[Text]],
    *,
    whole: Sequence[str] = (),
    numbers: Sequence[str] = (),
) -> None:
    """Print ``rows`` below ``titles``; each item as lines where that is too wide to be read.

    Cells are broken between words; those of the columns ``whole``, which are to be copied, and
    ``numbers``, at the right, never. rich itself would cut words, and lose what it cuts off.
    """
    console = Console()
    columns = [(Text(title), *cells) for title, *cells in zip(titles, *rows, strict=True)]
    lines = [max(_longest(cell.plain.splitlines()) for cell in column) for column in columns]
    words = [max(_longest(cell.plain.split()) for cell in column) for column in columns]
    pieces = [max(len(title), LONG_WORD_COLUMNS) for title in titles]
    for at, title in enumerate(titles):
        if title in whole or title in numbers:
            words[at] = pieces[at] = lines[at]
        else:
            pieces[at] = min(pieces[at], words[at])
    room = console.width - len(titles) + 1
    widths = _widths(lines, words, room) or _widths(words, pieces, room)
    if widths is None:
        _print_items(console, titles, rows)
        return
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0)
    for title, width in zip(titles, widths, strict=True):
        justify: JustifyMethod = "right" if title in numbers else "left"
        table.add_column(title, overflow="fold", width=width, justify=justify)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _widths(most: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Return how wide columns are that share ``room``; None if it is too little.

    The widest gives way first.
    """
    widths = list(most)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        may_give = [i for i, width in enumerate(widths) if width > least[i]]
        widths[max(may_give, key=widths.__getitem__)] -= 1
    return widths


def _print_items(console: Console, titles: Sequence[str], rows: Sequence[Sequence[Text]]) -> None:
    indent = max(map(len, titles)) + 1
    for number, row in enumerate(rows):
        if number:
            console.print()
        for title, cell in zip(titles, row, strict=True):
            for at, line in enumerate(cell.split() if cell else ()):
                name = "" if at else title
                console.print(Text.assemble((name.ljust(indent), "bold"), line), overflow="fold")


def _longest(texts: Iterable[str]) -> int:
    return max(map(cell_len, texts), default=0)


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
