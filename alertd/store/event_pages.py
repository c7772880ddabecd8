"""Stored events and series as people ask for them: filtered, in time order, page by page.

Owns the queries behind ``GET /api/events``, ``GET /api/series`` and ``alertd events``. Events are
in the order of their times, those of one time in the order of arrival, and a cursor is a place in
that order: no page repeats an event, and none that was stored before the first page is left out.
A late event shows on the pages to come if its place is there.

Invariant: a page never holds more than a few times its limit in memory, and reads hardly more
than that, whatever the range. The log is ordered by arrival, so the range is read in slices of
time: each is as wide as what was in the one before says, and is given up and cut down when there
is too much in it. How wide the last one was stands in the cursor.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from alertd.errors import InvalidParameters
from alertd.model import US_PER_S, Series
from alertd.store import cursor
from alertd.store.history import Page
from alertd.store.protocols import EventReads
from alertd.store.readers import Readers
from alertd.store.series_table import (
    SeriesFilter,
    SeriesFinder,
    Totals,
    find_series,
    read_totals,
)

if TYPE_CHECKING:
    from alertd.store.event_columns import EventColumns, Found

FIRST_SLICE_US: Final = 10 * US_PER_S
"""How wide the first slice is, where nothing tells how many events that may be."""
EMPTY_WIDENING: Final = 16
MAX_WIDENING: Final = 64
"""How much wider a slice may be than the one before, if that was empty, and if it was not."""
SLICE_PAGES: Final = 20
"""A slice of time is given up when it has this many times a page's limit, and"""
SLICE_EVENTS: Final = 10_000
"""at least so many events."""
NARROWING: Final = 16


class EventQuery(SeriesFilter, frozen=True, kw_only=True):
    """Which events to list."""

    from_us: int | None = None
    """At or after."""
    to_us: int | None = None
    """Before."""
    limit: int = 100
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class SeriesQuery(SeriesFilter, frozen=True, kw_only=True):
    """Which series to list."""

    limit: int = 100
    cursor: str | None = None


class StoredEvent(Struct, frozen=True, kw_only=True):
    """One event as it was accepted."""

    series: Series
    time_us: int
    value: float
    id: str | None
    received_us: int


class SeriesTotals(Struct, frozen=True):
    """A series, and how many events of it were ever accepted."""

    series: Series
    totals: Totals


class _Place(NamedTuple):
    """Where a page begins. What a cursor holds."""

    time_us: int
    position: int
    seen: int
    """How many events of that time and position the pages before have shown."""
    width_us: int
    """How wide a slice of time was just right."""

    @classmethod
    def of(cls, text: str) -> _Place:
        """Return what a cursor stands for. Raises ``InvalidParameters``."""
        place = cls(*cursor.integers(text, len(cls._fields)))
        if place.position < 0 or place.seen < 0 or place.width_us < 1:
            raise InvalidParameters([cursor.NOT_A_CURSOR])
        return place


