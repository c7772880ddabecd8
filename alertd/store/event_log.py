"""The log of everything that changes the engine's state, and the series that events refer to.

Owns the tables ``event_log`` and ``series``. Invariant: positions grow by one and an entry never
changes, so replaying from a position gives the same inputs in the same order, folded or not.
Positions are not given out twice: what prunes the log leaves its newest entry. Leaves the bytes of
an entry to ``entry_codec.py``, finding events by series and time to ``event_reads.py``, and folded
entries to ``segments.py``, ``segment_reads.py`` and ``chosen_events.py``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw
import msgspec

from alertd.arrays import bounds
from alertd.ingest.idempotency import AnsweredRequest
from alertd.model import EventBatch, Series
from alertd.rules import RuleChange
from alertd.store import requests
from alertd.store.entry_codec import (
    check_batch,
    decode_batch,
    decode_change,
    encode_batch,
    encode_change,
)
from alertd.store.envelope import BadEntry
from alertd.store.event_reads import FoundSegment, Opened, Wanted, find_events, read_part
from alertd.store.failures import corrupt
from alertd.store.protocols import LogEntry, StoredEvents, TimeSpan
from alertd.store.readers import Readers
from alertd.store.segments import (
    StoredSegment,
    events_per_series_us,
    folded_position,
    segment_behind,
    whole_from,
)
from alertd.store.series_table import CHUNK_SERIES, SELECT_SERIES, decoded
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

if TYPE_CHECKING:
    from alertd.store.chosen_events import ChosenEvents
    from alertd.store.event_columns import EventColumns

CHUNK_ENTRIES: Final = 256
CHUNK_BYTES: Final = 4 << 20
"""A replay reads at most so much in one read transaction, and holds at most so much."""
MAX_POSITION: Final = (1 << 63) - 1

_WAL_BYTES_PER_EVENT: Final = 24
_WAL_BYTES_PER_ID: Final = 64
_WAL_BYTES_PER_SERIES: Final = 2048


class LogEnd(NamedTuple):
    """Where the log ends. Both are 0 for a log that has never had an entry."""

    position: int
    received_us: int


class _Part(NamedTuple):
    """What a replay reads in one transaction."""

    segment: StoredSegment | None
    entries: list[LogEntry]
    """In the order of the log; those of a segment go in between."""
    whole_from: int
    """Behind this position no entry may be missing."""


class LogReader:
    """The reading side of the ``EventStore`` in SQLite, which needs no writer."""

    def __init__(self, readers: Readers, path: str) -> None:
        self._readers = readers
        self._path = path
        self._opened = Opened()

    @property
    def cached_bytes(self) -> int:
        """How much memory is used for what was read lately."""
        return self._opened.size_bytes

    async def end(self) -> LogEnd:
        """Return the position and the receive time of the newest entry."""
        return await self._readers.run("read the event log", _end)

    async def span(self) -> TimeSpan | None:
        """Return between which event times there are events, None if there are none."""
        return await self._readers.run("read the event log", _span)

    async def events_per_series_us(self, from_us: int) -> float:
        """Return about how many events a series has in a microsecond behind ``from_us``."""
        work = partial(events_per_series_us, from_us)
        return await self._readers.run("read the event log", work)

    async def replay(self, after: int) -> AsyncGenerator[LogEntry, None]:
        """Yield every entry behind position ``after``, in order, up to the end at that moment.

        Raises ``StoreCorrupt``, naming the position, for an entry that is damaged or missing.
        """
        previous = 0
        while True:
            work = partial(_read_part, self._path, after)
            part = await self._readers.run("replay the event log", work)
            folded: Iterable[LogEntry] = ()
            if part.segment is not None:
                # Needs NumPy: a daemon that is at rest, with nothing folded, saves its memory.
                from alertd.store.segment_reads import RestoredSegment

                restore = partial(RestoredSegment, part.segment, self._path)
                folded = (await self._readers.compute(restore)).entries(after)
            for entry in merge(folded, part.entries, key=attrgetter("position")):
                if previous and part.whole_from <= previous < entry.position - 1:
                    raise corrupt(self._path, f"event_log has no entry {previous + 1}")
                yield entry
                after = previous = entry.position
            if part.segment is None and not part.entries:
                return

    async def read(
        self,
        series_ids: Collection[int],
        from_us: int,
        until_us: int,
        *,
        after: int = 0,
        through: int | None = None,
    ) -> AsyncGenerator[StoredEvents, None]:
        """Yield the events of ``series_ids`` with ``from_us < t <= until_us``, in log order.

        See ``EventStore.read``.
        """
        wanted = Wanted.of(series_ids, from_us, until_us)
        async with aclosing(self._parts(wanted, after, through)) as parts:
            async for part in parts:
                for stored in part:
                    yield stored

    async def read_columns(
        self, series_ids: Collection[int], from_us: int, until_us: int
    ) -> AsyncGenerator[EventColumns, None]:
        """Yield the same events as ``read``, in columns; see ``EventStore.read_columns``."""
        from alertd.store.event_columns import EventColumns  # needs NumPy

        async with aclosing(self._parts(Wanted.of(series_ids, from_us, until_us))) as parts:
            async for part in parts:
                if not isinstance(part, list):
                    yield part.columns()
                elif part:
                    yield await self._readers.compute(partial(EventColumns.of_entries, part))

    async def _parts(
        self, wanted: Wanted, after: int = 0, through: int | None = None
    ) -> AsyncGenerator[ChosenEvents | list[StoredEvents], None]:
        """Yield the events of ``wanted``, in log order, a segment or some entries at a time."""
        if through is None:
            through = (await self.end()).position
        while True:
            find = partial(find_events, wanted, after, through, self._opened)
            found = await self._readers.run("find stored events", find)
            if not found:
                return
            if isinstance(found, FoundSegment):
                from alertd.store.chosen_events import ChosenEvents  # needs NumPy

                choose = partial(
                    ChosenEvents, found, wanted, after, through, self._opened, self._path
                )
                yield await self._readers.compute(choose)
                after = found.segment.last_position
                continue
            unread = found
            while unread:
                work = partial(read_part, self._path, wanted, unread)
                events, entries_read = await self._readers.run("read stored events", work)
                if not entries_read:
                    break
                yield events
                after, unread = unread[entries_read - 1], unread[entries_read:]

    async def all_series(self) -> list[Series]:
        """Return every series, by id."""
        series: list[Series] = []
        while True:
            after = series[-1].id if series else -1
            work = partial(_read_series, self._path, after)
            chunk = await self._readers.run("read the series", work)
            series += chunk
            if len(chunk) < CHUNK_SERIES:
                return series


class EventLog(LogReader):
    """The ``EventStore`` in SQLite."""

    def __init__(self, writer: Writer, readers: Readers, path: str) -> None:
        super().__init__(readers, path)
        self._writer = writer

    async def append(
        self,
        batches: Sequence[EventBatch],
        new_series: Sequence[Series],
        answered: Sequence[AnsweredRequest] = (),
    ) -> int:
        """Make ``batches`` durable in one transaction; see ``EventStore.append``.

        Without batches the position is that of the next entry.
        Raises ``ValueError`` before anything is queued for a batch whose columns do not fit.
        The event loop is not held up: encoding and checksums run in the writer thread.
        """
        wal_bytes = DEFAULT_WAL_BYTES + len(new_series) * _WAL_BYTES_PER_SERIES
        for batch in batches:
            check_batch(batch)
            wal_bytes += len(batch) * _WAL_BYTES_PER_EVENT
            if batch.ids is not None:
                wal_bytes += len(batch) * _WAL_BYTES_PER_ID
        for request in answered:
            wal_bytes += requests.WAL_BYTES_PER_REQUEST + len(request.answer)
        rows = [(series.id, series.metric_name, _labels_json(series)) for series in new_series]
        return await self._writer.run(
            "store events", partial(_append, batches, rows, answered), wal_bytes=wal_bytes
        )


def append_change(connection: apsw.Connection, change: RuleChange) -> int:
    """Add ``change`` to the log, in the caller's transaction, and return its position."""
    connection.execute(
        "INSERT INTO event_log (received_us, kind, count, has_ids, body) "
        "VALUES (?, 'rules', ?, 0, ?)",
        (change.at_us, len(change.put) + len(change.deleted), encode_change(change)),
    )
    return connection.last_insert_rowid()


