"""``alertd events``: what was stored, from the database itself.

Owns the words of the command and what it prints. The query is the one behind ``GET /api/events``.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from rich.text import Text

from alertd.blocking import Threads
from alertd.cli.commands import command
from alertd.cli.configuration import config_option
from alertd.cli.labels import Label, each_once, tell_of_lists
from alertd.cli.store_file import failing, find_store, store_option
from alertd.cli.terminal import is_terminal, print_table
from alertd.cli.times import Instant
from alertd.http.query import MAX_RESOLUTION_S, MINUTE_S
from alertd.http.stored_items import BucketItem, EventItem, bucket_item, event_item
from alertd.meant import did_you_mean_among_many
from alertd.model import US_PER_S
from alertd.store.event_log import LogReader
from alertd.store.event_pages import EventPages, EventQuery
from alertd.store.existing import opened, refuse_other_schema
from alertd.store.history import Page
from alertd.store.readers import Readers
from alertd.store.rollup_pages import RollupPages, RollupQuery
from alertd.store.series_table import read_metric_names

PAGE_EVENTS: Final = 20_000
"""So many are read at a time, some 20 MB: a page of many series costs much however small it is."""
DEFAULT_LIMIT: Final = 100
MAX_METRICS_COMPARED: Final = 1000
"""With one that is not known: some 20 ms."""

EPILOG: Final = """\b
Examples:
  alertd events --metric error_count --label service=payment --from 1h
  alertd events --metric latency_ms --from 7d --limit 0 > latency.ndjson
  alertd events --metric latency_ms --from 90d --resolution 3600

\b
Exit codes:
  0  done, also where there is no such event
  1  the configuration cannot be used
  2  the command was not understood
  3  the database could not be read; standard error says why
  4  the database is damaged
"""


class _Resolution(click.ParamType[int]):
    """A number of seconds that is whole minutes."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value)
        seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
        if not 0 < seconds <= MAX_RESOLUTION_S or seconds % MINUTE_S:
            self.fail(f"{text!r} is not a multiple of 60 up to {MAX_RESOLUTION_S}", param, ctx)
        return seconds


_Item = EventItem | BucketItem
_Read = Callable[[EventQuery], Awaitable[Page[_Item]]]


@command(epilog=EPILOG)
@click.option("--metric", metavar="NAME", help="Only events of this metric.")
@click.option(
    "--label",
    "labels",
    type=Label(),
    multiple=True,
    metavar="NAME=VALUE",
    help="Only events with this label; may be repeated, each label once, and then all must hold.",
)
@click.option("--from", "from_us", type=Instant(), metavar="TIME", help="At this time or later.")
@click.option("--to", "to_us", type=Instant(), metavar="TIME", help="Before this time.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="COUNT",
    help="How many to show at most, the earliest first; 0 for all.",
)
@click.option(
    "--resolution",
    "resolution_s",
    type=_Resolution(),
    metavar="SECONDS",
    help="Sum events up by series and time: count, sum, min and max of each bucket that begins "
    "within the range. A multiple of 60. Reaches further back than single events are kept.",
)
@store_option
@config_option
def events(
    metric: str | None,
    labels: tuple[tuple[str, str], ...],
    from_us: int | None,
    to_us: int | None,
    limit: int,
    resolution_s: int | None,
    store_path: Path | None,
    config_path: Path | None,
) -> None:
    """Show stored events, in the order of their timestamps.

    The daemon may be running or not: the database is only read. At a terminal the events are a
    table; into a pipe or a file each is one line of JSON, as GET /api/events has it.

    TIME is written like 2025-06-30T15:00:00Z, or in epoch seconds, or is how long ago it was:
    30s, 15m, 2h, 7d, 1w.
    """
    if from_us is not None and to_us is not None and to_us < from_us:
        raise click.BadParameter("must not be before --from", param_hint="--to")
    tell_of_lists(each_once(labels, "an event has one value of each label"))
    with failing():
        path = find_store(store_path, config_path)
        with opened(path, "read events") as connection:
            refuse_other_schema(connection, path)
        query = EventQuery(metric_name=metric, labels=labels, from_us=from_us, to_us=to_us)
        if resolution_s is not None:
            resolution_us = resolution_s * US_PER_S
            query = RollupQuery(resolution_us=resolution_us, **msgspec.structs.asdict(query))
        trio.run(partial(_show, path, query, limit))


