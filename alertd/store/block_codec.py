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
A run is decoded on its own: the events of one series cost no look at those of others. Leaves
encoding to ``block_encoder.py``.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

import msgpack
import zstandard

from alertd.store.columns import Planes, integers, unpack
from alertd.store.envelope import BadEntry, unseal
from alertd.store.value_codec import decode_values

VERSION: Final = 1

_HEADS: Final = 8
_COLUMNS: Final = 4


class Run(NamedTuple):
    """Events of one series, in the order of the log; the columns have one length, at least 1."""

    series_id: int
    ordinals: array[int]
    """Typecode ``q``, ascending."""
    times_us: array[int]
    """Typecode ``q``, in any order."""
    values: array[float]
    """Typecode ``d``."""
    ids: Sequence[str | None] | None
    """None where no event has one."""

    def __len__(self) -> int:
        return len(self.ordinals)


class Block:
    """A block that was opened; its runs are decoded when they are asked for."""

    def __init__(self, body: bytes) -> None:
        """Look at the heads of ``body``. Raises ``BadEntry``."""
        self.events, _, content = unseal(body, VERSION)
        runs, heads, self._columns, self._ids = _unpacked(content)
        columns = [integers(list(accumulate(unpack(planes, runs)))) for planes in heads]
        self.series_ids, self.counts = columns[0], columns[1]
        """One number a run, ascending, and how many events it has."""
        self._heads = list(zip(*columns[2:], strict=True))
        self._starts = [0, *accumulate(self.counts)]
        if self._starts[-1] != self.events:
            raise BadEntry(f"runs of {self._starts[-1]} events in a block of {self.events}")

    def run(self, number: int) -> Run:
        """Return the run with that number, from 0. Raises ``BadEntry``.

        Costs about 0.2 us an event of the run, and 200 us the first time.
        """
        first_us, time_step, first_ordinal, ordinal_step, decimals, first_value = self._heads[
            number
        ]
        part = slice(self._starts[number], self._starts[number + 1])
        times, ordinals, value_steps, corrections = (column[part] for column in self._all)
        return Run(
            series_id=self.series_ids[number],
            ordinals=_restored(first_ordinal, ordinal_step, ordinals),
            times_us=_restored(first_us, time_step, times),
            values=decode_values(decimals, first_value, value_steps, corrections),
            ids=None if self._all_ids is None else self._all_ids[part],
        )

    def times_us(self, number: int) -> array[int]:
        """Return the times of that run alone, at a third of the cost."""
        first_us, time_step = self._heads[number][:2]
        times = self._all[0][self._starts[number] : self._starts[number + 1]]
        return _restored(first_us, time_step, times)

    @cached_property
    def _all(self) -> list[array[int]]:
        return [unpack(planes, self.events) for planes in self._columns]

    @cached_property
    def _all_ids(self) -> list[str | None] | None:
        return None if self._ids is None else _decode_ids(self._ids, self.events)


def _restored(first: int, step: int, changes: Sequence[int]) -> array[int]:
    """Add up the changes of a step to the steps, and those to what they lead to."""
    if len(changes) == 1:
        return array("q", [first])
    all_steps = accumulate(changes[2:], initial=step)
    return integers(list(accumulate(all_steps, initial=first)))


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
