"""Finding stored events again, by series and event time.

Owns the two steps of such a read, each one short read transaction: which segment comes next, with
its blocks, or, behind the segments, which entries of the log can hold such events (their span of
event times, from an index, no body is touched); and the events in a bounded part of those
entries. Invariant: what comes out depends on the log and the arguments only, never on how a read
was cut into parts, nor on what is folded meanwhile. Leaves the order of the steps to
``event_log.py``, and events out of segments to ``chosen_events.py``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from alertd.store.block_cache import Cache
from alertd.store.directory import Directory
from alertd.store.entry_codec import decode_chosen
from alertd.store.envelope import BadEntry
from alertd.store.failures import corrupt
from alertd.store.protocols import StoredEvents
from alertd.store.segments import (
    Segment,
    block_body,
    directory_body,
    folded_position,
    segment_with,
)

if TYPE_CHECKING:
    from alertd.store.block_codec import Block

FOUND_ENTRIES: Final = 1 << 15
"""So many positions are looked up at once (256 KiB of them)."""
PART_BYTES: Final = 1 << 20
"""One part of a read decodes at most so much, or one entry, and holds at most so much."""

SEARCHED_SERIES: Final = 8
"""Up to so many series are searched for one by one, at 3 µs a series and 1000 events; more are
looked up event by event, at 60 µs for 1000 events."""

_SERIES_BYTES: Final = 4


class Wanted(NamedTuple):
    """Events of some series with ``from_us < t <= until_us``."""

    series_ids: frozenset[int]
    from_us: int
    until_us: int
    ascending: tuple[int, ...]
    """The series numbers once more."""

    @classmethod
    def of(cls, series_ids: Collection[int], from_us: int, until_us: int) -> Wanted:
        """Return what to look for; a range without an instant in it wants no series."""
        numbers = frozenset(series_ids if from_us < until_us else ())
        return cls(numbers, from_us, until_us, tuple(sorted(numbers)))

    def places(self, series_ids: array[int], times_us: array[int]) -> list[int]:
        """Return the places of these events in a batch's columns, ascending."""
        if len(self.series_ids) <= SEARCHED_SERIES:
            column = series_ids.tobytes()
            of_series = [place for number in self.series_ids for place in _search(column, number)]
            of_series.sort()
        else:
            is_wanted = map(self.series_ids.__contains__, series_ids)
            of_series = list(compress(range(len(series_ids)), is_wanted))
        from_us, until_us = self.from_us, self.until_us
        return [place for place in of_series if from_us < times_us[place] <= until_us]


@dataclass(frozen=True, slots=True)
class Opened:
    """What was read of segments lately."""

    blocks: Cache[Block] = field(default_factory=Cache)
    directories: Cache[Directory] = field(default_factory=Cache)

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return self.blocks.size_bytes + self.directories.size_bytes


class FoundSegment(NamedTuple):
    """A segment, and those of its blocks in which to look; as they are stored if not opened yet."""

    segment: Segment
    directory: Directory | bytes
    blocks: list[tuple[int, Block | bytes]]


def find_events(
    wanted: Wanted, after: int, through: int, opened: Opened, connection: apsw.Connection
) -> FoundSegment | array[int]:
    """Return where in ``(after, through]`` events of ``wanted`` may be first.

    That is the next segment; or, when there is none, positions of entries in the log, ascending,
    the first ``FOUND_ENTRIES`` of them. Ask again behind what was returned until it is empty.
    """
    if not wanted.series_ids:
        return array("q")
    folded = folded_position(connection)
    if after < folded:
        part = segment_with(
            wanted.ascending, wanted.from_us, wanted.until_us, after, through, connection
        )
        if part is not None:
            first = part.segment.first_position
            return FoundSegment(
                part.segment,
                opened.directories.get(first) or directory_body(first, connection),
                [
                    (id_, opened.blocks.get(id_) or block_body(id_, connection))
                    for id_ in part.block_ids
                ],
            )
    rows = connection.execute(
        "SELECT position FROM event_log INDEXED BY event_log_by_time "
        "WHERE greatest_us > ? AND least_us <= ? AND position > ? AND position <= ? "
        "ORDER BY position LIMIT ?",
        (wanted.from_us, wanted.until_us, max(after, folded), through, FOUND_ENTRIES),
    )
    return array("q", (position for (position,) in rows))


def read_part(
    path: str, wanted: Wanted, positions: Sequence[int], connection: apsw.Connection
) -> tuple[list[StoredEvents], int]:
    """Return the events of the first of ``positions``, and of how many positions they are.

    They are none if the first was folded since it was found: look again from there on. One that
    is just not there any more was pruned. Raises ``StoreCorrupt``, naming the position, for an
    entry that is damaged.
    """
    found: list[StoredEvents] = []
    size_bytes = entries_read = 0
    for position in positions:
        row = connection.execute(
            "SELECT received_us, body FROM event_log WHERE position = ?", (position,)
        ).get
        if row is None and position <= folded_position(connection):
            break
        entries_read += 1
        if row is None:
            continue
        received_us, body = row
        try:
            batch = decode_chosen(body, received_us, wanted.places)
        except BadEntry as error:
            raise corrupt(path, f"event_log entry {position}: {error}") from error
        if batch is not None:
            found.append(StoredEvents(position, batch))
        size_bytes += len(body)
        if size_bytes >= PART_BYTES:
            break
    return found, entries_read


def _search(column: bytes, number: int) -> list[int]:
    """Return the places of the 4-byte ``number`` in ``column``. ``bytes.find`` runs at C speed."""
    pattern = number.to_bytes(_SERIES_BYTES, sys.byteorder)
    places = []
    at = column.find(pattern)
    while at >= 0:
        place, misaligned = divmod(at, _SERIES_BYTES)
        if not misaligned:
            places.append(place)
        at = column.find(pattern, (place + 1) * _SERIES_BYTES)
    return places