async def _show(path: Path, query: EventQuery, limit: int) -> None:
    """Print the first ``limit`` items, all if it is 0, page by page."""
    readers = Readers(path, Threads())
    stored = (LogReader(readers, str(path)), readers, str(path))
    is_empty = True
    try:
        async for items, is_cut in _pages(_reading(stored, query), query, limit):
            is_empty = is_empty and not items
            if is_terminal():
                _print_table(items)
            else:
                for item in items:
                    click.echo(msgspec.json.encode(item))
            if is_cut:
                click.secho(f"there are more than {limit}; see --limit", err=True, fg="yellow")
        if is_empty and query.metric_name is not None:
            known = await readers.run("read the metrics", read_metric_names)
            _tell_of_unknown(query.metric_name, known)
    finally:
        readers.close()


def _tell_of_unknown(metric: str, known: Sequence[str]) -> None:
    """Say so if no event ever was of ``metric``, and which one may have been meant."""
    if metric in known:
        return
    hint = did_you_mean_among_many(metric, islice(known, MAX_METRICS_COMPARED))
    text = f"there is no metric {metric!r}"
    click.secho(f"{text}; {hint}" if hint else text, err=True, fg="yellow")


def _reading(stored: tuple[LogReader, Readers, str], query: EventQuery) -> _Read:
    """Return what reads a page of what ``query`` is about."""
    if isinstance(query, RollupQuery):
        rollups = RollupPages(*stored)

        async def read_buckets(query: EventQuery) -> Page[_Item]:
            assert isinstance(query, RollupQuery)
            page = await rollups.buckets(query)
            return Page(tuple(map(bucket_item, page.items)), page.next_cursor)

        return read_buckets
    pages = EventPages(*stored)

    async def read_events(query: EventQuery) -> Page[_Item]:
        page = await pages.events(query)
        return Page(tuple(map(event_item, page.items)), page.next_cursor)

    return read_events


async def _pages(
    read: _Read, query: EventQuery, limit: int
) -> AsyncIterator[tuple[Sequence[_Item], bool]]:
    """Yield items in portions, and with each whether it is the last and not all."""
    left = limit or sys.maxsize
    while left:
        page = await read(msgspec.structs.replace(query, limit=min(left, PAGE_EVENTS)))
        left -= len(page.items)
        yield page.items, not left and page.next_cursor is not None
        if page.next_cursor is None:
            return
        query = msgspec.structs.replace(query, cursor=page.next_cursor)


def _print_table(items: Sequence[_Item]) -> None:
    if not items:
        click.echo("no such event")
        return
    numbers: tuple[str, ...] = ("count", "sum", "min", "max")
    names: tuple[str, ...] = ("time", "metric", "labels")
    if isinstance(items[0], EventItem):
        names, numbers = (*names, "id"), ("value",)
    rows = []
    for item in items:
        labels = ", ".join(f"{name}={value}" for name, value in item.labels.items())
        columns = [item.timestamp, item.metric_name, labels]
        if isinstance(item, EventItem):
            columns += [item.id or "", _exactly(item.value)]
        else:
            columns += [str(item.count), *map(_exactly, (item.sum, item.min, item.max))]
        rows.append([Text(column) for column in columns])
    print_table((*names, *numbers), rows, whole=("time",), numbers=numbers)


def _exactly(number: float) -> str:
    """Return the shortest text that is this very number."""
    return repr(float(number)).removesuffix(".0")
