"""Values of one series as integers that pack well, without losing a bit.

Two columns stand for a run of float64 values. Most metrics are decimal fractions of a few digits:
such a run is *scaled*, ``round(value * 10**decimals)``, and its first column holds the
differences from one to the next. What the way back, ``scaled / 10**decimals``, misses (usually
nothing; a unit in the last place where a sender computed; the sign of -0.0) is in the second
column as the distance between the two bit patterns. A run of other values is *raw*: zeros in the
first column, and in the second each bit pattern XOR the one before (as in Pelkonen et al.,
"Gorilla", VLDB 2015).

Owns the way back; ``block_encoder.py`` encodes. Invariant: what is decoded has the bits that were
encoded, whatever they were.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, repeat
from operator import add, truediv, xor
from typing import Final

from alertd.store.columns import integers

RAW: Final = 255
"""In the place of the number of decimals: the run is raw."""


def decode_values(
    decimals: int, first: int, steps: array[int], corrections: array[int]
) -> array[float]:
    """Return the values of a run from its columns."""
    if decimals == RAW:
        return _values(array("q", accumulate(corrections, xor)))
    scaled = accumulate(steps[1:], initial=first)
    values = array("d", map(truediv, scaled, repeat(10.0**decimals)))
    if not any(corrections):
        return values
    return _values(integers(list(map(add, _bits(values), corrections))))


def _bits(values: array[float]) -> array[int]:
    bits = array("q")
    bits.frombytes(values.tobytes())
    return bits


def _values(bits: array[int]) -> array[float]:
    values = array("d")
    values.frombytes(bits.tobytes())
    return values
