"""Events summed up by time, page by page: from raw events where they are, from rollups beyond.

Owns the query behind ``GET /api/events?resolution=`` and ``alertd events --resolution``. A bucket
is listed if it begins within the range, and is whole; buckets come in the order of time, those of
one time in the order of their series. Every event counts once, on whichever side of the border it
is, and sums are correctly rounded (``rollup.py``).

Invariant: a page holds in memory what its buckets need, some 2 KB each, never their events. As in
``event_pages.py`` the range is read in slices, each wider or narrower as the one before had too
little or too much in it; only a single bucket is read whatever is in it.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

import trio
from msgspec import Struct

from alertd.errors import InvalidParameters
from alertd.model import Series
from alertd.store import cursor
from alertd.store.envelope import BadEntry
from alertd.store.event_pages import EventQuery
from alertd.store.failures import corrupt
from alertd.store.history import Page
from alertd.store.protocols import EventReads, TimeSpan
from alertd.store.readers import Readers
from alertd.store.rollup import MINUTE_US, Summary, merge, summarise
from alertd.store.rollup_codec import decode_rollups
from alertd.store.rollups import RolledUp, rolled_up_state, rollups_behind
from alertd.store.series_table import SeriesFinder

FIRST_SLICE_BUCKETS: Final = 10
WIDENING: Final = 4
NARROWING: Final = 16
SLICE_PAGES: Final = 20
"""A slice of time is given up when it has this many times a page's limit of buckets, and"""
SLICE_BUCKETS: Final = 2_000
"""at least so many, or"""
SLICE_EVENTS: Final = 200_000
"""so many raw events."""
TALLY_VALUES: Final = 256
"""Values of a bucket that are kept before they are summed up."""


class RollupQuery(EventQuery, frozen=True, kw_only=True):
    """Which buckets to list: those that begin within the range."""

    resolution_us: int
    """How long a bucket is: a multiple of ``MINUTE_US``."""


class Bucket(Struct, frozen=True, kw_only=True):
    """The events of one series from ``start_us`` on, for as long as was asked for."""

    series: Series
    start_us: int
    summary: Summary


class _Place(NamedTuple):
    """Where a page begins. What a cursor holds."""

    bucket: int
    series_id: int
    """Buckets of this time are behind it if their series is greater."""
    width: int
    """How many buckets' time was just right for a slice."""

    @classmethod
    def of(cls, text: str) -> _Place:
        """Return what a cursor stands for. Raises ``InvalidParameters``."""
        place = cls(*cursor.integers(text, len(cls._fields)))
        if place.series_id < 0 or place.width < 1:
            raise InvalidParameters([cursor.NOT_A_CURSOR])
        return place


_Summed = list[tuple[tuple[int, int], Summary]]
"""Buckets by their number and series, in this order."""


