"""Columns that consist of runs: array operations that begin anew at each of them.

Integers wrap around at 64 bits, so that sums of differences come back whatever they were.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Booleans: TypeAlias = npt.NDArray[np.bool_]

Scalar = TypeVar("Scalar", bound=np.generic)


class Runs:
    """How a column is cut into runs, each of one element at least."""

    def __init__(self, counts: Integers) -> None:
        """The runs have these lengths."""
        self.counts = counts
        self.ends: Integers = np.cumsum(counts)
        """The place behind the last of each run."""
        self.starts: Integers = self.ends - counts

    def spread(self, of_runs: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Return a column in which each element has what its run has in ``of_runs``."""
        return np.repeat(of_runs, self.counts)

    def sums(self, column: Integers) -> Integers:
        """Return for each place the sum of its run up to there."""
        totals: Integers = np.cumsum(column)
        return totals - self.spread(totals[self.starts] - column[self.starts])

    def xors(self, column: Integers) -> Integers:
        """Return for each place the exclusive or of its run up to there."""
        totals: Integers = np.bitwise_xor.accumulate(column)
        return totals ^ self.spread(totals[self.starts] ^ column[self.starts])

    def second_sums(self, firsts: Integers, first_steps: Integers, changes: Integers) -> Integers:
        """Return what has ``firsts`` and steps that begin with ``first_steps`` and then change.

        The first two places of a run in ``changes`` are not looked at.
        """
        steps = changes.copy()
        steps[self.starts] = 0
        has_two = self.counts > 1
        steps[self.starts[has_two] + 1] = first_steps[has_two]
        steps = self.sums(steps)
        steps[self.starts] = firsts
        return self.sums(steps)
