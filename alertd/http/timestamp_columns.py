"""Times all written like ``2025-06-30T15:00:00.123456Z``, a whole batch in a few array operations.

Owns this one spelling, which is what most senders write; ``timestamp.py`` has the meaning of all
others, and is what this must agree with. Needs NumPy.

Cost: about 0.1 us a time, where a Python loop over C functions takes 0.4 us.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from alertd.model import US_PER_S

PATTERN: Final = "0000-00-00T00:00:00.000000Z"
"""The spelling: a 0 stands for any digit."""

_CHARS: Final = len(PATTERN)
_DATE_CHARS: Final = len("0000-00-00")
_pattern = np.frombuffer(PATTERN.encode(), np.uint8)
_GREATEST: Final = np.array([int(each) for each in "000000000002905905909999990"], np.uint8)
"""By how much each character may exceed the pattern's; the date is looked at apart."""
_UNITS_US: Final = np.zeros(_CHARS)
"""What each digit of the time of day counts. Floats are exact for whole numbers below 2**53."""
_UNITS_US[[11, 12, 14, 15, 17, 18]] = np.array([36_000, 3_600, 600, 60, 10, 1]) * US_PER_S
_UNITS_US[20:26] = 10 ** np.arange(5, -1, -1)
_HOUR_TENS, _HOUR_ONES = 11, 12


def alike_us(texts: Sequence[str], day_us: int) -> array[int] | None:
    """Return the times in microseconds since the epoch, if all are spelt so and of one day.

    Each of ``texts`` has as many characters as ``PATTERN``; ``day_us`` is the beginning of the
    day of the first. None where any has another spelling or day, or is no time of day.
    """
    joined = "".join(texts)
    if not joined.isascii():
        return None
    return rows_us(np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), _CHARS), day_us)


def rows_us(rows: NDArray[np.uint8], day_us: int) -> array[int] | None:
    """Return ``alike_us`` of texts as rows of their bytes."""
    expected = np.concatenate((rows[0, :_DATE_CHARS], _pattern[_DATE_CHARS:]))
    # Flat, because a loop over short rows costs more than what is done in it.
    over = rows.ravel() ^ np.tile(expected, len(rows))  # digits begin at a multiple of 16
    if (over > np.tile(_GREATEST, len(rows))).any():
        return None
    over = over.reshape(rows.shape)
    if ((over[:, _HOUR_TENS] == 2) & (over[:, _HOUR_ONES] > 3)).any():
        return None
    times_us = (over.astype(np.float64) @ _UNITS_US).astype(np.int64) + day_us
    return array("q", times_us.tobytes())
