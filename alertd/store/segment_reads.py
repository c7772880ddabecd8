"""All events of a segment as the log had them, and the totals of a block.

Owns the way from blocks back to entries. Invariant: entries come out as they were appended, to
the bit. It is pure; leaves which blocks to look at to ``segments.py``, and some events of a segment
to ``chosen_events.py``. Needs NumPy, and is imported when there is a segment.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from alertd.model import EventBatch
from alertd.store.block_codec import Block
from alertd.store.directory import Directory
from alertd.store.envelope import BadEntry
from alertd.store.failures import corrupt
from alertd.store.protocols import LogEntry
from alertd.store.segments import Segment, SeriesTotals, StoredBlock, StoredSegment


class RestoredSegment:
    """All events of a segment in the order of the log; some 20 bytes each, ids apart."""

    def __init__(self, stored: StoredSegment, path: str) -> None:
        """Decode ``stored``, about 0.1 us an event. Raises ``StoreCorrupt``."""
        count = stored.segment.events
        self._directory = opened_directory(stored.segment, stored.directory, path)
        self._series_ids = array("I", bytes(4 * count))
        self._times_us = array("q", bytes(8 * count))
        self._values = array("d", bytes(8 * count))
        self._ids: list[str | None] | None = (
            [None] * count if any(self._directory.has_ids) else None
        )
        found = 0
        for block_id, body in stored.blocks:
            block = opened_block(block_id, body, path)
            with naming_block(block_id, path):
                self._put(block)
            found += block.events
        if not found == count == self._directory.events:
            name = stored.segment.first_position
            raise corrupt(path, f"segment {name} has {found} of its {count} events")

    def entries(self, after: int) -> Iterator[LogEntry]:
        """Yield the entries behind position ``after``, each made when it is its turn."""
        directory = self._directory
        for place in range(bisect_right(directory.positions, after), len(directory.positions)):
            end = directory.ends[place]
            part = slice(end - directory.counts[place], end)
            has_ids = directory.has_ids[place] and self._ids is not None
            batch = EventBatch(
                received_us=directory.received_us[place],
                series_ids=self._series_ids[part],
                times_us=self._times_us[part],
                values=self._values[part],
                ids=tuple(self._ids[part]) if self._ids is not None and has_ids else None,
            )
            yield LogEntry(directory.positions[place], batch)

    def _put(self, block: Block) -> None:
        """Put each event of ``block`` at the place that is its ordinal."""
        ordinals = block.ordinals
        np.frombuffer(self._series_ids, np.uint32)[ordinals] = block.runs.spread(block.series_ids)
        np.frombuffer(self._times_us, np.int64)[ordinals] = block.times_us
        np.frombuffer(self._values)[ordinals] = block.values
        if self._ids is not None and block.ids is not None:
            for ordinal, event_id in zip(ordinals.tolist(), block.ids, strict=True):
                self._ids[ordinal] = event_id


def totals_of(stored: StoredBlock, path: str) -> list[SeriesTotals]:
    """Return what each run of a block adds to its series. Raises ``StoreCorrupt``."""
    block = opened_block(stored.id, stored.body, path)
    with naming_block(stored.id, path):
        starts, times_us = block.runs.starts, block.times_us
        columns = (
            block.series_ids,
            block.runs.counts,
            np.minimum.reduceat(times_us, starts),
            np.maximum.reduceat(times_us, starts),
        )
    return list(map(SeriesTotals, *(column.tolist() for column in columns)))


def opened_directory(segment: Segment, body: bytes, path: str) -> Directory:
    """Return the directory of ``segment``. Raises ``StoreCorrupt``."""
    try:
        return Directory.decode(body)
    except BadEntry as error:
        name = segment.first_position
        raise corrupt(path, f"the directory of segment {name}: {error}") from error


def opened_block(block_id: int, body: bytes, path: str) -> Block:
    """Return the block ``body``. Raises ``StoreCorrupt``."""
    with naming_block(block_id, path):
        return Block(body)


@contextmanager
def naming_block(block_id: int, path: str) -> Iterator[None]:
    """Raise ``StoreCorrupt`` for what is wrong in that block."""
    try:
        yield
    except (BadEntry, IndexError) as error:
        raise corrupt(path, f"block {block_id} of the folded events: {error}") from error
