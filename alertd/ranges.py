"""Which values an aggregate can have at all, and so which conditions can never or always hold.

Some aggregates have a range whatever the events are: a number of events is whole and not negative,
and neither is a standard deviation. Of all others any value is possible.
"""

from __future__ import annotations

from typing import Final

from alertd.model import COMPARE, Operator

_WHOLE: Final = frozenset({"count", "distinct"})
_NOT_NEGATIVE: Final = _WHOLE | {"stddev"}


def foregone(aggregate: str, operator: Operator, threshold: float) -> bool | None:
    """Return whether each value (True) or none (False) stands so to ``threshold``; else None."""
    if aggregate not in _NOT_NEGATIVE:
        return None
    if operator in (Operator.EQ, Operator.NE):
        is_whole = aggregate not in _WHOLE or threshold.is_integer()
        return None if threshold >= 0 and is_whole else operator is Operator.NE
    of_least = COMPARE[operator](0.0, threshold)
    if operator in (Operator.GT, Operator.GE):
        return True if of_least else None  # and then greater ones do, too
    return None if of_least else False


def range_of(aggregate: str) -> str:
    """Return the range in words, of an aggregate that has one."""
    return "a whole number, 0 or more" if aggregate in _WHOLE else "0 or more"
