"""What a value means for a rule.

Owns the condition c and the clear condition of SEMANTICS, sections 3 and 4, as one function
from (number of events, value) to a ``Level``. Leaves time to the windows and the lifecycle.
"""

from __future__ import annotations

from enum import IntEnum

from alertd.model import COMPARE, OnNoData, Operator, Rule


class Level(IntEnum):
    """Where the condition stands at an instant."""

    CLEAR = 0
    """c is false, and an open incident may end."""
    NO_DATA = 1
    """As CLEAR, because the window has no value."""
    HELD = 2
    """c is false, but an open incident stays open (hysteresis, or ``onNoData = keep``)."""
    BREACH = 3
    """c is true."""


_ON_NO_DATA = {
    OnNoData.RESOLVE: Level.NO_DATA,
    OnNoData.KEEP: Level.HELD,
    OnNoData.ALERT: Level.BREACH,
}

RISING = (Operator.GT, Operator.GE)
FALLING = (Operator.LT, Operator.LE)


class Condition:
    """A rule's threshold, operator, hysteresis and minimum of samples, ready to be asked."""

    __slots__ = ("_compare", "_resolve_threshold", "_threshold", "breaches_without_value",
                 "initial_level", "level_without_value", "limits", "min_samples", "rule",
                 "true_on_empty", "unmoved_by_leaving")  # fmt: skip

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._compare = COMPARE[rule.operator]
        self._threshold = rule.threshold
        self._resolve_threshold = rule.resolve_threshold
        self.limits = tuple(
            limit for limit in (rule.threshold, rule.resolve_threshold) if limit is not None
        )
        """Where the level of a value changes: between two of these it is the same."""
        self.min_samples = rule.min_samples
        self.level_without_value = _ON_NO_DATA[rule.on_no_data]
        self.breaches_without_value = self.level_without_value is Level.BREACH
        """Whether a window without a value counts as a breach (``onNoData = alert``)."""
        level_of_empty = self.level(0.0) if self.min_samples == 0 else self.level_without_value
        self.true_on_empty = level_of_empty is Level.BREACH
        """Whether c holds on an empty window, so that the rule needs a warm-up."""
        self.initial_level = Level.CLEAR if self.true_on_empty else level_of_empty
        """Where c stands before any event; one that is true then is false, as in a warm-up."""
        self.unmoved_by_leaving = self._is_unmoved_by_leaving(rule)
        """Whether c, once it is clear, stays so whatever leaves the window."""

    def level(self, value: float) -> Level:
        """Return where c stands for a window that has this value."""
        if self._compare(value, self._threshold):
            return Level.BREACH
        if self._resolve_threshold is not None and self._compare(value, self._resolve_threshold):
            return Level.HELD
        return Level.CLEAR

    def _is_unmoved_by_leaving(self, rule: Rule) -> bool:
        if self.true_on_empty or self.min_samples or rule.resolve_threshold is not None:
            return False
        return rule.aggregate in ("count", "distinct") and rule.operator in RISING


def is_worse(rule: Rule, value: float, than: float) -> bool:
    """Return whether ``value`` lies further beyond the rule's threshold than another one."""
    if rule.operator in RISING:
        return value > than
    if rule.operator in FALLING:
        return value < than
    return abs(value - rule.threshold) > abs(than - rule.threshold)
