"""Numbers as JSON writes them, a whole batch in a few array operations.

Owns the plain spelling: digits, with a point and a sign or without; ``1e3`` is not it. Invariant:
what is read is the nearest float64, as ``float`` has it, and what JSON does not allow (RFC 8259,
section 6) is not read. Numbers come in columns of characters, one of each number, because a loop
over short rows costs more than what is done in it. Needs NumPy.

Cost: about 0.04 us a number, 0.2 where one of them has more than ``_EXACT_CHARS``.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from numpy.typing import NDArray

LONGEST_NUMBER: Final = 24
"""Characters of a number; longer ones are not read."""

_EXACT_CHARS: Final = 15
"""So many digits are a whole number below 2**53 over a power of ten below 10**22: one division
rounds that correctly."""

_ZERO, _POINT, _MINUS, _SPACE = (np.uint8(ord(each)) for each in "0.- ")
_TENS: Final = 10.0 ** np.arange(_EXACT_CHARS + 1)


def lengths_of(columns: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many characters a number may have, from the first column on; 0 is for none."""
    lengths = np.zeros(columns.shape[1], np.int64)
    inside = np.ones(columns.shape[1], np.bool_)
    for characters in columns:
        inside &= characters - _MINUS <= ord("9") - _MINUS  # what is below wraps around
        if not inside.any():
            break
        lengths += inside
    return lengths


def floats_in(columns: NDArray[np.uint8], lengths: NDArray[np.int64]) -> array[float] | None:
    """Return the numbers that end with the last column; None if any of them is none.

    The longest of ``lengths`` begins with the first column.
    """
    if not lengths.all():
        return None
    width = len(columns)
    places = np.arange(width, dtype=np.uint8)[:, None]
    begins = (width - lengths).astype(np.uint8)
    columns = np.where(begins <= places, columns, _SPACE)
    digits = columns - _ZERO  # what is below wraps around
    is_digit, is_point = digits <= 9, columns == _POINT
    points = is_point.sum(axis=0, dtype=np.uint8)
    point_at = (is_point * places).sum(axis=0, dtype=np.uint8)
    everyone = np.arange(len(lengths))
    is_negative = columns[begins, everyone] == _MINUS
    begins += is_negative
    after_point = points * (width - 1 - point_at)
    before_point = width - begins - points - after_point
    is_number = (
        (is_digit.sum(axis=0, dtype=np.uint8) == before_point + after_point)
        & (points <= 1)
        & (points <= after_point)
        & (before_point > 0)
        & (before_point <= width)  # else it wrapped around
        & ((before_point == 1) | (columns[begins % width, everyone] != _ZERO))
    )
    if not is_number.all():
        return None
    if width > _EXACT_CHARS:
        values = _one_by_one(columns)
    else:
        # The point counts as a zero: what stands before it is ten times as much.
        written = _TENS[width - 1 :: -1] @ (digits * is_digit).astype(np.float64)
        scale = _TENS[after_point]
        spare = np.floor(written / (10 * scale)) * (9 * scale) * points
        values = (written - spare) / scale
        np.negative(values, out=values, where=is_negative)
    values[points == 0] += 0.0  # -0 is a whole number, of which there is one zero
    return array("d", values.tobytes())


def _one_by_one(columns: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the numbers that ``columns`` hold, with spaces before them."""
    texts = np.ascontiguousarray(columns.T).view(f"S{len(columns)}").ravel().tolist()
    return np.array(list(map(float, texts)))
