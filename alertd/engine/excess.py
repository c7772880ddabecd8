"""By how much loud values, while they are inside, outweigh the quiet ones after them.

A group that has seen a loud value (``screen.py``) need not stay awake until that has left its
windows. While only quiet values come, a window can still come into breach, because what leaves may
be what spoke against it. But the oldest leave first: what is left of all that has come until now
is an *end* of it, everything from some event on. So each value is given a weight, such that a
window in breach has an end whose weights add up to 0 or more, and such that quiet values have none
above 0. While no end weighs as much, no window is in breach, nor will any be before the next loud
value.

Owns the weights, and how the heaviest end is kept up in one addition an event. That is the
statistic of a CUSUM chart (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954), with
every operation rounded up.

Invariant: the excess is above what the heaviest end weighs, or 0 if that is below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import inf, nextafter
from typing import TypeAlias

from alertd.engine.condition import RISING
from alertd.engine.screen import Screen
from alertd.model import Rule

Follow: TypeAlias = Callable[[float, float], float]
"""Returns what the excess is when a value has come after all others: from what it was, and that.

0 if all ends weigh less than nothing. Infinite, or not a number, if it is not known: it stays so.
"""


def excess_follower(rule: Rule, screen: Screen) -> Follow:
    """Return how the excess of ``rule`` is kept up, by how its values are weighed.

    An average is beyond a limit if what its values differ from it adds up to more than nothing. A
    percentile is if as large a share of the values is beyond as stand from its rank on: each of
    them weighs what that leaves for the others, and each of the others takes away that share. An
    extreme of which all values must be beyond is such a percentile, and of the last value it is
    known as well once a quiet one has come. Of anything else one loud value is enough, which no
    others outweigh.
    """
    is_rising = rule.operator in RISING
    if rule.aggregate == "avg":
        return _above(screen.quiet_values[1]) if is_rising else _below(screen.quiet_values[0])
    if rule.aggregate == ("min" if is_rising else "max") or rule.aggregate == "last":
        return _counting(screen, 0, -1)
    if rule.aggregate[0] == "p":
        share = Fraction(rule.aggregate[1:]) / 100
        up_to, all_of_them = share.numerator, share.denominator
        if is_rising:
            return _counting(screen, up_to, up_to - all_of_them)
        return _counting(screen, all_of_them - up_to, -up_to)
    return lambda excess, value: inf


def _above(limit: float) -> Follow:
    return lambda excess, value: _next(excess + nextafter(value - limit, inf))


def _below(limit: float) -> Follow:
    return lambda excess, value: _next(excess + nextafter(limit - value, inf))


def _counting(screen: Screen, loud: int, quiet: int) -> Follow:
    return lambda excess, value: _next(excess + (loud if screen.is_loud(value) else quiet))


def _next(total: float) -> float:
    end = nextafter(total, inf)
    return 0.0 if end <= 0.0 else end
