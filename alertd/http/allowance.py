"""How much of something a caller may use up in a time.

Pure: the caller brings the time. An allowance is full at first and refills evenly. A request is let
in as long as a whole one is left, whatever it turns out to cost; what it took too much of is waited
for. So a request of any size gets through, and over time no more passes than is allowed.
"""

from __future__ import annotations

from typing import Final

_ROUNDING_S: Final = 1e-6
"""Monotonic clocks count from the start of the machine, so a float has microseconds for years."""


class Allowance:
    """``amount`` in every ``period_s``, and at least one at a time. O(1) in time and memory."""

    def __init__(self, amount: float, period_s: float) -> None:
        self._s_each = period_s / amount
        self._spare_s = max(period_s - self._s_each, 0.0) + _ROUNDING_S
        """How far from being full it may be and still have one left."""
        self._full_at_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Return in how many seconds one will be left; 0 if it is."""
        return max(0.0, self._full_at_s - now_s - self._spare_s)

    def take(self, count: float, now_s: float) -> None:
        """Use up ``count``."""
        self._full_at_s = max(self._full_at_s, now_s) + count * self._s_each
