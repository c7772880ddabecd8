"""Sums of floats without any error.

Owns ``ExactSum``: a float is an integer over a power of two, so a sum of floats is one too,
and Python's integers hold it exactly. Adding and removing values in any order leaves exactly
the sum of what remains: nothing drifts, and one value of 1e308 is gone when it is removed.

A running float sum would be some 5 times cheaper an operation but carries an error that has to
be bounded, refreshed and settled; see ARCHITECTURE, decisions.
"""

from __future__ import annotations

import math

_INFINITY = math.inf


class ExactSum:
    """A multiset of finite floats, known by its exact sum and, if asked for, sum of squares.

    O(1) for each operation as long as the exponents lie within a few hundred bits.
    """

    __slots__ = ("_shift", "_squares", "_sum", "_with_squares")

    def __init__(self, *, with_squares: bool = False) -> None:
        self._sum = 0  # times 2**_shift
        self._squares = 0  # times 2**(2 * _shift)
        self._shift = 0
        self._with_squares = with_squares

    def add(self, value: float) -> None:
        """Add ``value``, which must be finite."""
        scaled = self._scaled(value)
        self._sum += scaled
        if self._with_squares:
            self._squares += scaled * scaled

    def remove(self, value: float) -> None:
        """Remove ``value``, which must have been added before."""
        scaled = self._scaled(value)
        self._sum -= scaled
        if self._with_squares:
            self._squares -= scaled * scaled

    def clear(self) -> None:
        """Remove everything."""
        self._sum = self._squares = self._shift = 0

    def _scaled(self, value: float) -> int:
        numerator, denominator = value.as_integer_ratio()
        shift = denominator.bit_length() - 1  # the denominator is a power of two
        growth = shift - self._shift
        if growth > 0:
            self._sum <<= growth
            self._squares <<= 2 * growth
            self._shift = shift
            return numerator
        return numerator << -growth

    def total(self) -> float:
        """Return the sum, correctly rounded; beyond the floats' range it is an infinity."""
        return _ratio(self._sum, 1 << self._shift)

    def mean(self, count: int) -> float:
        """Return the correctly rounded sum over ``count`` > 0 (``math.fsum(values) / count``).

        Where the sum itself is beyond the floats' range, the mean of the exact sum.
        """
        total = self.total()
        if math.isinf(total):
            return _ratio(self._sum, count << self._shift)
        return total / count

    def deviation(self, count: int) -> float:
        """Return the population's standard deviation of the ``count`` > 0 values.

        The square root of the correctly rounded variance (n·Σx² − (Σx)²) / n².
        """
        spread = count * self._squares - self._sum * self._sum
        return math.sqrt(_ratio(spread, (count * count) << (2 * self._shift)))


def _ratio(numerator: int, denominator: int) -> float:
    """Return the correctly rounded quotient; CPython divides integers so."""
    try:
        return numerator / denominator
    except OverflowError:
        return _INFINITY if numerator > 0 else -_INFINITY
