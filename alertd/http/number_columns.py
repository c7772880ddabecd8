"""Numbers as JSON writes them, a whole batch in a few array operations.

Owns how they are found and read where they stand one below the other. Invariant: what is read is
what msgspec reads. Where all have as many digits behind the point, as many programs write them,
they are read by their digits; others are msgspec's, all of them as one array. Needs NumPy.

Cost: about 0.02 us a number of the one sort, 0.05 of the other.
"""

from __future__ import annotations

from array import array
from struct import pack
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from alertd.http.digit_rows import digits_in

LONGEST_NUMBER: Final = 24
"""Characters of a number; longer ones are not read."""

_MOST_EXACT_DIGITS: Final = 15
"""A float has room for all whole numbers of so many digits."""
_MINUS: Final = np.uint8(ord("-"))
_SPACE, _COMMA, _BEGIN, _END = b" ,[]"
_ZERO: Final = ord("0")

_decode = msgspec.json.Decoder(list[float]).decode


def lengths_of(columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many characters a plain number may have, from the first column on; 0 is for none.

    Plain is what has digits, points and signs only: where ``1e3`` ends is not seen.
    """
    lengths = np.zeros(columns.shape[1], np.int64)
    inside = np.ones(columns.shape[1], np.bool_)
    for characters in columns:
        inside &= characters - _MINUS <= ord("9") - _MINUS  # what is below wraps around
        if not inside.any():
            break
        lengths += inside
    return lengths


def floats_in(rows: NDArray[np.uint8], lengths: NDArray[np.int64]) -> array[float] | None:
    """Return the numbers that end with the last column of ``rows``; None if any of them is none.

    Each has one of ``lengths``, of which the longest begins with the second column. The rows are
    written to.
    """
    width = rows.shape[1]
    outside = None
    if lengths.min() < width - 1:
        outside = np.tri(width, dtype=np.bool_).take(width - 1 - lengths, axis=0)
    numbers = _alike_in_form(rows, lengths, outside)
    if numbers is not None:
        return numbers
    if outside is not None:
        np.putmask(rows, outside, _SPACE)
    rows[:, 0] = _COMMA
    rows[0, 0] = _BEGIN
    try:
        values = _decode(rows.tobytes() + bytes((_END,)))
    except msgspec.MsgspecError:
        return None
    if len(values) != len(rows):
        return None
    return array("d", pack(f"{len(values)}d", *values))  # a third of what array takes by itself


def _alike_in_form(
    rows: NDArray[np.uint8], lengths: NDArray[np.int64], outside: NDArray[np.bool_] | None
) -> array[float] | None:
    """Return the numbers if none has a sign and all have as many digits behind the point.

    ``outside`` says which places before a number are not its own. What is divided and by what are
    both exact, so the quotient is the float nearest to what is written (W. D. Clinger, "How to read
    floating point numbers accurately", PLDI 1990).
    """
    width = rows.shape[1]
    decimals = rows[0, ::-1].tobytes().find(b".")
    point = width - 1 - decimals if decimals > 0 else width
    whole = lengths - (width - point)
    if decimals == 0 or width - 1 > _MOST_EXACT_DIGITS or whole.min() < 1:
        return None
    pattern, greatest = np.full(width, _ZERO, np.uint8), np.full(width, 9, np.uint8)
    units = 10 ** np.arange(width - 1, -1, -1)  # whole numbers: a power of floats may be off
    if decimals > 0:
        pattern[point], greatest[point] = ord("."), 0
        units[:point] //= 10
    if outside is not None:
        np.putmask(rows, outside, _ZERO)
    rows[:, 0] = _ZERO
    digits = digits_in(rows, pattern, greatest)
    if digits is None:
        return None
    firsts = digits.ravel().take(np.arange(1, len(rows) + 1) * width - lengths)
    if ((firsts == 0) & (whole > 1)).any():
        return None  # 007 is no number
    mantissas = digits.astype(np.float64) @ units.astype(np.float64)
    numbers = mantissas / float(10 ** max(decimals, 0))
    return array("d", numbers.tobytes())
