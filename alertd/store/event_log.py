"""The log of everything that changes the engine's state, and the series that events refer to.

Owns the tables ``event_log`` and ``series``. Invariant: positions grow by one and an entry never
changes, so replaying from a position gives the same inputs in the same order. Positions are not
given out twice: whoever prunes the log leaves its newest entry. Leaves the bytes of an entry to
``entry_codec.py``, and finding events by series and time to ``event_reads.py``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple

import apsw
import msgspec

from alertd.idempotency import AnsweredRequest
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
from alertd.store.event_reads import Wanted, find_entries, read_part
from alertd.store.failures import corrupt
from alertd.store.protocols import LogEntry, StoredEvents, TimeSpan
from alertd.store.readers import Readers
from alertd.store.series_table import CHUNK_SERIES, SELECT_SERIES, decoded
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

CHUNK_ENTRIES: Final = 256
CHUNK_BYTES: Final = 4 << 20
"""A replay reads at most so much in one read transaction, and holds at most so much."""

_WAL_BYTES_PER_EVENT: Final = 24
_WAL_BYTES_PER_ID: Final = 64
_WAL_BYTES_PER_SERIES: Final = 2048


class LogEnd(NamedTuple):
    """Where the log ends. Both are 0 for a log that has never had an entry."""

    position: int
    received_us: int


class LogReader:
    """The reading side of the ``EventStore`` in SQLite, which needs no writer."""

    def __init__(self, readers: Readers, path: str) -> None:
        self._readers = readers
        self._path = path

    async def end(self) -> LogEnd:
        """Return the position and the receive time of the newest entry."""
        return await self._readers.run("read the event log", _end)

    async def span(self) -> TimeSpan | None:
        """Return between which event times there are events, None if there are none."""
        return await self._readers.run("read the event log", _span)

    async def replay(self, after: int) -> AsyncIterator[LogEntry]:
        """Yield every entry behind position ``after``, in order, up to the end at that moment.

        Raises ``StoreCorrupt``, naming the position, for an entry that is damaged or missing.
        """
        while True:
            work = partial(_read_chunk, self._path, after)
            entries = await self._readers.run("replay the event log", work)
            if not entries:
                return
            for entry in entries:
                yield entry
            after = entries[-1].position

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
        if through is None:
            through = (await self.end()).position
        while True:
            find = partial(find_entries, wanted, after, through)
            positions = await self._readers.run("find stored events", find)
            if not positions:
                return
            after, unread = positions[-1], positions
            while unread:
                work = partial(read_part, self._path, wanted, unread)
                events, entries_read = await self._readers.run("read stored events", work)
                for stored in events:
                    yield stored
                unread = unread[entries_read:]

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
    times_us = batch.times_us.tolist()  # one list costs less than two walks over the array
    return (
        batch.received_us,
        len(batch),
        batch.ids is not None,
        min(times_us),
        max(times_us),
        encode_batch(batch),
    )


def _end(connection: apsw.Connection) -> LogEnd:
    row = connection.execute(
        "SELECT position, received_us FROM event_log ORDER BY position DESC LIMIT 1"
    ).fetchone()
    return LogEnd(0, 0) if row is None else LogEnd(*row)


def _span(connection: apsw.Connection) -> TimeSpan | None:
    least_us, greatest_us = connection.execute(
        "SELECT min(least_us), max(greatest_us) FROM event_log INDEXED BY event_log_by_time "
        "WHERE greatest_us NOT NULL"
    ).get
    return None if least_us is None else TimeSpan(least_us, greatest_us)


def _read_chunk(path: str, after: int, connection: apsw.Connection) -> list[LogEntry]:
    rows = connection.execute(
        "SELECT position, received_us, kind, body FROM event_log "
        "WHERE position > ? ORDER BY position LIMIT ?",
        (after, CHUNK_ENTRIES),
    )
    entries: list[LogEntry] = []
    size_bytes = 0
    for position, received_us, kind, body in rows:
        if entries and position != entries[-1].position + 1:
            raise corrupt(path, f"event_log has no entry {entries[-1].position + 1}")
        try:
            decoded = decode_batch(body, received_us) if kind == "events" else decode_change(body)
        except BadEntry as error:
            raise corrupt(path, f"event_log entry {position}: {error}") from error
        entries.append(LogEntry(position, decoded))
        size_bytes += len(body)
        if size_bytes >= CHUNK_BYTES:
            break
    rows.close(True)
    return entries


def _read_series(path: str, after: int, connection: apsw.Connection) -> list[Series]:
    rows = connection.execute(
        f"{SELECT_SERIES} WHERE id > ? ORDER BY id LIMIT ?",
        (after, CHUNK_SERIES),
    )
    return list(decoded(path, rows))


def _labels_json(series: Series) -> str:
    return msgspec.json.encode(dict(series.labels)).decode()
