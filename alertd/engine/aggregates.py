"""What a window is reduced to: count, sum, avg, min, max, percentiles and the rest.

Owns one small class for each kind of bookkeeping. An aggregate is told of values as they
enter at the new end and leave at the old end of its window, and gives its value of what is
inside. Definitions are those of SEMANTICS, section 3; percentiles are the nearest rank, always
an observed value.

Invariant: after any adds and removes, ``value`` is a function of the window's content alone.
Leaves the window's edges to ``window.py`` and the empty window to ``condition.py``: ``value``
is only asked of a window that is not empty, or of an aggregate that is 0 on an empty one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from sortedcontainers import SortedList

from alertd.engine.exact import GREATEST, ExactMoments, ExactSum
from alertd.model import US_PER_S

if TYPE_CHECKING:
    from alertd.engine.window import Window


class Aggregate(Protocol):
    """Keeps up with a window's content and reduces it to a number."""

    in_order: bool
    """Whether ``add`` must be called in order of event time; if so, a late event rebuilds."""

    def add(self, value: float) -> None:
        """A value entered the window."""
        ...

    def remove(self, value: float) -> None:
        """The oldest value left the window."""
        ...

    def clear(self) -> None:
        """The window is empty."""
        ...

    def value(self, window: Window) -> float:
        """Return the aggregate of what is in the window."""
        ...


class _Stateless:
    """The base of aggregates that can be read from the window itself. O(1)."""

    __slots__ = ()
    in_order = False

    def add(self, value: float) -> None: ...

    def remove(self, value: float) -> None: ...

    def clear(self) -> None: ...


class Count(_Stateless):
    """Number of events."""

    __slots__ = ()

    def value(self, window: Window) -> float:
        return float(window.count)


class First(_Stateless):
    """The value of the oldest event."""

    __slots__ = ()

    def value(self, window: Window) -> float:
        return window.values[window.low]


class Last(_Stateless):
    """The value of the newest event; of two at one instant, the later arrival."""

    __slots__ = ()

    def value(self, window: Window) -> float:
        return window.values[window.high - 1]


class Delta(_Stateless):
    """Last minus first; 0 for one event."""

    __slots__ = ()

    def value(self, window: Window) -> float:
        delta = window.values[window.high - 1] - window.values[window.low]
        return max(-GREATEST, min(delta, GREATEST))


class Sum(ExactSum):
    """The correctly rounded sum of the values. O(1)."""

    __slots__ = ()
    in_order = False

    def value(self, window: Window) -> float:
        return self.total()


class Average(ExactSum):
    """The correctly rounded arithmetic mean. O(1)."""

    __slots__ = ()
    in_order = False

    def value(self, window: Window) -> float:
        return self.total(1, window.count)


class Deviation(ExactMoments):
    """The population's standard deviation. O(1)."""

    __slots__ = ()
    in_order = False

    def value(self, window: Window) -> float:
        return self.deviation(window.count)


class Rate(ExactSum):
    """The sum of the values per second of the window's length. O(1)."""

    __slots__ = ("_window_us",)
    in_order = False

    def __init__(self, window_us: int) -> None:
        super().__init__()
        self._window_us = window_us

    def value(self, window: Window) -> float:
        return self.total(US_PER_S, self._window_us)


class Extreme:
    """Minimum or maximum, by a queue of the values that may still become it. Amortised O(1).

    A value that a newer one beats can never be the extreme again, so the queue is sorted.
    """

    __slots__ = ("_candidates", "_sign")
    in_order = True

    def __init__(self, *, largest: bool) -> None:
        self._sign = 1.0 if largest else -1.0
        self._candidates: deque[float] = deque()  # times _sign, falling

    def add(self, value: float) -> None:
        signed = value * self._sign
        candidates = self._candidates
        while candidates and candidates[-1] < signed:
            candidates.pop()
        candidates.append(signed)

    def remove(self, value: float) -> None:
        if self._candidates[0] == value * self._sign:
            self._candidates.popleft()

    def clear(self) -> None:
        self._candidates.clear()

    def value(self, window: Window) -> float:
        return self._candidates[0] * self._sign


@lru_cache(256)
def nearest_rank(percent: str) -> Callable[[int], int]:
    """Return which of so many values in order, from 1, the percentile is: ceil(p · n / 100)."""
    share = Fraction(percent) / 100
    numerator, denominator = share.numerator, share.denominator
    return lambda count: -(-numerator * count // denominator)


class Percentile:
    """The value at the nearest rank. O(log n)."""

    __slots__ = ("_rank", "_sorted")
    in_order = False

    def __init__(self, percent: str) -> None:
        self._rank = nearest_rank(percent)
        self._sorted: SortedList[float] = SortedList()

    def add(self, value: float) -> None:
        self._sorted.add(value + 0.0)  # -0.0 is 0.0: of equal values it is not known which one left

    def remove(self, value: float) -> None:
        self._sorted.remove(value)

    def clear(self) -> None:
        self._sorted.clear()

    def value(self, window: Window) -> float:
        return self._sorted[self._rank(len(self._sorted)) - 1]

    def ranks(self, low: float, high: float) -> tuple[int, int]:
        """Return how many values lie up to ``low``, and how many below ``high``. O(log n)."""
        return self._sorted.bisect_right(low), self._sorted.bisect_left(high)


class Distinct:
    """Number of different values; -0.0 is 0.0. O(1)."""

    __slots__ = ("_occurrences",)
    in_order = False

    def __init__(self) -> None:
        self._occurrences: dict[float, int] = {}

    def add(self, value: float) -> None:
        self._occurrences[value] = self._occurrences.get(value, 0) + 1

    def remove(self, value: float) -> None:
        left = self._occurrences[value] - 1
        if left:
            self._occurrences[value] = left
        else:
            del self._occurrences[value]

    def clear(self) -> None:
        self._occurrences.clear()

    def value(self, window: Window) -> float:
        return float(len(self._occurrences))


def aggregate_factory(name: str, window_us: int) -> Callable[[], Aggregate]:
    """Return what makes a fresh aggregate ``name`` for each group of a rule.

    ``name`` has been checked by ``rule_checks.check_spec``; anything else raises ``ValueError``.
    """
    simple: dict[str, Callable[[], Aggregate]] = {
        "count": Count,
        "first": First,
        "last": Last,
        "delta": Delta,
        "sum": Sum,
        "avg": Average,
        "stddev": Deviation,
        "rate": lambda: Rate(window_us),
        "min": lambda: Extreme(largest=False),
        "max": lambda: Extreme(largest=True),
        "distinct": Distinct,
    }
    if name in simple:
        return simple[name]
    if name.startswith("p"):
        return lambda: Percentile(name[1:])
    raise ValueError(f"{name!r} is not an aggregate")
