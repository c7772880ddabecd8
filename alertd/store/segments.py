"""The tables of folded events: ``segments`` and their ``blocks``.

Owns the law that says which form of an entry counts. ``meta.folded_position`` is the position of
the last entry that was folded: up to it, entries of kind ``events`` are in segments, and what
``event_log`` may still have of them is rubbish; behind it they are in ``event_log``. A block whose
segment has no row is rubbish too. So one small transaction, a row in ``segments`` and that
position, decides for a million events, and the rest can be done before and after it in portions.

Invariant: ``series.event_count``, ``first_us`` and ``last_us`` are about the events of the blocks
up to ``meta.counted_block``, also of those that retention has removed since. Leaves the order of
the steps to ``folding.py``, and what is read out of blocks to ``segment_reads.py``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apsw


class Segment(NamedTuple):
    """A row of ``segments`` but for its directory."""

    first_position: int
    """Of its first entry; the segment's name."""
    last_position: int
    entries: int
    events: int
    least_us: int
    """Event times."""
    greatest_us: int


class PackedBlock(NamedTuple):
    """A block as its row has it, but for its name."""

    first_series: int
    last_series: int
    events: int
    least_us: int
    greatest_us: int
    body: bytes


class StoredBlock(NamedTuple):
    """A block and its name."""

    id: int
    body: bytes


class StoredSegment(NamedTuple):
    """A segment's row, and all of its blocks."""

    segment: Segment
    directory: bytes
    blocks: list[StoredBlock]


class SeriesTotals(NamedTuple):
    """What is known of a series without a look at its events."""

    series_id: int
    events: int
    least_us: int
    greatest_us: int


class SegmentPart(NamedTuple):
    """A segment, and the names of some of its blocks, in their order."""

    segment: Segment
    block_ids: list[int]


_SEGMENT = "SELECT first_position, last_position, entries, events, least_us, greatest_us"


def folded_position(connection: apsw.Connection) -> int:
    """Return the position of the last entry that was folded, 0 if none was."""
    return _meta(connection, "folded_position")


def whole_from(connection: apsw.Connection) -> int:
    """Return the position behind which no entry may be missing: before it retention was at work.

    That is 0 while nothing was folded.
    """
    first: int | None = connection.execute("SELECT min(first_position) FROM segments").get
    return folded_position(connection) if first is None else first


def segment_behind(after: int, connection: apsw.Connection) -> StoredSegment | None:
    """Return the first segment with an entry behind position ``after``, with all its blocks."""
    row = connection.execute(
        _SEGMENT + ", directory FROM segments WHERE last_position > ? "
        "ORDER BY first_position LIMIT 1",
        (after,),
    ).fetchone()
    if row is None:
        return None
    blocks = connection.execute(
        "SELECT id, body FROM blocks WHERE segment = ? ORDER BY last_series, id", (row[0],)
    )
    return StoredSegment(Segment(*row[:-1]), row[-1], list(map(StoredBlock._make, blocks)))


def segment_with(
    series_ids: Sequence[int],
    from_us: int,
    until_us: int,
    after: int,
    through: int,
    connection: apsw.Connection,
) -> SegmentPart | None:
    """Return the first segment that may have such events, with the blocks that may.

    ``series_ids`` ascend; times are in ``(from_us, until_us]``, positions in ``(after, through]``.
    """
    rows = connection.execute(
        _SEGMENT + " FROM segments WHERE last_position > ? AND first_position <= ? "
        "AND greatest_us > ? AND least_us <= ? ORDER BY first_position",
        (after, through, from_us, until_us),
    )
    for row in rows:
        segment = Segment(*row)
        found = _blocks_with(segment, series_ids, from_us, until_us, connection)
        if found:
            rows.close(True)
            return SegmentPart(segment, found)
    return None


def events_per_series_us(from_us: int, connection: apsw.Connection) -> float:
    """Return how many events one series has in a microsecond behind ``from_us``, on average.

    That is so in the first segment with later events; 0 if there is none.
    """
    row = connection.execute(
        "SELECT events, greatest_us - least_us FROM segments WHERE greatest_us > ? "
        "ORDER BY first_position LIMIT 1",
        (from_us,),
    ).fetchone()
    if row is None:
        return 0.0
    events, span_us = row
    series: int = connection.execute("SELECT max(id) + 1 FROM series").get
    return float(events / max(1, span_us) / series)


