"""Values of one series as integers that pack well, without losing a bit.

Two columns stand for a run of float64 values. Most metrics are decimal fractions of a few digits:
such a run is *scaled*, ``round(value * 10**decimals)``, and its first column holds the
differences from one to the next. What the way back, ``scaled / 10**decimals``, misses (usually
nothing; a unit in the last place where a sender computed; the sign of -0.0) is in the second
column as the distance between the two bit patterns. A run of other values is *raw*: zeros in the
first column, and in the second each bit pattern XOR the one before (as in Pelkonen et al.,
"Gorilla", VLDB 2015).

Owns the way back, for many runs at once; ``block_encoder.py`` encodes. Invariant: what is decoded
has the bits that were encoded, whatever they were. Needs NumPy.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from alertd.store.runs import Floats, Integers, Runs

RAW: Final = 255
"""In the place of the number of decimals: the run is raw."""
MAX_DECIMALS: Final = 9
"""More digits than this behind the point are noise: such a run packs better raw."""
POWERS: Final = 10.0 ** np.arange(MAX_DECIMALS + 1)


def decode_values(
    runs: Runs, decimals: Integers, firsts: Integers, steps: Integers, corrections: Integers
) -> Floats:
    """Return the values of ``runs`` from two numbers a run and two columns."""
    scaled = steps.copy()
    scaled[runs.starts] = firsts
    powers = POWERS[np.minimum(decimals, MAX_DECIMALS)]
    values: Floats = runs.sums(scaled) / runs.spread(powers)
    bits = values.view(np.int64)
    bits += corrections
    is_raw = decimals == RAW
    if is_raw.any():
        of_raw = runs.spread(is_raw)
        bits[of_raw] = runs.xors(corrections)[of_raw]
    return values
