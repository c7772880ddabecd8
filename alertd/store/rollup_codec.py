"""The bytes of a block of rollups: some thousand, series by series, in columns.

Owns the format of ``rollups.body``: the header of ``envelope.py`` with the number of rollups, then
a msgpack array. First the number of series; then, packed as in ``columns.py``, two columns with one
integer a series (its number, how many rollups it has), each as the difference to the one before;
two with one integer a rollup (its minute, likewise as a difference; its count); last the columns of
sums, rests, least and greatest values, each as ``value_codec.py`` has it: decimals, first scaled
value, packed steps, packed corrections.

Invariant: what decodes is what was encoded: a damaged body raises.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeAlias

import msgpack

from alertd.store.columns import Planes, integers, pack, steps, unpack
from alertd.store.envelope import BadEntry, seal, unseal
from alertd.store.rollup import Rollup, Summary
from alertd.store.value_codec import decode_values, encode_values

VERSION: Final = 1

_FLOATS: Final = 4

_PackedFloats: TypeAlias = "tuple[int, int, Planes, Planes]"


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
        pack(integers(steps([run.series_id for run in runs]))),
        pack(integers(steps([len(run.rollups) for run in runs]))),
        pack(integers(steps([rollup.minute for rollup in rollups]))),
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
    ends = list(accumulate(accumulate(unpack(lengths, runs))))
    if ends[-1:] != [count]:
        raise BadEntry(f"runs of {ends[-1:]} rollups in a block of {count}")
    summaries = map(Summary, unpack(counts, count), *columns)
    rollups = list(map(Rollup, accumulate(unpack(minutes, count)), summaries))
    start = 0
    for series_id, end in zip(accumulate(unpack(series, runs)), ends, strict=True):
        yield RollupRun(series_id, rollups[start:end])
        start = end


def _pack_floats(column: array[float]) -> _PackedFloats:
    encoded = encode_values(column)
    return (
        encoded.decimals,
        encoded.first,
        pack(integers(encoded.steps)),
        pack(integers(encoded.corrections)),
    )


def _unpack_floats(packed: _PackedFloats, count: int) -> array[float]:
    decimals, first, value_steps, corrections = packed
    return decode_values(decimals, first, unpack(value_steps, count), unpack(corrections, count))
