"""Events out of a segment: all of them as the log had them, or some of some series.

Owns the way from blocks back to entries. Invariant: entries come out as they were appended, to
the bit. It is pure; leaves which blocks to look at to ``segments.py``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

from alertd.model import EventBatch
from alertd.store.block_codec import Block, Run
from alertd.store.directory import Directory
from alertd.store.envelope import BadEntry
from alertd.store.event_reads import Wanted
from alertd.store.failures import corrupt
from alertd.store.protocols import LogEntry, StoredEvents
from alertd.store.segments import SeriesTotals, StoredBlock, StoredSegment


class RestoredSegment:
    """All events of a segment in the order of the log; some 20 bytes each, ids apart."""

    def __init__(self, stored: StoredSegment, path: str) -> None:
        """Decode ``stored``, about 0.5 us an event. Raises ``StoreCorrupt``."""
        count = stored.segment.events
        self._directory = _directory(stored, path)
        self._series_ids = array("I", bytes(4 * count))
        self._times_us = array("q", bytes(8 * count))
        self._values = array("d", bytes(8 * count))
        self._ids: list[str | None] | None = (
            [None] * count if any(self._directory.has_ids) else None
        )
        found = 0
        for block_id, block in _opened(stored, path):
            with _naming_block(block_id, path):
                for number in range(len(block.series_ids)):
                    self._put(block.run(number))
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

    def _put(self, run: Run) -> None:
        """Put each event of ``run`` at the place that is its ordinal."""
        series_ids, times_us, values = self._series_ids, self._times_us, self._values
        series_id = run.series_id
        for ordinal, time_us, value in zip(run.ordinals, run.times_us, run.values, strict=True):
            series_ids[ordinal] = series_id
            times_us[ordinal] = time_us
            values[ordinal] = value
        if self._ids is not None and run.ids is not None:
            for ordinal, event_id in zip(run.ordinals, run.ids, strict=True):
                self._ids[ordinal] = event_id


class ChosenEvents:
    """Some events of a segment in the order of the log; some 40 bytes each, ids apart."""

    def __init__(
        self, stored: StoredSegment, wanted: Wanted, after: int, through: int, path: str
    ) -> None:
        """Decode the events of ``wanted`` at positions in ``(after, through]``.

        Costs about 0.5 ms a block and 0.5 us an event of the series. Raises ``StoreCorrupt``.
        """
        self._wanted = wanted
        self._directory = _directory(stored, path)
        self._among = self._directory.ordinals(after, through)
        self._ordinals: array[int] = array("q")
        self._series_ids: array[int] = array("I")
        self._times_us: array[int] = array("q")
        self._values: array[float] = array("d")
        self._ids: list[str | None] = []
        for block_id, block in _opened(stored, path):
            with _naming_block(block_id, path):
                for number, series_id in enumerate(block.series_ids):
                    if series_id in wanted.series_ids:
                        self._take(block.run(number))
        self._sort()

    def __iter__(self) -> Iterator[StoredEvents]:
        """Yield them entry by entry, each made when it is its turn."""
        ordinals, directory = self._ordinals, self._directory
        start = 0
        while start < len(ordinals):
            entry = directory.entry_of(ordinals[start])
            end = bisect_left(ordinals, directory.ends[entry], start)
            batch = EventBatch(
                received_us=directory.received_us[entry],
                series_ids=self._series_ids[start:end],
                times_us=self._times_us[start:end],
                values=self._values[start:end],
                ids=tuple(self._ids[start:end]) if directory.has_ids[entry] else None,
            )
            yield StoredEvents(directory.positions[entry], batch)
            start = end

    def _sort(self) -> None:
        """Bring all columns into the order of the log."""
        import numpy as np  # not before there is a segment; see columns.pack

        order = np.argsort(np.asarray(self._ordinals))  # while it sorts, others have the GIL
        for column in (self._ordinals, self._series_ids, self._times_us, self._values):
            ordered = np.asarray(column)[order].tobytes()
            del column[:]
            column.frombytes(ordered)
        if any(self._directory.has_ids):
            self._ids = [self._ids[place] for place in order]

    def _take(self, run: Run) -> None:
        """Keep those events of ``run`` that are asked for."""
        from_us, until_us, among = self._wanted.from_us, self._wanted.until_us, self._among
        places = [
            place
            for place, (time_us, ordinal) in enumerate(zip(run.times_us, run.ordinals, strict=True))
            if from_us < time_us <= until_us and ordinal in among
        ]
        self._ordinals.extend(map(run.ordinals.__getitem__, places))
        self._series_ids.extend(repeat(run.series_id, len(places)))
        self._times_us.extend(map(run.times_us.__getitem__, places))
        self._values.extend(map(run.values.__getitem__, places))
        self._ids.extend(
            repeat(None, len(places)) if run.ids is None else map(run.ids.__getitem__, places)
        )


def totals_of(stored: StoredBlock, path: str) -> list[SeriesTotals]:
    """Return what each run of a block adds to its series. Raises ``StoreCorrupt``."""
    totals = []
    with _naming_block(stored.id, path):
        block = Block(stored.body)
        for number, (series_id, count) in enumerate(
            zip(block.series_ids, block.counts, strict=True)
        ):
            times_us = block.times_us(number)
            totals.append(SeriesTotals(series_id, count, min(times_us), max(times_us)))
    return totals


def _directory(stored: StoredSegment, path: str) -> Directory:
    try:
        return Directory.decode(stored.directory)
    except BadEntry as error:
        name = stored.segment.first_position
        raise corrupt(path, f"the directory of segment {name}: {error}") from error


def _opened(stored: StoredSegment, path: str) -> Iterator[tuple[int, Block]]:
    for block_id, body in stored.blocks:
        with _naming_block(block_id, path):
            block = Block(body)
        yield block_id, block


@contextmanager
def _naming_block(block_id: int, path: str) -> Iterator[None]:
    try:
        yield
    except (BadEntry, IndexError) as error:
        raise corrupt(path, f"block {block_id} of the folded events: {error}") from error