class RollupPages:
    """Sums up what is stored. It needs no writer, so another process can use it as well."""

    def __init__(self, events: EventReads, readers: Readers, path: str) -> None:
        self._events = events
        self._readers = readers
        self._series = SeriesFinder(readers, path)
        self._path = path

    async def buckets(self, query: RollupQuery) -> Page[Bucket]:
        """Return a page of buckets.

        Raises ``InvalidParameters`` for a foreign cursor, ``StoreUnavailable``, ``StoreCorrupt``.
        """
        start = None if query.cursor is None else _Place.of(query.cursor)
        found, width = await self._first_buckets(query, start)
        page = found[: query.limit]
        series = await self._series.named({series_id for (_, series_id), _ in page})
        items = tuple(
            Bucket(series=series[series_id], start_us=bucket * query.resolution_us, summary=summary)
            for (bucket, series_id), summary in page
        )
        is_last = len(found) <= query.limit
        return Page(items, None if is_last else cursor.encode(*_Place(*page[-1][0], width)))

    async def _first_buckets(self, query: RollupQuery, start: _Place | None) -> tuple[_Summed, int]:
        """Return the first buckets of a page and at least one more if there is one, in order.

        And how many buckets' time the last slice had.
        """
        width = FIRST_SLICE_BUCKETS if start is None else start.width
        span = await self._span()
        if span is None:
            return [], width
        wanted = await self._series.numbers(query)
        size_us = query.resolution_us
        bucket = span.least_us // size_us
        if query.from_us is not None:
            bucket = max(bucket, -(-query.from_us // size_us))
        if start is not None:
            bucket = max(bucket, start.bucket)
        end = span.greatest_us // size_us + 1
        if query.to_us is not None:
            end = min(end, -(-query.to_us // size_us))
        found: _Summed = []
        while wanted and bucket < end:
            until = min(bucket + width, end)
            slice_ = await self._slice(wanted, bucket, until, query)
            if slice_ is None:
                width = max(1, width // NARROWING)
                continue
            behind = (bucket, -1) if start is None else (start.bucket, start.series_id)
            found += [item for item in slice_ if item[0] > behind]
            if len(found) > query.limit:
                break
            bucket = until
            width *= WIDENING
        return found, width

    async def _slice(
        self, wanted: Sequence[int], first: int, end: int, query: RollupQuery
    ) -> _Summed | None:
        """Return the buckets from ``first`` up to ``end``; None if that is too much at once.

        Raw events that become rollups meanwhile would count twice or not at all: then it is read
        again.
        """
        while True:
            before = await self._readers.run("read rollups", rolled_up_state)
            tallies: dict[tuple[int, int], _Tally] = defaultdict(_Tally)
            is_whole = await self._add_events(tallies, wanted, first, end, query)
            if not is_whole:
                return None
            await self._add_rollups(tallies, wanted, first, end, query.resolution_us)
            if before == await self._readers.run("read rollups", rolled_up_state):
                return [(key, tallies[key].summary()) for key in sorted(tallies)]

    async def _add_events(
        self,
        tallies: dict[tuple[int, int], _Tally],
        wanted: Collection[int],
        first: int,
        end: int,
        query: RollupQuery,
    ) -> bool:
        """Add raw events; return whether there were not too many."""
        size_us = query.resolution_us
        max_buckets = max(SLICE_BUCKETS, SLICE_PAGES * query.limit)
        count = 0
        read = self._events.read(wanted, first * size_us - 1, end * size_us - 1)
        async with aclosing(read) as batches:
            async for _, batch in batches:
                columns = zip(batch.times_us, batch.series_ids, batch.values, strict=True)
                for time_us, series_id, value in columns:
                    tallies[time_us // size_us, series_id].add(value)
                count += len(batch)
                if end > first + 1 and (len(tallies) > max_buckets or count > SLICE_EVENTS):
                    return False
                await trio.lowlevel.checkpoint()
        return True

    async def _add_rollups(
        self,
        tallies: dict[tuple[int, int], _Tally],
        wanted: Sequence[int],
        first: int,
        end: int,
        size_us: int,
    ) -> None:
        minutes = size_us // MINUTE_US
        first_minute, last_minute = first * minutes, end * minutes - 1
        chosen = frozenset(wanted)
        after = -1
        while True:
            find = partial(rollups_behind, after, wanted, first_minute, last_minute)
            found: RolledUp | None = await self._readers.run("read rollups", find)
            if found is None:
                return
            after = found.segment
            for id_, body in found.bodies:
                try:
                    for series_id, rollups in decode_rollups(body):
                        if series_id not in chosen:
                            continue
                        for minute, summary in rollups:
                            if first_minute <= minute <= last_minute:
                                tallies[minute // minutes, series_id].add_all(summary)
                except (BadEntry, IndexError) as error:
                    raise corrupt(self._path, f"rollups {id_}: {error}") from error
                await trio.lowlevel.checkpoint()

    async def _span(self) -> TimeSpan | None:
        """Return between which times there are events or rollups, None if there are none."""
        raw = await self._events.span()
        state = await self._readers.run("read rollups", rolled_up_state)
        if raw is None or state.span is None:
            return raw or state.span
        return TimeSpan(
            min(raw.least_us, state.span.least_us), max(raw.greatest_us, state.span.greatest_us)
        )


class _Tally:
    """A bucket that is being added up."""

    __slots__ = ("_summaries", "_values")

    def __init__(self) -> None:
        self._values: array[float] = array("d")
        self._summaries: list[Summary] = []

    def add(self, value: float) -> None:
        """Add a raw event."""
        self._values.append(value)
        if len(self._values) >= TALLY_VALUES:
            self._seal()

    def add_all(self, summary: Summary) -> None:
        """Add events that are summed up already."""
        self._summaries.append(summary)
        if len(self._summaries) >= TALLY_VALUES:
            self._summaries = [merge(self._summaries)]

    def summary(self) -> Summary:
        """Return the sum of all, of which there is one at least."""
        if self._values:
            self._seal()
        return merge(self._summaries)

    def _seal(self) -> None:
        self.add_all(summarise(self._values))
        self._values = array("d")
