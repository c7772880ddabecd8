"""Entries of the log on their way into a segment.

Owns how events are put into blocks: by series, those of one series in the order of the log. It is
pure, and holds some 30 bytes an event, ids apart. Invariant: within a segment blocks ascend by
series; a series is in two blocks only if it fills one.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from alertd.model import EventBatch
from alertd.store.block_codec import Run, encode_block
from alertd.store.directory import Directory

BLOCK_EVENTS: Final = 8192
"""At most so many in a block. A read decompresses whole blocks: about 0.3 ms for one of these."""
BLOCK_RUNS: Final = 2048
"""At most so many series in a block: their totals are counted in one transaction."""


class PackedBlock(NamedTuple):
    """A block as its row has it."""

    first_series: int
    last_series: int
    events: int
    least_us: int
    greatest_us: int
    body: bytes


class SegmentDraft:
    """Takes entries one after the other, then gives blocks."""

    def __init__(self) -> None:
        self.directory = Directory()
        self._times_us: array[int] = array("q")
        self._values: array[float] = array("d")
        self._ids: list[str | None] | None = None
        self._ordinals: defaultdict[int, array[int]] = defaultdict(_no_ordinals)

    @property
    def events(self) -> int:
        """How many events were taken."""
        return self.directory.events

    @property
    def least_us(self) -> int:
        """The least time of an event that was taken."""
        return min(self._times_us)

    @property
    def greatest_us(self) -> int:
        """The greatest time of an event that was taken."""
        return max(self._times_us)

    def add(self, position: int, batch: EventBatch) -> None:
        """Take the next entry. Costs 0.1 us an event."""
        first = self.events
        self.directory.add(position, batch.received_us, len(batch), has_ids=batch.ids is not None)
        self._times_us += batch.times_us
        self._values += batch.values
        if batch.ids is not None and self._ids is None:
            self._ids = [None] * first
        if self._ids is not None:
            self._ids += batch.ids or [None] * len(batch)
        ordinals = self._ordinals
        for ordinal, series_id in enumerate(batch.series_ids, first):
            ordinals[series_id].append(ordinal)

    def blocks(self) -> Iterator[PackedBlock]:
        """Yield the events as blocks, each at the cost of ``encode_block``."""
        runs: list[Run] = []
        events = 0
        for run in self._runs():
            if runs and (events + len(run) > BLOCK_EVENTS or len(runs) == BLOCK_RUNS):
                yield _packed(runs)
                runs, events = [], 0
            runs.append(run)
            events += len(run)
        if runs:
            yield _packed(runs)

    def _runs(self) -> Iterator[Run]:
        for series_id in sorted(self._ordinals):
            ordinals = self._ordinals[series_id]
            for start in range(0, len(ordinals), BLOCK_EVENTS):
                yield self._run(series_id, ordinals[start : start + BLOCK_EVENTS])

    def _run(self, series_id: int, ordinals: array[int]) -> Run:
        ids = None if self._ids is None else list(map(self._ids.__getitem__, ordinals))
        return Run(
            series_id=series_id,
            ordinals=ordinals,
            times_us=array("q", map(self._times_us.__getitem__, ordinals)),
            values=array("d", map(self._values.__getitem__, ordinals)),
            ids=ids,
        )


def _no_ordinals() -> array[int]:
    return array("q")


def _packed(runs: list[Run]) -> PackedBlock:
    return PackedBlock(
        first_series=runs[0].series_id,
        last_series=runs[-1].series_id,
        events=sum(map(len, runs)),
        least_us=min(min(run.times_us) for run in runs),
        greatest_us=max(max(run.times_us) for run in runs),
        body=encode_block(runs),
    )
