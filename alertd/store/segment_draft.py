"""Entries of the log on their way into a segment.

Owns how events are put into blocks: by series, those of one series in the order of the log. It is
pure, and holds some 30 bytes an event, ids apart. Invariant: within a segment blocks ascend by
series; a series is in two blocks only if it fills one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np

from alertd.model import EventBatch
from alertd.store.block_encoder import Columns, encode_block
from alertd.store.directory import Directory
from alertd.store.runs import Integers
from alertd.store.segments import PackedBlock

BLOCK_EVENTS: Final = 8192
"""At most so many in a block. A read decompresses whole blocks: about 0.3 ms for one of these."""
BLOCK_RUNS: Final = 2048
"""At most so many series in a block: their totals are counted in one transaction."""


class SegmentDraft:
    """Takes entries one after the other, then gives blocks."""

    def __init__(self) -> None:
        self.directory = Directory()
        self._series_ids: array[int] = array("I")
        self._times_us: array[int] = array("q")
        self._values: array[float] = array("d")
        self._ids: list[str | None] | None = None

    @property
    def events(self) -> int:
        """How many events were taken."""
        return self.directory.events

    @property
    def least_us(self) -> int:
        """The least time of an event that was taken."""
        return int(np.min(self._times_us))

    @property
    def greatest_us(self) -> int:
        """The greatest time of an event that was taken."""
        return int(np.max(self._times_us))

    def add(self, position: int, batch: EventBatch) -> None:
        """Take the next entry."""
        first = self.events
        self.directory.add(position, batch.received_us, len(batch), has_ids=batch.ids is not None)
        self._series_ids += batch.series_ids
        self._times_us += batch.times_us
        self._values += batch.values
        if batch.ids is not None and self._ids is None:
            self._ids = [None] * first
        if self._ids is not None:
            self._ids += batch.ids or [None] * len(batch)

    def blocks(self) -> Iterator[PackedBlock]:
        """Yield the events as blocks: a sort at first, 0.1 us an event, then each its encoding."""
        series_ids = np.frombuffer(self._series_ids, np.uint32)
        times_us, values = np.frombuffer(self._times_us, np.int64), np.frombuffer(self._values)
        order = np.argsort(series_ids, kind="stable")
        sorted_ids = series_ids[order].astype(np.int64)
        starts = _run_starts(sorted_ids)
        ends = np.append(starts[1:], len(order))
        for first, end in _cuts((ends - starts).tolist()):
            part = slice(starts[first], ends[end - 1])
            ordinals = order[part]
            columns = Columns(
                series_ids=sorted_ids[starts[first:end]],
                counts=(ends - starts)[first:end],
                ordinals=ordinals,
                times_us=times_us[ordinals],
                values=values[ordinals],
                ids=None if self._ids is None else [self._ids[place] for place in ordinals],
            )
            yield PackedBlock(
                first_series=int(columns.series_ids[0]),
                last_series=int(columns.series_ids[-1]),
                events=len(ordinals),
                least_us=int(columns.times_us.min()),
                greatest_us=int(columns.times_us.max()),
                body=encode_block(columns),
            )


def _run_starts(sorted_ids: Integers) -> Integers:
    """Return where runs begin: where a series does, and within one every ``BLOCK_EVENTS``."""
    starts = np.flatnonzero(np.diff(sorted_ids, prepend=-1))
    ends = np.append(starts[1:], len(sorted_ids))
    long = np.flatnonzero(ends - starts > BLOCK_EVENTS)
    more = [np.arange(starts[run] + BLOCK_EVENTS, ends[run], BLOCK_EVENTS) for run in long]
    return np.sort(np.concatenate([starts, *more]))


def _cuts(counts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first run of each block and the one behind its last."""
    first = events = 0
    for run, count in enumerate(counts):
        if run > first and (events + count > BLOCK_EVENTS or run - first == BLOCK_RUNS):
            yield first, run
            first, events = run, 0
        events += count
    yield first, len(counts)
