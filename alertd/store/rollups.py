"""The tables of rollups: ``rolled_up``, a row for each segment that has gone, and ``rollups``.

Owns the law that says which form of events counts: those of a segment are raw while it has its row
in ``segments``, and rollups once it has one in ``rolled_up``. The two rows are exchanged in one
small transaction; blocks of rollups whose segment has no row in ``rolled_up`` are rubbish. Leaves
the order of the steps to ``retention.py``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apsw

from alertd.store.protocols import TimeSpan
from alertd.store.rollup import MINUTE_US
from alertd.store.rollup_codec import RollupRun, encode_rollups
from alertd.store.segments import Segment


class PackedRollups(NamedTuple):
    """A block of rollups as its row has it; times are the beginnings of minutes."""

    first_series: int
    last_series: int
    first_minute: int
    last_minute: int
    body: bytes


class RolledUp(NamedTuple):
    """A segment that has gone: what its events were, and some of its blocks of rollups."""

    segment: int
    bodies: list[tuple[int, bytes]]
    """Each with its name."""


def pack_rollups(runs: Sequence[RollupRun]) -> PackedRollups:
    """Return the row for ``runs``, one at least, ascending by series."""
    return PackedRollups(
        first_series=runs[0].series_id,
        last_series=runs[-1].series_id,
        first_minute=min(run.rollups[0].minute for run in runs),
        last_minute=max(run.rollups[-1].minute for run in runs),
        body=encode_rollups(runs),
    )


def oldest_segment(connection: apsw.Connection) -> Segment | None:
    """Return the segment with the least positions."""
    row = connection.execute(
        "SELECT first_position, last_position, entries, events, least_us, greatest_us "
        "FROM segments ORDER BY first_position LIMIT 1"
    ).fetchone()
    return None if row is None else Segment(*row)


def insert_rollups(
    segment: int, blocks: Iterable[PackedRollups], connection: apsw.Connection
) -> None:
    """Add ``blocks`` of the segment that begins at position ``segment``; it is still raw."""
    connection.executemany(
        "INSERT INTO rollups "
        "(segment, first_series, last_series, first_minute, last_minute, body) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        ((segment, *block) for block in blocks),
    )


def exchange(segment: Segment, connection: apsw.Connection) -> None:
    """Have the rollups of ``segment`` count from now on, and its blocks no more."""
    connection.execute("DELETE FROM segments WHERE first_position = ?", (segment.first_position,))
    connection.execute(
        "INSERT INTO rolled_up VALUES (?, ?, ?, ?, ?)",
        (
            segment.first_position,
            segment.last_position,
            segment.events,
            segment.least_us,
            segment.greatest_us,
        ),
    )


def forget_rolled_up(before_us: int, limit: int, connection: apsw.Connection) -> int:
    """Have rollups of segments that ended before ``before_us`` count no more; up to ``limit``."""
    connection.execute(
        "DELETE FROM rolled_up WHERE segment IN "
        "(SELECT segment FROM rolled_up WHERE greatest_us < ? LIMIT ?)",
        (before_us, limit),
    )
    return connection.changes()


def unowned_segments(connection: apsw.Connection) -> list[int]:
    """Return the segments whose blocks are rubbish. Looks at every block's entry in the index."""
    rows = connection.execute(
        "SELECT DISTINCT segment FROM rollups WHERE segment NOT IN (SELECT segment FROM rolled_up)"
    )
    return [segment for (segment,) in rows]


def delete_rollups(segment: int, limit: int, connection: apsw.Connection) -> int:
    """Delete up to ``limit`` blocks of ``segment``, and return how many those were."""
    connection.execute(
        "DELETE FROM rollups WHERE id IN (SELECT id FROM rollups WHERE segment = ? LIMIT ?)",
        (segment, limit),
    )
    return connection.changes()


class RolledUpState(NamedTuple):
    """What the rollups are about; it changes whenever events become rollups or rollups go."""

    span: TimeSpan | None
    segments: int
    newest_segment: int


def rolled_up_state(connection: apsw.Connection) -> RolledUpState:
    """Return what the rollups are about now."""
    least_us, greatest_us, segments, newest = connection.execute(
        "SELECT min(least_us), max(greatest_us), count(*), ifnull(max(segment), 0) FROM rolled_up"
    ).get
    span = None if least_us is None else TimeSpan(least_us, greatest_us)
    return RolledUpState(span, segments, newest)


def rollups_of_id_behind(after: int, connection: apsw.Connection) -> tuple[int, bytes] | None:
    """Return the name and the body of the next block behind the name ``after``, whoever owns it."""
    row = connection.execute(
        "SELECT id, body FROM rollups WHERE id > ? ORDER BY id LIMIT 1", (after,)
    ).fetchone()
    return None if row is None else (row[0], row[1])


def rollups_behind(
    after: int,
    series_ids: Sequence[int],
    first_minute: int,
    last_minute: int,
    connection: apsw.Connection,
) -> RolledUp | None:
    """Return the next segment behind ``after`` that may have such rollups, with its blocks.

    ``series_ids`` ascend; ``last_minute`` is included.
    """
    rows = connection.execute(
        "SELECT id, rollups.segment, first_series, last_series FROM rolled_up "
        "JOIN rollups ON rollups.segment = rolled_up.segment "
        "WHERE rolled_up.segment > ? AND least_us < ? AND greatest_us >= ? "
        "AND last_series >= ? AND first_series <= ? AND last_minute >= ? AND first_minute <= ? "
        "ORDER BY rolled_up.segment, last_series",
        (
            after,
            (last_minute + 1) * MINUTE_US,
            first_minute * MINUTE_US,
            series_ids[0],
            series_ids[-1],
            first_minute,
            last_minute,
        ),
    )
    segment: int | None = None
    found: list[int] = []
    for id_, owner, first, last in rows:
        if segment is not None and owner != segment:
            break
        place = bisect_left(series_ids, first)
        if place < len(series_ids) and series_ids[place] <= last:
            segment = owner
            found.append(id_)
    rows.close(True)
    if segment is None:
        return None
    return RolledUp(
        segment,
        [
            (id_, connection.execute("SELECT body FROM rollups WHERE id = ?", (id_,)).get)
            for id_ in found
        ],
    )
