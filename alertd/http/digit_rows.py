"""Texts of one length as rows of their bytes: which digit stands where.

Owns the comparison of whole columns of such texts with a pattern, for times
(``timestamp_columns.py``) and numbers (``number_columns.py``). Needs NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def digits_in(
    rows: NDArray[np.uint8], pattern: NDArray[np.uint8], greatest: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Return by how much each character exceeds that of ``pattern``; None if one by too much.

    Where a "0" stands in the pattern and ``greatest`` is 9 that is the digit; where ``greatest`` is
    0 the character must be the pattern's.
    """
    # Flat, because a loop over short rows costs more than what is done in it.
    over = rows.ravel() ^ _repeated(pattern, len(rows))  # digits begin at a multiple of 16
    if (over > _repeated(greatest, len(rows))).any():
        return None
    return over.reshape(rows.shape)


def _repeated(row: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Return what ``numpy.tile`` does, in an eighth of the time."""
    return np.frombuffer(row.tobytes() * times, np.uint8)