def block_body(block: int, connection: apsw.Connection) -> bytes:
    """Return the body of a block."""
    body: bytes = connection.execute("SELECT body FROM blocks WHERE id = ?", (block,)).get
    return body


def directory_body(segment: int, connection: apsw.Connection) -> bytes:
    """Return the directory of the segment that begins at position ``segment``."""
    body: bytes = connection.execute(
        "SELECT directory FROM segments WHERE first_position = ?", (segment,)
    ).get
    return body


def insert_blocks(segment: int, blocks: Iterable[PackedBlock], connection: apsw.Connection) -> None:
    """Add ``blocks`` of the segment that begins at position ``segment`` and has no row yet."""
    connection.executemany(
        "INSERT INTO blocks "
        "(segment, first_series, last_series, events, least_us, greatest_us, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((segment, *block) for block in blocks),
    )


def insert_segment(segment: Segment, directory: bytes, connection: apsw.Connection) -> None:
    """Have the blocks of ``segment`` count from now on, and its entries in the log no more."""
    connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)", (*segment, directory))
    _set_meta(connection, "folded_position", segment.last_position)


ALL = -1
"""No limit."""


def uncounted_blocks(limit: int, connection: apsw.Connection) -> list[StoredBlock]:
    """Return the first blocks that are not in the totals of their series yet."""
    rows = connection.execute(
        "SELECT id, body FROM blocks WHERE id > ? "
        "AND segment IN (SELECT first_position FROM segments) ORDER BY id LIMIT ?",
        (_meta(connection, "counted_block"), limit),
    )
    return list(map(StoredBlock._make, rows))


def count_blocks(
    last_block: int, totals: Iterable[SeriesTotals], connection: apsw.Connection
) -> None:
    """Add ``totals``, those of the next blocks up to ``last_block``, to their series."""
    connection.executemany(
        "UPDATE series SET event_count = event_count + ?2, "
        "first_us = min(ifnull(first_us, ?3), ?3), last_us = max(ifnull(last_us, ?4), ?4) "
        "WHERE id = ?1",
        totals,
    )
    _set_meta(connection, "counted_block", last_block)


def delete_unowned_blocks(limit: int, connection: apsw.Connection) -> int:
    """Delete up to ``limit`` blocks that are rubbish, and return how many those were."""
    connection.execute(
        "DELETE FROM blocks WHERE id IN (SELECT id FROM blocks "
        "WHERE segment NOT IN (SELECT first_position FROM segments) LIMIT ?)",
        (limit,),
    )
    return connection.changes()


def delete_folded_entries(max_entries: int, max_bytes: int, connection: apsw.Connection) -> int:
    """Delete some entries of the log that are rubbish, and return how many those were."""
    rows = connection.execute(
        "SELECT position, length(body) FROM event_log "
        "WHERE position <= ? AND kind = 'events' ORDER BY position LIMIT ?",
        (folded_position(connection), max_entries),
    )
    last = size_bytes = 0
    for position, body_bytes in rows:
        last = position
        size_bytes += body_bytes
        if size_bytes >= max_bytes:
            rows.close(True)
            break
    connection.execute("DELETE FROM event_log WHERE position <= ? AND kind = 'events'", (last,))
    return connection.changes()


def _blocks_with(
    segment: Segment,
    series_ids: Sequence[int],
    from_us: int,
    until_us: int,
    connection: apsw.Connection,
) -> list[int]:
    """Return the ids of the blocks of ``segment`` that may have such events, in their order."""
    rows = connection.execute(
        "SELECT id, first_series, last_series FROM blocks WHERE segment = ? AND last_series >= ? "
        "AND greatest_us > ? AND least_us <= ? ORDER BY last_series, id",
        (segment.first_position, series_ids[0], from_us, until_us),
    )
    found = []
    for id_, first, last in rows:
        place = bisect_left(series_ids, first)
        if place == len(series_ids):
            rows.close(True)
            break
        if series_ids[place] <= last:
            found.append(id_)
    return found


def _meta(connection: apsw.Connection, key: str) -> int:
    value: int = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return value


def _set_meta(connection: apsw.Connection, key: str, value: int) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
