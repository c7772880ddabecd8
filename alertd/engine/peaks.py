"""Whether the peak of a breach can have been passed, by a look that costs less than judging.

Owns what an incident's peak value, and the events of a stretch in which it was not kept up, imply
about the windows of that stretch:

* no average, extreme, percentile, first or last value lies beyond all values in its window;
* an average lies beyond the peak only if what its values differ from it adds up to more than none;
* a percentile, an extreme too, does only if as many single values do as stand from its rank on.

Invariant: "no" is certain. "Maybe" is what the caller has to find out by judging. O(events of the
stretch and of its first window), a few tenths of a microsecond each.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from alertd.engine.aggregates import nearest_rank
from alertd.engine.condition import FALLING
from alertd.engine.window import Window
from alertd.model import Rule

_Window = tuple[int, int]
"""The places in the columns at which the inside of a window begins and ends."""


def may_be_passed(peak: float, rule: Rule, events: Window, from_us: int, until_us: int) -> bool:
    """Return whether any window in ``(from_us, until_us]`` may be worse than ``peak``.

    ``rule`` has an order comparison; its aggregate is a count or lies among its values. No window
    is empty, and no event is later than ``until_us``.
    """
    is_falling = rule.operator in FALLING
    first = bisect_right(events.times, from_us - events.span_us)
    times, values = events.times[first:], events.values[first:]
    windows = _windows(times, bisect_right(times, from_us), events.span_us, until_us)
    if rule.aggregate == "count":
        return any(end - start > peak for start, end in windows)
    if (min(values) >= peak) if is_falling else (max(values) <= peak):
        return False
    if rule.aggregate == "avg":
        sign = -1.0 if is_falling else 1.0
        return _average_may([(value - peak) * sign for value in values], windows)
    rank = _rank_of(rule.aggregate)
    if rank is None:
        return True
    beyond = [value < peak if is_falling else value > peak for value in values]
    return _percentile_may(beyond, windows, rank, is_falling=is_falling)


def _windows(times: Sequence[int], new: int, span_us: int, until_us: int) -> Iterator[_Window]:
    """Yield the windows, up to ``until_us``, at which any event enters or leaves.

    Events from place ``new`` on enter. A few windows are none: where events share an instant.
    """
    start = 0
    for end in range(new, len(times)):
        oldest_us = times[end] - span_us
        while times[start] < oldest_us:
            start += 1
            yield start, end
        while times[start] == oldest_us:
            start += 1
        yield start, end + 1
    while times[start] <= until_us - span_us:
        start += 1
        yield start, len(times)


def _average_may(deviations: list[float], windows: Iterator[_Window]) -> bool:
    """Return whether the deviations of any window may add up to more than nothing."""
    magnitude = sum(map(abs, deviations))
    # A running sum of n floats errs by less than n roundings of the sum of their magnitudes.
    error = (len(deviations) + 4) * sys.float_info.epsilon * magnitude
    if not math.isfinite(error):
        return True
    total = list(accumulate(deviations, initial=0.0))
    return any(total[end] - total[start] > -error for start, end in windows)


def _percentile_may(
    beyond: list[bool], windows: Iterator[_Window], rank: Callable[[int], int], *, is_falling: bool
) -> bool:
    """Return whether in any window as many values are beyond as stand from the rank on."""
    total = list(accumulate(beyond, initial=0))
    for start, end in windows:
        count = end - start
        needed = rank(count) if is_falling else count - rank(count) + 1
        if total[end] - total[start] >= needed:
            return True
    return False


def _rank_of(aggregate: str) -> Callable[[int], int] | None:
    """Return which of so many values in order, from 1, the aggregate is; None if it is by time."""
    if aggregate == "min":
        return lambda count: 1
    if aggregate == "max":
        return lambda count: count
    if aggregate[0] == "p":
        return nearest_rank(aggregate[1:])
    return None
