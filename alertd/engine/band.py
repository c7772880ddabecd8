"""The band in which a window's value may wander without anything coming of it.

A level changes only where the value crosses a threshold, and an incident's peak only beyond the
worst value so far. Between those that are next lies a *band*: while the value is inside it at
every change point, none of them has to be judged. Whether it is inside takes less to know than the
value itself: a running float sum and a bound on its error, or two counters for a percentile.

Owns where a band ends, and one small class for each way to know. Leaves to ``cruising.py`` who may
keep to one, and the empty window. Invariant: "inside" is certain. What is "not inside" has to be
judged, exactly.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from alertd.engine.aggregates import Percentile, nearest_rank
from alertd.engine.condition import FALLING, RISING, Condition, Level
from alertd.engine.exact import ExactSum
from alertd.engine.window import Window
from alertd.model import US_PER_S, Evaluate, Rule

_FAR: Final = 4.0
"""A side without a limit ends at so many times the greater of the value and the other limit."""
_OTHER_ROUNDINGS: Final = 8
"""Those that do not come with an event: of limits, of a result, of the value that is compared."""
_LEAST_NORMAL: Final = sys.float_info.min

BandDump: TypeAlias = tuple[int | float, ...]
"""A band as plain data; see ``Band.dump``."""


class Band(Protocol):
    """Follows what enters and leaves a window, and knows whether its value is inside."""

    def enter(self, value: float) -> bool:
        """A value entered the window; return whether the window's value is certainly inside."""
        ...

    def leave(self, value: float) -> bool:
        """The oldest value left, which was not the only one; return the same."""
        ...

    def renew(self, window: Window, room: int) -> bool:
        """Begin anew with what ``window`` holds; up to ``room`` events enter until the next time.

        Return whether its value is certainly inside.
        """
        ...

    def dump(self) -> BandDump:
        """Return the band as plain data for a snapshot."""
        ...

    def load(self, state: BandDump) -> None:
        """Take what ``dump`` returned."""
        ...


class TotalBand:
    """Of averages, sums and rates: a running float sum stays between two limits.

    Each operation errs by no more than a unit in the last place of its result, and the results
    that count are no greater than the limits. So the limits are drawn in by as much as all
    operations can err by that may follow.
    """

    __slots__ = ("_count", "_high", "_inner_high", "_inner_low", "_low", "_step", "_total")

    def __init__(self, low: float, high: float, *, is_mean: bool = False) -> None:
        """The sum, or the mean, is to stay between ``low`` and ``high``, which are finite."""
        self._low, self._high = low, high
        self._step = int(is_mean)
        self._count = 1  # what the limits are multiplied by
        self._total = self._inner_low = self._inner_high = 0.0

    def enter(self, value: float) -> bool:
        """See ``Band``."""
        total = self._total = self._total + value
        count = self._count = self._count + self._step
        return self._inner_low * count < total < self._inner_high * count

    def leave(self, value: float) -> bool:
        """See ``Band``."""
        total = self._total = self._total - value
        count = self._count = self._count - self._step
        return self._inner_low * count < total < self._inner_high * count

    def renew(self, window: Window, room: int) -> bool:
        """See ``Band``. O(1) as long as the window has an exact sum."""
        self._total = _sum_of(window)
        self._count = count = window.count if self._step else 1
        greatest = max(abs(self._low), abs(self._high)) * (count + room * self._step)
        roundings = window.count + 2 * room + _OTHER_ROUNDINGS
        error = roundings * (greatest * sys.float_info.epsilon + _LEAST_NORMAL)
        self._inner_low, self._inner_high = self._low + error, self._high - error
        return self._inner_low * count < self._total < self._inner_high * count

    def dump(self) -> BandDump:
        """See ``Band``."""
        return self._low, self._high, self._inner_low, self._inner_high, self._total, self._count

    def load(self, state: BandDump) -> None:
        """See ``Band``."""
        low, high, self._inner_low, self._inner_high, self._total, count = state
        self._low, self._high, self._count = low, high, int(count)


