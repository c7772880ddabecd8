"""Sound screening: when a window cannot possibly breach, or not fail to, so that nobody need look.

Owns what a rule's condition implies about quiet windows, and about those in which every value
holds the breach. Four facts carry it:

* avg, min, max, first, last and every percentile lie between the smallest and the largest value
  in the window, so with an order comparison none of them can be beyond the threshold while no
  single value is;
* a count, and a number of distinct values, is at most the number of events kept;
* a standard deviation is at most half of how far apart the values are (Popoviciu's inequality), a
  delta is at most all of it;
* a sum, and a rate, of at most ``SHARES`` values is not beyond a limit if none of them is more than
  that share of it; values that speak against a breach are as good as none.

So a window is in breach if all of its values are beyond the threshold, and if a count has enough.

Invariant: a window in which no value is loud and which has at most ``max_quiet`` events is never
in breach; one in which all values hold and which has ``enough`` events always is. Screening only
ever says "look" too often; what is looked at is judged exactly, so nobody can tell from the
incidents that it is there. Nearly all traffic is quiet, and what is not is mostly loud for long.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Final

from alertd.engine.condition import RISING, Condition
from alertd.engine.exact import GREATEST
from alertd.model import US_PER_S, Evaluate, Operator, Rule

SHARES: Final = 100
"""So many values, each no more than such a share of the limit, may be in a window of a sum that is
not looked at. With more, fuller windows would be let alone, but fewer values."""

_ENVELOPED = frozenset({"avg", "min", "max", "first", "last"})
_COUNTING = frozenset({"count", "distinct"})
_ADDING = frozenset({"sum", "rate"})
_APART = {"stddev": 2, "delta": 1}
"""So many times the limit values may be apart before what is made of them can be beyond it."""
_MOST_PLACES = 1024
"""Ranges of quiet values that are kept, for groups that have the same."""
_ROOM = 1 << 60
_MOST = Fraction(GREATEST)

Range = tuple[float, float]
"""A least and a greatest value, both included."""

# partial(lt, threshold)(value) is threshold < value
_LOUD: dict[Operator, Callable[[float, float], bool]] = {
    Operator.GT: operator.lt,
    Operator.GE: operator.le,
    Operator.LT: operator.gt,
    Operator.LE: operator.ge,
}


class Screen:
    """What is known about quiet windows of a rule."""

    __slots__ = ("_apart", "applies", "enough", "holding_values", "holds", "is_loud", "max_quiet",
                 "quiet_values")  # fmt: skip

    def __init__(self, rule: Rule, condition: Condition) -> None:
        self.applies = False
        """Whether the rule can be screened at all."""
        self.is_loud: Callable[[float], bool] = partial(operator.lt, math.inf)
        """Whether one value alone could put its window in breach."""
        self.quiet_values = (-math.inf, math.inf)
        """The least and the greatest value that is not loud, whatever others there are."""
        self._apart = Fraction(0)
        """How far apart quiet values may be, if it is that which matters."""
        self.max_quiet = _ROOM
        """The number of events up to which a window without a loud value is not in breach."""
        self.holds: Callable[[float], bool] = partial(operator.le, -math.inf)
        """Whether a value, with ``enough`` of its kind and no others, puts its window in breach."""
        self.holding_values = (-math.inf, math.inf)
        """The least and the greatest value that holds."""
        self.enough = 0
        """So many events that hold are always a breach; 0 if that cannot be said."""
        if condition.true_on_empty or condition.breaches_without_value:
            return
        if rule.operator in _LOUD and (rule.aggregate in _ENVELOPED or rule.aggregate[0] == "p"):
            self.applies = True
            self.is_loud = self.holds = partial(_LOUD[rule.operator], rule.threshold)
            self.enough = max(1, condition.min_samples)
            self.quiet_values, self.holding_values = _sides(rule.operator, rule.threshold)
        elif rule.aggregate in _COUNTING and rule.operator in (Operator.GT, Operator.GE):
            self.applies = True
            exclusive = rule.operator is Operator.GE
            limit = math.ceil(rule.threshold) - 1 if exclusive else math.floor(rule.threshold)
            self.max_quiet = max(-1, min(limit, _ROOM))  # beyond, no window is any the quieter
            if rule.aggregate == "count":
                self.enough = max(self.max_quiet + 1, condition.min_samples)
        elif rule.aggregate in _ADDING and rule.operator in _LOUD:
            self._let_shares_be_quiet(rule)
        elif rule.aggregate in _APART and rule.operator in _LOUD:
            self._let_neighbours_be_quiet(rule)
        if rule.evaluate is Evaluate.EARLY:
            self.enough = 0

    def _let_shares_be_quiet(self, rule: Rule) -> None:
        """Have values be quiet that are no more than their share of the limit, if there are any.

        Sums are exact and rounded once, so one that is not beyond a float is not when rounded.
        """
        is_rising = rule.operator in RISING
        limit = _sides(rule.operator, rule.threshold)[0][is_rising]
        if limit < 0.0 if is_rising else limit > 0.0:
            return
        seconds = Fraction(rule.window_us, US_PER_S) if rule.aggregate == "rate" else 1
        most = Fraction(limit) * seconds / SHARES
        share = math.nextafter(_within(most), 0.0)
        self.applies = True
        self.max_quiet = SHARES
        self.quiet_values = (-math.inf, share) if is_rising else (share, math.inf)
        self.is_loud = partial(operator.lt if is_rising else operator.gt, share)

    def _let_neighbours_be_quiet(self, rule: Rule) -> None:
        """Have values be quiet that are near to one another, if a limit speaks of how far.

        A deviation and a delta are rounded once, so they are not beyond a float if they were not.
        """
        is_rising = rule.operator in RISING
        limit = _sides(rule.operator, rule.threshold)[0][is_rising]
        if is_rising or rule.aggregate == "delta":
            self._apart = Fraction(max(0.0, limit if is_rising else -limit))
            self._apart *= _APART[rule.aggregate]
        self.applies = self._apart > 0

    def quiet_beside(self, values: Sequence[float]) -> Range | None:
        """Return the least and the greatest value that is quiet beside ``values``.

        None if these are not quiet themselves. O(values) where it depends on them; else what has
        been loud until lately is for the caller to know.
        """
        if not self._apart:
            return self.quiet_values
        least, greatest = (min(values), max(values)) if values else (0.0, 0.0)
        midst = (Fraction(least) + Fraction(greatest)) / 2
        low, high = quiet = _range_at(midst * 2 // self._apart, self._apart)
        return quiet if low <= least and greatest <= high else None


@lru_cache(_MOST_PLACES)
def _range_at(place: int, apart: Fraction) -> Range:
    """Return the ``place``-th of the ranges that overlap by halves, each ``apart`` wide at most.

    It is for those whose midst lies in its own: they leave a quarter of it on either side.
    """
    least = (2 * place - 1) * apart / 4
    greatest = least + apart
    low, high = _within(least), _within(greatest)
    return (
        low if low >= least else math.nextafter(low, math.inf),
        high if high <= greatest else math.nextafter(high, -math.inf),
    )


def _within(number: Fraction) -> float:
    """Return the float that is nearest, among the finite ones."""
    return float(max(-_MOST, min(number, _MOST)))


def _sides(comparison: Operator, threshold: float) -> tuple[Range, Range]:
    """Return the ranges of values that are not beyond the threshold, and of those that are."""
    below, above = math.nextafter(threshold, -math.inf), math.nextafter(threshold, math.inf)
    match comparison:
        case Operator.GT:
            return (-math.inf, threshold), (above, math.inf)
        case Operator.GE:
            return (-math.inf, below), (threshold, math.inf)
        case Operator.LT:
            return (threshold, math.inf), (-math.inf, below)
        case _:
            return (above, math.inf), (-math.inf, threshold)
