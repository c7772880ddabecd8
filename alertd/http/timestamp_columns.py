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

from alertd.model import US_PER_S

PATTERN: Final = "0000-00-00T00:00:00.000000Z"
"""The spelling: a 0 stands for any digit."""

_CHARS: Final = len(PATTERN)
_DATE_CHARS: Final = len("0000-00-00")
_pattern = np.frombuffer(PATTERN.encode(), np.uint8)
_IS_DIGIT: Final = _pattern == ord("0")
_OF_DAY: Final = np.flatnonzero(_IS_DIGIT)[8:]
"""Where the digits of the time of day stand, down to microseconds."""
_UNITS_US: Final = np.array(
    [unit_s * US_PER_S for unit_s in (36_000, 3_600, 600, 60, 10, 1)]
    + [10**power for power in range(5, -1, -1)],
    np.float64,  # exact for whole numbers below 2**53, and its matrix product is fast
)


def alike_us(texts: Sequence[str], day_us: int) -> array[int] | None:
    """Return the times in microseconds since the epoch, if all are spelt so and of one day.

    Each of ``texts`` has as many characters as ``PATTERN``; ``day_us`` is the beginning of the
    day of the first. None where any has another spelling or day, or is no time of day.
    """
    joined = "".join(texts)
    if not joined.isascii():
        return None
    rows = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), _CHARS)
    digits = rows - ord("0")  # what is below "0" wraps around to more than 9
    well_formed = np.where(_IS_DIGIT, digits <= 9, rows == _pattern)
    if not well_formed.all() or (rows[:, :_DATE_CHARS] != rows[0, :_DATE_CHARS]).any():
        return None
    of_day = digits[:, _OF_DAY].astype(np.float64)
    hours, minutes, seconds = (10 * of_day[:, at] + of_day[:, at + 1] for at in (0, 2, 4))
    if hours.max() > 23 or minutes.max() > 59 or seconds.max() > 59:
        return None
    times_us = (of_day @ _UNITS_US).astype(np.int64) + day_us
    return array("q", times_us.tobytes())
