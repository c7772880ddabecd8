"""Some events out of a segment, in the order of the log.

Owns the choice: which events of which blocks, and the way back to entries. Invariant: what comes
out is what a filter of the entries would give, to the bit. It is pure, all in array operations;
leaves which blocks to look at to ``event_reads.py``. Needs NumPy, and is imported when there is a
segment.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from alertd.model import EventBatch
from alertd.store.block_codec import Block
from alertd.store.directory import Directory
from alertd.store.event_columns import EventColumns
from alertd.store.event_reads import FoundSegment, Opened, Wanted
from alertd.store.protocols import StoredEvents
from alertd.store.runs import Booleans, Floats, Integers
from alertd.store.segment_reads import naming_block, opened_block, opened_directory


class _Columns(NamedTuple):
    """Some events of one block, or of several."""

    ordinals: Integers
    series_ids: Integers
    times_us: Integers
    values: Floats
    ids: list[str | None]
    """Empty where no entry of the segment has any."""


class ChosenEvents:
    """Some events of a segment; some 40 bytes each, ids apart."""

    def __init__(
        self,
        found: FoundSegment,
        wanted: Wanted,
        after: int,
        through: int,
        opened: Opened,
        path: str,
    ) -> None:
        """Decode the events of ``wanted`` at positions in ``(after, through]``.

        A block costs 0.4 ms, and a tenth of that if it is among those that were ``opened`` lately.
        Raises ``StoreCorrupt``.
        """
        self._directory = directory = _directory(found, opened, path)
        among = directory.ordinals(after, through)
        series_ids = np.array(wanted.ascending)
        with_ids = any(directory.has_ids)
        parts: list[_Columns] = []
        for block_id, stored in found.blocks:
            block = _block(block_id, stored, opened, path)
            with naming_block(block_id, path):
                is_wanted = _among(block.series_ids, series_ids)
                parts += _choose(block, is_wanted, wanted, among, with_ids=with_ids)
        self._columns = _in_order(parts)
        ends = np.frombuffer(directory.ends, np.int64)
        self._entries = np.searchsorted(ends, self._columns.ordinals, side="right")

    def __iter__(self) -> Iterator[StoredEvents]:
        """Yield them entry by entry, each made when it is its turn."""
        directory, columns = self._directory, self._columns
        cuts = np.flatnonzero(np.diff(self._entries, prepend=-1)).tolist()
        for start, end in pairwise([*cuts, len(self._entries)]):
            entry, part = self._entries[start], slice(start, end)
            batch = EventBatch(
                received_us=directory.received_us[entry],
                series_ids=array("I", columns.series_ids[part].astype(np.uint32).tobytes()),
                times_us=array("q", columns.times_us[part].tobytes()),
                values=array("d", columns.values[part].tobytes()),
                ids=tuple(columns.ids[part]) if directory.has_ids[entry] else None,
            )
            yield StoredEvents(directory.positions[entry], batch)

    def columns(self) -> EventColumns:
        """Return all of them at once."""
        columns = self._columns
        return EventColumns(
            times_us=columns.times_us,
            positions=np.frombuffer(self._directory.positions, np.int64)[self._entries],
            places=columns.ordinals,
            series_ids=columns.series_ids,
            values=columns.values,
            received_us=np.frombuffer(self._directory.received_us, np.int64)[self._entries],
            ids=columns.ids or [None] * len(columns.ordinals),
        )


def _among(numbers: Integers, ascending: Integers) -> Booleans:
    """Return which of ``numbers`` are in ``ascending``, which has one at least."""
    places = np.searchsorted(ascending, numbers)
    places[places == len(ascending)] = 0
    found: Booleans = ascending[places] == numbers
    return found


def _choose(
    block: Block, is_wanted: Booleans, wanted: Wanted, among: range, *, with_ids: bool
) -> Iterator[_Columns]:
    """Yield the events of ``block`` that are wanted, if there are any."""
    times_us = block.times_us
    is_chosen = block.runs.spread(is_wanted)
    is_chosen &= (times_us > wanted.from_us) & (times_us <= wanted.until_us)
    if not is_chosen.any():
        return  # and the other columns need not be decoded
    ordinals = block.ordinals
    places = np.flatnonzero(is_chosen & (ordinals >= among.start) & (ordinals < among.stop))
    ids: list[str | None] = []
    if with_ids:
        ids = [None if block.ids is None else block.ids[place] for place in places.tolist()]
    yield _Columns(
        ordinals=ordinals[places],
        series_ids=block.series_ids[np.searchsorted(block.runs.ends, places, side="right")],
        times_us=times_us[places],
        values=block.values[places],
        ids=ids,
    )


def _in_order(parts: list[_Columns]) -> _Columns:
    """Return all of ``parts`` in the order of the log."""
    if not parts:
        nothing = np.zeros(0, np.int64)
        return _Columns(nothing, nothing, nothing, np.zeros(0), [])
    ordinals, series_ids, times_us = (
        np.concatenate([part[number] for part in parts]) for number in range(3)
    )
    order = np.argsort(ordinals)  # while it sorts, others have the GIL
    ids = [event_id for part in parts for event_id in part.ids]
    return _Columns(
        ordinals[order],
        series_ids[order],
        times_us[order],
        np.concatenate([part.values for part in parts])[order],
        [ids[place] for place in order.tolist()] if ids else [],
    )


def _directory(found: FoundSegment, opened: Opened, path: str) -> Directory:
    if isinstance(found.directory, Directory):
        return found.directory
    directory = opened_directory(found.segment, found.directory, path)
    opened.directories.keep(found.segment.first_position, directory)
    return directory


def _block(block_id: int, stored: Block | bytes, opened: Opened, path: str) -> Block:
    if isinstance(stored, Block):
        return stored
    block = opened_block(block_id, stored, path)
    opened.blocks.keep(block_id, block)
    return block
