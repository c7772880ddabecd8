"""Values of one series as integers that pack well, without losing a bit.

Owns two columns for a run of float64 values. Most metrics are decimal fractions of a few digits:
such a run is *scaled*, ``round(value * 10**decimals)``, and its first column holds the
differences from one to the next. What the way back, ``scaled / 10**decimals``, misses (usually
nothing; a unit in the last place where a sender computed; the sign of -0.0) is in the second
column as the distance between the two bit patterns. A run of other values is *raw*: zeros in the
first column, and in the second each bit pattern XOR the one before (as in Pelkonen et al.,
"Gorilla", VLDB 2015).

Invariant: what is decoded has the bits that were encoded, whatever they were.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, repeat
from operator import add, mul, sub, truediv, xor
from typing import Final, NamedTuple

from alertd.store.columns import integers

RAW: Final = 255
"""In the place of the number of decimals: the run is raw."""

MAX_DECIMALS: Final = 9
"""More digits than this behind the point are noise: such a run packs better raw."""
MAX_CORRECTION: Final = 1 << 12
"""Units in the last place; a scaled value that misses by more says that the run is not decimal."""
_LIMIT: Final = 1 << 62
"""Steps between scaled values of at most this size fit in 64 bits."""


class EncodedValues(NamedTuple):
    """The two columns of a run, and what is needed to read them."""

    decimals: int
    first: int
    """The first scaled value; 0 if the run is raw."""
    steps: list[int]
    """From each scaled value to the next; begins with a 0, so that places stay places."""
    corrections: list[int]


def encode_values(values: array[float]) -> EncodedValues:
    """Return the columns of ``values``, of which there is one at least."""
    bits = _bits(values)
    encoded = _encode_scaled(values, bits, _digits(values[:: 1 + len(values) // 3]))
    if encoded is None:  # what was looked at does not speak for all
        encoded = _encode_scaled(values, bits, _digits(values))
    if encoded is not None:
        return encoded
    return EncodedValues(RAW, 0, [0] * len(values), [bits[0], *map(xor, bits[1:], bits)])


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


def _encode_scaled(values: array[float], bits: array[int], decimals: int) -> EncodedValues | None:
    """Return the columns of a scaled run, or None if ``decimals`` digits do not hold it."""
    if decimals > MAX_DECIMALS:
        return None
    power = 10.0**decimals
    try:
        scaled = list(map(round, map(mul, values, repeat(power))))
    except (OverflowError, ValueError):  # an infinity
        return None
    if max(scaled) > _LIMIT or min(scaled) < -_LIMIT:
        return None
    near = _bits(array("d", map(truediv, scaled, repeat(power))))
    if near == bits:
        corrections = [0] * len(values)
    else:
        corrections = list(map(sub, bits, near))
        if max(corrections) > MAX_CORRECTION or min(corrections) < -MAX_CORRECTION:
            return None
    return EncodedValues(decimals, scaled[0], [0, *map(sub, scaled[1:], scaled)], corrections)


def _digits(values: array[float]) -> int:
    """Return how many digits behind the point ``values`` have at most, to 15 significant ones.

    Every decimal fraction of so many digits survives the way to float64 and back (IEEE 754).
    """
    most = 0
    for value in values:
        digits, _, exponent = format(value, ".15g").partition("e")
        most = max(most, len(digits.partition(".")[2]) - int(exponent or 0))
    return most


def _bits(values: array[float]) -> array[int]:
    bits = array("q")
    bits.frombytes(values.tobytes())
    return bits


def _values(bits: array[int]) -> array[float]:
    values = array("d")
    values.frombytes(bits.tobytes())
    return values