def _sum_of(window: Window) -> float:
    """Return the correctly rounded sum of what is inside; infinity if it may be out of range."""
    if isinstance(window.aggregate, ExactSum):
        return window.aggregate.total()
    try:
        return math.fsum(window.values[window.low : window.high])
    except OverflowError:
        return math.inf


class RankBand:
    """Of percentiles: how many values lie up to the lower limit, and below the upper one."""

    __slots__ = ("_below", "_count", "_high", "_low", "_rank", "_up_to")

    def __init__(self, low: float, high: float, rank: Callable[[int], int]) -> None:
        """The value at ``rank(count)``, from 1, is to stay between ``low`` and ``high``."""
        self._low, self._high, self._rank = low, high, rank
        self._count = self._up_to = self._below = 0

    def enter(self, value: float) -> bool:
        """See ``Band``."""
        self._count += 1
        self._up_to += value <= self._low
        self._below += value < self._high
        return self._up_to < self._rank(self._count) <= self._below

    def leave(self, value: float) -> bool:
        """See ``Band``."""
        self._count -= 1
        self._up_to -= value <= self._low
        self._below -= value < self._high
        return self._up_to < self._rank(self._count) <= self._below

    def renew(self, window: Window, room: int) -> bool:
        """See ``Band``. O(log n) if the window has its values sorted; else all is known."""
        if isinstance(window.aggregate, Percentile):
            self._count = window.count
            self._up_to, self._below = window.aggregate.ranks(self._low, self._high)
        return self._up_to < self._rank(self._count) <= self._below

    def dump(self) -> BandDump:
        """See ``Band``."""
        return self._low, self._high, self._count, self._up_to, self._below

    def load(self, state: BandDump) -> None:
        """See ``Band``."""
        self._low, self._high, *counts = state
        self._count, self._up_to, self._below = map(int, counts)


class LastBand:
    """Of the newest value, which stays until another comes."""

    __slots__ = ("_high", "_low")

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def enter(self, value: float) -> bool:
        """See ``Band``."""
        return self._low < value < self._high

    def leave(self, value: float) -> bool:
        """See ``Band``."""
        return True

    def renew(self, window: Window, room: int) -> bool:
        """See ``Band``."""
        return self._low < window.values[window.high - 1] < self._high

    def dump(self) -> BandDump:
        """See ``Band``."""
        return self._low, self._high

    def load(self, state: BandDump) -> None:
        """See ``Band``."""
        self._low, self._high = state


BandMaker: TypeAlias = Callable[[float, float], Band]
"""Makes a band between two limits, which is to be renewed before anything else."""


def band_maker(rule: Rule) -> BandMaker | None:
    """Return what makes bands for the windows of ``rule``, None if nothing does."""
    aggregate = rule.aggregate
    if rule.evaluate is Evaluate.EARLY:
        return None
    if aggregate == "avg":
        return lambda low, high: TotalBand(low, high, is_mean=True)
    if aggregate == "sum":
        return TotalBand
    if aggregate == "rate":
        per = rule.window_us / US_PER_S
        return lambda low, high: TotalBand(low * per, high * per)
    if aggregate == "last":
        return LastBand
    if aggregate[0] == "p":
        rank = nearest_rank(aggregate[1:])
        return lambda low, high: RankBand(low, high, rank)
    return None


def limits(
    condition: Condition, level: Level, value: float, peak: float | None
) -> tuple[float, float] | None:
    """Return between which two values neither the level nor the peak changes, both excluded.

    None if ``value`` is itself a limit. Finite: where nothing ends it, a band ends far away.
    """
    low = max((limit for limit in condition.limits if limit <= value), default=-math.inf)
    high = min((limit for limit in condition.limits if limit >= value), default=math.inf)
    if level is Level.BREACH and peak is not None:
        operator = condition.rule.operator
        if operator in RISING:
            high = min(high, peak)
        elif operator in FALLING:
            low = max(low, peak)
        else:
            return None
    if not low < value < high:
        return None
    far = _FAR * max(abs(value), *(abs(limit) for limit in (low, high) if math.isfinite(limit)))
    return max(low, value - far), min(high, value + far)