class EventPages:
    """Lists what is stored. It needs no writer, so another process can use it as well."""

    def __init__(self, events: EventReads, readers: Readers, path: str) -> None:
        self._events = events
        self._readers = readers
        self._series = SeriesFinder(readers, path)
        self._path = path

    async def events(self, query: EventQuery) -> Page[StoredEvent]:
        """Return a page of events by time.

        Raises ``InvalidParameters`` for a foreign cursor, ``StoreUnavailable``, ``StoreCorrupt``.
        """
        start = None if query.cursor is None else _Place.of(query.cursor)
        found, width_us = await self._first_events(query, start)
        page, rest = found[: query.limit], found[query.limit :]
        series = await self._series.named({each.series_id for each in page})
        items = tuple(
            StoredEvent(
                series=series[each.series_id],
                time_us=each.time_us,
                value=each.value,
                id=each.id,
                received_us=each.received_us,
            )
            for each in page
        )
        return Page(items, _next_cursor(page, start, width_us) if rest else None)

    async def series(self, query: SeriesQuery) -> Page[SeriesTotals]:
        """Return a page of series in the order in which they were first seen.

        One with few matches among many series may be short, or empty, and still not be the last.
        Raises as ``events`` does.
        """
        after = -1 if query.cursor is None else cursor.integers(query.cursor, 1)[0]
        find = partial(find_series, self._path, query, after, limit=query.limit)
        found, through = await self._readers.run("find series", find)
        numbers = [series.id for series in found]
        work = partial(read_totals, self._path, numbers)
        totals = await self._readers.run("count the events of series", work) if numbers else {}
        items = tuple(SeriesTotals(series, totals[series.id]) for series in found)
        return Page(items, None if through is None else cursor.encode(through))

    async def _first_events(
        self, query: EventQuery, start: _Place | None
    ) -> tuple[list[Found], int]:
        """Return the first events of a page and at least one more if there is one, in order.

        And how wide the last slice of time was.
        """
        width_us = FIRST_SLICE_US if start is None else start.width_us
        span = await self._events.span()
        series_ids = await self._series.numbers(query)
        if span is None or not series_ids:
            return [], width_us
        after_us = span.least_us - 1 if query.from_us is None else query.from_us - 1
        after_us = max(after_us, span.least_us - 1)
        if start is not None:
            after_us = max(after_us, start.time_us - 1)
        last_us = span.greatest_us
        if query.to_us is not None:
            last_us = min(last_us, query.to_us - 1)
        if start is None:
            width_us = await self._first_width_us(after_us, len(series_ids), query.limit)
        found: list[Found] = []
        while after_us < last_us:
            until_us = min(after_us + width_us, last_us)
            slice_ = await self._slice(series_ids, after_us, until_us, start, query.limit)
            if slice_ is None:
                width_us = max(1, width_us // NARROWING)
                continue
            found += slice_
            if len(found) > query.limit:
                break
            after_us = until_us
            width_us *= _widening(len(slice_), query.limit + 1 - len(found))
        return found, width_us

    async def _slice(
        self,
        series_ids: Collection[int],
        after_us: int,
        until_us: int,
        start: _Place | None,
        limit: int,
    ) -> list[Found] | None:
        """Return the first ``limit + 1`` events with ``after_us < t <= until_us``, in order.

        None if there are too many in this slice; one of a microsecond is read whatever is in it.
        """
        # Needs NumPy: a daemon that nobody asks for events saves its memory.
        from alertd.store.event_columns import first_in_order

        parts: list[EventColumns] = []
        too_many = max(SLICE_EVENTS, SLICE_PAGES * limit) if until_us > after_us + 1 else None
        count = 0
        async with aclosing(self._events.read_columns(series_ids, after_us, until_us)) as read:
            async for part in read:
                parts.append(part)
                count += len(part)
                if too_many is not None and count > too_many:
                    return None
        behind = None
        if start is not None and after_us < start.time_us:
            behind = (start.time_us, start.position, start.seen)
        return await self._readers.compute(partial(first_in_order, parts, behind, limit + 1))

    async def _first_width_us(self, after_us: int, series: int, limit: int) -> int:
        """Return how wide a slice should have a page of so many series, half as much again."""
        rate = series * await self._events.events_per_series_us(after_us)
        return max(1, round(1.5 * (limit + 1) / rate)) if rate else FIRST_SLICE_US


def _widening(found: int, missing: int) -> int:
    """Return how much wider the next slice is to be: what is missing, and half as much again."""
    if not found:
        return EMPTY_WIDENING
    return max(1, min(MAX_WIDENING, -(-3 * missing // (2 * found))))


def _next_cursor(page: list[Found], start: _Place | None, width_us: int) -> str:
    """Return the cursor behind the last event of a page."""
    last = page[-1]
    key = (last.time_us, last.position)
    seen = sum(key == (each.time_us, each.position) for each in page)
    if start is not None and key == (start.time_us, start.position):
        seen += start.seen
    return cursor.encode(*_Place(*key, seen, width_us))
