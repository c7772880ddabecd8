"""The bytes of a block: some thousand events, series by series, in columns.

Owns the format of ``blocks.body``: the header of ``envelope.py`` with the number of events, then a
msgpack array. First the number of runs and their *heads*, eight packed columns (``columns.py``)
with one integer a run: series number, number of events, first time, first step of time, first
ordinal, first step of ordinal, decimals, first value; each as the difference to the run before,
for neighbours are alike. Then four packed columns with one integer an event: how the step of time
changes ("delta of delta"), how that of the ordinal does, and the two of ``value_codec.py``. Last
the ids, a msgpack array in a zstd frame, or nil if there are none.

A *run* is what a block has of one series, in the order of the log. An *ordinal* is the place of an
event in its segment's part of the log. Regular traffic has regular ordinals, so that the order of
the log costs next to nothing; an event that comes late only costs a few bytes.

Invariant: what decodes is what was encoded: a damaged body raises, it never yields other events.
A column is decoded as a whole, all runs at once, when it is asked for first. Leaves encoding to
``block_encoder.py``. Needs NumPy, and is imported when there is a block.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final, NamedTuple

import msgpack
import numpy as np
import zstandard

from alertd.store.columns import Planes, unpack
from alertd.store.envelope import BadEntry, unseal
from alertd.store.runs import Floats, Integers, Runs
from alertd.store.value_codec import decode_values

VERSION: Final = 1

_HEADS: Final = 8
_COLUMNS: Final = 4
_EVENT_BYTES: Final = 3 * 8
_ID_BYTES: Final = 100


class _Heads(NamedTuple):
    """What there is once a run; the names say what."""

    series_ids: Integers
    counts: Integers
    first_us: Integers
    time_steps: Integers
    first_ordinals: Integers
    ordinal_steps: Integers
    decimals: Integers
    first_values: Integers


class Block:
    """A block that was opened; its columns are decoded when they are asked for.

    All three together cost about 0.05 us an event. Several threads may ask.
    """

    def __init__(self, body: bytes) -> None:
        """Look at the heads of ``body``. Raises ``BadEntry``."""
        self.events, _, content = unseal(body, VERSION)
        count, heads, self._columns, self._ids = _unpacked(content)
        self._heads = _Heads(*(np.cumsum(unpack(planes, count)) for planes in heads))
        self.series_ids = self._heads.series_ids
        """One number a run, ascending."""
        self.runs = Runs(self._heads.counts)
        if self.runs.ends[-1] != self.events:
            raise BadEntry(f"runs of {self.runs.ends[-1]} events in a block of {self.events}")

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes once all of it is decoded."""
        return self.events * (_EVENT_BYTES + (0 if self._ids is None else _ID_BYTES))

    @cached_property
    def times_us(self) -> Integers:
        """The event times, run by run. Raises ``BadEntry``, as the other columns do."""
        changes = unpack(self._columns[0], self.events)
        heads = self._heads
        return self.runs.second_sums(heads.first_us, heads.time_steps, changes)

    @cached_property
    def ordinals(self) -> Integers:
        """Where the events are in the segment's part of the log."""
        changes = unpack(self._columns[1], self.events)
        heads = self._heads
        return self.runs.second_sums(heads.first_ordinals, heads.ordinal_steps, changes)

    @cached_property
    def values(self) -> Floats:
        """The values."""
        steps, corrections = (unpack(planes, self.events) for planes in self._columns[2:])
        heads = self._heads
        return decode_values(self.runs, heads.decimals, heads.first_values, steps, corrections)

    @cached_property
    def ids(self) -> list[str | None] | None:
        """The ids; None where no event has one."""
        return None if self._ids is None else _decode_ids(self._ids, self.events)


def _unpacked(content: memoryview) -> tuple[int, list[Planes], list[Planes], bytes | None]:
    """Return the number of runs, the heads, the columns and the ids, as they were packed."""
    try:
        runs, heads, columns, ids = msgpack.unpackb(content)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise BadEntry(f"the columns do not decode: {error}") from error
    if len(heads) != _HEADS or len(columns) != _COLUMNS:
        raise BadEntry(f"{len(heads)} heads and {len(columns)} columns")
    return runs, heads, columns, ids


def _decode_ids(packed: bytes, events: int) -> list[str | None]:
    try:
        ids: list[str | None] = msgpack.unpackb(
            zstandard.decompress(packed), unicode_errors="surrogatepass"
        )
    except (ValueError, msgpack.UnpackException, zstandard.ZstdError) as error:
        raise BadEntry(f"the ids do not decode: {error}") from error
    if len(ids) != events:
        raise BadEntry(f"{len(ids)} ids for {events} events")
    return ids