def _append(
    batches: Sequence[EventBatch],
    series_rows: Sequence[tuple[int, str, str]],
    answered: Sequence[AnsweredRequest],
    connection: apsw.Connection,
) -> int:
    if series_rows:
        connection.executemany(
            "INSERT INTO series (id, metric_name, labels) VALUES (?, ?, ?)", series_rows
        )
    if answered:
        requests.write(connection, answered)
    if not batches:
        return _end(connection).position + 1
    connection.executemany(
        "INSERT INTO event_log (received_us, kind, count, has_ids, least_us, greatest_us, body) "
        "VALUES (?, 'events', ?, ?, ?, ?, ?)",
        map(_batch_row, batches),
    )
    return connection.last_insert_rowid() - len(batches) + 1


def _batch_row(batch: EventBatch) -> tuple[int, int, bool, int, int, bytes]:
    return (
        batch.received_us,
        len(batch),
        batch.ids is not None,
        *bounds(batch.times_us),
        encode_batch(batch),
    )


def _end(connection: apsw.Connection) -> LogEnd:
    row = connection.execute(
        "SELECT position, received_us FROM event_log ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return LogEnd(0, 0) if row is None else LogEnd(*row)


def _span(connection: apsw.Connection) -> TimeSpan | None:
    least_us, greatest_us = connection.execute(
        "SELECT min(least_us), max(greatest_us) FROM ("
        "SELECT min(least_us) AS least_us, max(greatest_us) AS greatest_us "
        "FROM event_log INDEXED BY event_log_by_time WHERE greatest_us NOT NULL "
        "UNION ALL SELECT min(least_us), max(greatest_us) FROM segments)"
    ).get
    return None if least_us is None else TimeSpan(least_us, greatest_us)


def _read_part(path: str, after: int, connection: apsw.Connection) -> _Part:
    """Return the next segment behind position ``after``, or entries if there is none."""
    folded = folded_position(connection)
    segment = segment_behind(after, connection) if after < folded else None
    last = MAX_POSITION if segment is None else segment.segment.last_position
    rows = connection.execute(
        "SELECT position, received_us, kind, body FROM event_log "
        "WHERE position > ? AND position <= ? AND (position > ? OR kind = 'rules') "
        "ORDER BY position LIMIT ?",
        (after, last, folded, CHUNK_ENTRIES if segment is None else -1),
    )
    entries: list[LogEntry] = []
    size_bytes = 0
    for position, received_us, kind, body in rows:
        try:
            content = decode_batch(body, received_us) if kind == "events" else decode_change(body)
        except BadEntry as error:
            raise corrupt(path, f"event_log entry {position}: {error}") from error
        entries.append(LogEntry(position, content))
        size_bytes += len(body)
        if size_bytes >= CHUNK_BYTES and segment is None:
            break
    rows.close(True)
    return _Part(segment, entries, whole_from(connection))


def _read_series(path: str, after: int, connection: apsw.Connection) -> list[Series]:
    rows = connection.execute(
        f"{SELECT_SERIES} WHERE id > ? ORDER BY id LIMIT ?",
        (after, CHUNK_SERIES),
    )
    return list(decoded(path, rows))


def _labels_json(series: Series) -> str:
    return msgspec.json.encode(dict(series.labels)).decode()
