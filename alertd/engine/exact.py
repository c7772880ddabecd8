"""Sums of floats without any error.

Owns ``ExactSum``, and ``ExactMoments``, which knows the squares too: a float is an integer over a
power of two, so a sum of floats is one too, and Python's integers hold it exactly. Adding and
removing values in any order leaves exactly the sum of what remains: nothing drifts, and one value
of 1e308 is gone when it is removed.

A running float sum would be some 5 times cheaper an operation but carries an error that has to be
bounded, refreshed and settled; see ARCHITECTURE, What judging means.
"""

from __future__ import annotations

import math
import sys

GREATEST = sys.float_info.max
"""What stands for a result beyond the range of floats."""


class ExactSum:
    """A multiset of finite floats, known by its exact sum.

    O(1) for each operation as long as the exponents lie within a few hundred bits.
    """

    __slots__ = ("_shift", "_sum")

    def __init__(self) -> None:
        self.clear()

    def add(self, value: float) -> None:
        """Add ``value``, which must be finite."""
        scaled = self._scaled(value)  # which may refine the sum
        self._sum += scaled

    def remove(self, value: float) -> None:
        """Remove ``value``, which must have been added before."""
        scaled = self._scaled(value)
        self._sum -= scaled

    def clear(self) -> None:
        """Remove everything."""
        self._sum = 0  # times 2**_shift
        self._shift = 0

    def _scaled(self, value: float) -> int:
        numerator, denominator = value.as_integer_ratio()
        shift = denominator.bit_length() - 1  # the denominator is a power of two
        growth = shift - self._shift
        if growth > 0:
            self._refine(growth)
            return numerator
        return numerator << -growth

    def _refine(self, bits: int) -> None:
        """Count in units that are finer by so many bits."""
        self._sum <<= bits
        self._shift += bits

    def total(self, numerator: int = 1, denominator: int = 1) -> float:
        """Return the sum times ``numerator / denominator``, rounded once, and correctly.

        Beyond the floats' range it is the greatest of them: a value can be shown, and is a number
        in JSON. A mean never lies outside the values that it is the mean of.
        """
        return _ratio(self._sum * numerator, denominator << self._shift)


class ExactMoments(ExactSum):
    """A multiset of finite floats, known by its exact sum and its exact sum of squares."""

    __slots__ = ("_squares",)

    def add(self, value: float) -> None:
        """See ``ExactSum``."""
        scaled = self._scaled(value)
        self._sum += scaled
        self._squares += scaled * scaled

    def remove(self, value: float) -> None:
        """See ``ExactSum``."""
        scaled = self._scaled(value)
        self._sum -= scaled
        self._squares -= scaled * scaled

    def clear(self) -> None:
        """See ``ExactSum``."""
        super().clear()
        self._squares = 0  # times 2**(2 * _shift)

    def _refine(self, bits: int) -> None:
        super()._refine(bits)
        self._squares <<= 2 * bits

    def deviation(self, count: int) -> float:
        """Return the population's standard deviation of the ``count`` > 0 values.

        The square root of the variance (n·Σx² − (Σx)²) / n², rounded once, and correctly.
        """
        spread = count * self._squares - self._sum * self._sum
        return _root(spread, (count * count) << (2 * self._shift))


def _ratio(numerator: int, denominator: int) -> float:
    """Return the correctly rounded quotient; CPython divides integers so."""
    try:
        return numerator / denominator
    except OverflowError:
        return GREATEST if numerator > 0 else -GREATEST


def _root(numerator: int, denominator: int) -> float:
    """Return the correctly rounded square root of a quotient that is not negative.

    The integer root is taken with more bits than a float has, and its last bit is set if anything
    was cut off ("round to odd"): then rounding it to a float errs no more than rounding once.
    """
    shift = max(0, (denominator.bit_length() - numerator.bit_length() + 111) // 2)
    scaled, rest = divmod(numerator << (2 * shift), denominator)
    root = math.isqrt(scaled)
    is_cut = rest != 0 or root * root != scaled
    return _ratio(root | is_cut, 1 << shift)
