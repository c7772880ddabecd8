"""The bytes of a block of rollups: some thousand, series by series, in columns.

Owns the format of ``rollups.body``: the header of ``envelope.py`` with the number of rollups, then
a msgpack array. First the number of series; then, packed as in ``columns.py``, two columns with one
integer a series (its number, how many rollups it has), each as the difference to the one before;
two with one integer a rollup (its minute, likewise as a difference; its count); last four of sums,
rests, least and greatest values, of each its bit pattern XOR the one before.

Invariant: what decodes is what was encoded: a damaged body raises.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import sub, xor
from typing import Final, NamedTuple

import msgpack

from alertd.store.columns import Planes, integers, pack, unpack
from alertd.store.envelope import BadEntry, seal, unseal
from alertd.store.rollup import Rollup, Summary

VERSION: Final = 1

_FLOATS: Final = 4


class RollupRun(NamedTuple):
    """Rollups of one series, by minute, one at least. A minute may be in several runs, in part."""

    series_id: int
    rollups: list[Rollup]


def encode_rollups(runs: Sequence[RollupRun]) -> bytes:
    """Return the body for ``runs``, one at least, ascending by series."""
    rollups = [rollup for run in runs for rollup in run.rollups]
    summaries = [rollup.summary for rollup in rollups]
    content = [
        len(runs),
        _pack_steps([run.series_id for run in runs]),
        _pack_steps([len(run.rollups) for run in runs]),
        _pack_steps([rollup.minute for rollup in rollups]),
        pack(integers([summary.events for summary in summaries])),
        [
            _pack_floats(array("d", column))
            for column in zip(*(summary[1:] for summary in summaries), strict=True)
        ],
    ]
    return seal(VERSION, 0, len(rollups), [msgpack.packb(content)])


def decode_rollups(body: bytes) -> Iterator[RollupRun]:
    """Yield the runs that ``body`` holds, ascending by series. Raises ``BadEntry``.

    Costs about 1 us a rollup.
    """
    count, _, content = unseal(body, VERSION)
    try:
        runs, series, lengths, minutes, counts, floats = msgpack.unpackb(content)
        columns = [_unpack_floats(packed, count) for packed in floats]
    except (ValueError, TypeError, IndexError, msgpack.UnpackException) as error:
        raise BadEntry(f"the columns do not decode: {error}") from error
    if len(columns) != _FLOATS:
        raise BadEntry(f"{len(columns)} columns of numbers")
    ends = list(accumulate(accumulate(unpack(lengths, runs).tolist())))
    if ends[-1:] != [count]:
        raise BadEntry(f"runs of {ends[-1:]} rollups in a block of {count}")
    summaries = map(Summary, unpack(counts, count).tolist(), *columns)
    rollups = list(map(Rollup, accumulate(unpack(minutes, count).tolist()), summaries))
    start = 0
    for series_id, end in zip(accumulate(unpack(series, runs).tolist()), ends, strict=True):
        yield RollupRun(series_id, rollups[start:end])
        start = end


def _pack_steps(numbers: list[int]) -> Planes:
    return pack(integers([numbers[0], *map(sub, numbers[1:], numbers)]))


def _pack_floats(column: array[float]) -> Planes:
    bits = array("q")
    bits.frombytes(column.tobytes())
    return pack(array("q", [bits[0], *map(xor, bits[1:], bits)]))


def _unpack_floats(packed: Planes, count: int) -> list[float]:
    import numpy as np  # not before there is a rollup; see columns.pack

    bits = np.bitwise_xor.accumulate(unpack(packed, count))
    values: list[float] = bits.view(np.float64).tolist()
    return values
