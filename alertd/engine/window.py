"""A window that slides over event time, and the events that it needs.

Owns the events of one group in two sorted columns, and which part of them is inside. At
position T the window holds the events with ``T - W < t <= T``: indexes ``low`` to ``high``.
Before ``low`` stand events that have left and may still be asked for when a late one arrives,
from ``high`` on those that the window has not reached.

A bucketed window ``[e - W, e)`` is the same thing: times are whole microseconds, so it is the
window at position ``e - 1``.

Leaves to ``early.py`` the bucketed window that is judged before it closes: a ``Window`` too, whose
inside is another.

Costs: appending at the end and sliding are amortised O(1) besides the aggregate's own cost;
inserting in the middle moves the columns' tail (a memmove), and rebuilds an aggregate that
depends on order. 16 bytes an event.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable
from typing import Final, NamedTuple

from alertd.engine.aggregates import Aggregate, Count
from alertd.engine.condition import Condition, Level

NEVER_US = 1 << 62
"""Later than any instant: the change point of a window in which nothing will change."""

BEFORE_TIME_US = -NEVER_US
"""Earlier than any instant: the horizon of a group in which nothing has been judged."""

_TRIM_AT_LEAST = 32
_AT_REST: Final[Aggregate] = Count()  # it keeps nothing, so one is enough for all

WindowDump = tuple[bytes, bytes]
"""A window as plain data: event times and values (little-endian)."""


class Sight(NamedTuple):
    """What a window shows at an instant."""

    value: float | None
    window_start_us: int
    window_end_us: int
    newest_us: int | None
    """Event time of the newest event inside."""


class Window:
    """Sorted events of one group, an aggregate over those inside, and the next change point."""

    __slots__ = ("_new_aggregate", "aggregate", "high", "low", "span_us", "times", "values")

    def __init__(self, span_us: int, new_aggregate: Callable[[], Aggregate]) -> None:
        self.span_us = span_us
        self._new_aggregate = new_aggregate
        self.aggregate = new_aggregate()
        self.times: array[int] = array("q")
        self.values: array[float] = array("d")
        self.low = 0
        self.high = 0

    @property
    def count(self) -> int:
        """Number of events inside."""
        return self.high - self.low

    def look(self, condition: Condition) -> tuple[Level, float | None]:
        """Return what the window means now, and its value if it has one."""
        if self.high - self.low < condition.min_samples:
            return condition.level_without_value, None
        value = self.aggregate.value(self)
        return condition.level(value), value

    def sight(self, condition: Condition, at_us: int) -> Sight:
        """Return what the window holds now, seen as the one that ends at ``at_us``."""
        newest_us = self.times[self.high - 1] if self.count else None
        return Sight(self.look(condition)[1], at_us - self.span_us, at_us, newest_us)

    def put(self, time_us: int, value: float) -> None:
        """Keep an event that the window has not reached, at its place after those of its time."""
        times = self.times
        if not times or time_us >= times[-1]:
            times.append(time_us)
            self.values.append(value)
        else:
            place = bisect_right(times, time_us, self.high)
            times.insert(place, time_us)
            self.values.insert(place, value)

    def keep(self, time_us: int, value: float) -> None:
        """Insert an event at its place, wherever that is. The edges are then stale."""
        place = bisect_right(self.times, time_us)
        self.times.insert(place, time_us)
        self.values.insert(place, value)

    def put_inside(self, time_us: int, value: float) -> None:
        """Insert a late event at its place inside the window.

        O(log n) and a memmove; O(n) for an aggregate that depends on order, unless the event is
        the newest inside.
        """
        place = bisect_right(self.times, time_us, self.low, self.high)
        is_newest = place == self.high
        self.times.insert(place, time_us)
        self.values.insert(place, value)
        self.high += 1
        if is_newest or not self.aggregate.in_order:
            self.aggregate.add(value)
        else:
            self.rebuild()

    def put_before(self, time_us: int, value: float) -> None:
        """Insert a late event that has left the window already."""
        place = bisect_right(self.times, time_us, 0, self.low)
        self.times.insert(place, time_us)
        self.values.insert(place, value)
        self.low += 1
        self.high += 1

    def next_change_us(self) -> int:
        """Return the next position at which an event enters or leaves, or ``NEVER_US``."""
        change_us = NEVER_US
        if self.high < len(self.times):
            change_us = self.times[self.high]
        if self.low < self.high:
            leaving_us = self.times[self.low] + self.span_us
            if leaving_us < change_us:
                return leaving_us
        return change_us

    def next_leaving_us(self) -> int:
        """Return the next position at which something changes without an event, or ``NEVER_US``."""
        return self.times[self.low] + self.span_us if self.low < self.high else NEVER_US

    def move_to(self, position_us: int) -> bool:
        """Slide forward to ``position_us``: let events leave and enter. True if any entered."""
        times, values = self.times, self.values
        low, high = self.low, self.high
        add, remove = self.aggregate.add, self.aggregate.remove
        oldest_us = position_us - self.span_us
        while low < high and times[low] <= oldest_us:
            remove(values[low])
            low += 1
        if low == high:
            self.aggregate.clear()
        end, before = len(times), high
        while high < end and times[high] <= position_us:
            if times[high] > oldest_us:
                add(values[high])
            else:
                low += 1  # the slide was longer than the window: it was never inside
            high += 1
        self.low, self.high = low, high
        return high > before

    def rebuild(self) -> None:
        """Compute the aggregate anew from the events inside. O(n)."""
        aggregate = self.aggregate = self._new_aggregate()
        for value in self.values[self.low : self.high]:
            aggregate.add(value)

    def stand_at(self, position_us: int) -> None:
        """Put the edges where ``position_us`` has them. The aggregate is left alone. O(log n)."""
        self.low = bisect_right(self.times, position_us - self.span_us)
        self.high = bisect_right(self.times, position_us)

    def forget_until(self, time_us: int) -> None:
        """Drop events at or before ``time_us`` that have left the window.

        Amortised O(1): it waits until they are a quarter of the columns, which then move up.
        """
        times, low = self.times, self.low
        quarter = len(times) >> 2
        if low >= _TRIM_AT_LEAST and low > quarter and times[quarter] <= time_us:
            drop = bisect_right(times, time_us, quarter, low)
            del times[:drop]
            del self.values[:drop]
            self.low -= drop
            self.high -= drop

    def rest(self) -> None:
        """Free what ``rebuild`` computes: nobody looks before that is called."""
        self.aggregate = _AT_REST

    def pack(self) -> None:
        """Give back the room that the columns have for events to come. O(events)."""
        self.times, self.values = self.times[:], self.values[:]

    @property
    def is_at_rest(self) -> bool:
        """Whether the aggregate is to be rebuilt before anybody looks."""
        return self.aggregate is _AT_REST

    def share(self, events: Window, position_us: int) -> None:
        """Take the events of another window for its own, at ``position_us``. O(events inside).

        It sees the columns as they are: nothing may be inserted while both are in use.
        """
        self.times, self.values = events.times, events.values
        self.stand_at(position_us)
        self.rebuild()

    def count_at(self, position_us: int) -> int:
        """Return how many events it would hold at ``position_us``. O(log n)."""
        return self.count_between(position_us - self.span_us, position_us)

    def count_between(self, after_us: int, until_us: int) -> int:
        """Return how many kept events lie in ``(after_us, until_us]``. O(log n)."""
        return bisect_right(self.times, until_us) - bisect_right(self.times, after_us)

    def last_until(self, time_us: int) -> int | None:
        """Return the newest event time that is not after ``time_us``, reached or not, or None."""
        times = self.times
        if not times or times[-1] <= time_us:
            return times[-1] if times else None
        place = bisect_right(times, time_us)
        return times[place - 1] if place else None

    def first_after(self, time_us: int) -> int:
        """Return the first event time after ``time_us``; there must be one."""
        return self.times[bisect_right(self.times, time_us)]

    def dump(self) -> WindowDump:
        """Return the columns (little-endian) as plain data for a snapshot."""
        return _to_bytes(self.times), _to_bytes(self.values)

    def load(self, state: WindowDump, position_us: int) -> None:
        """Take what ``dump`` returned of a window at ``position_us``.

        O(n): edges and aggregate are computed anew, and are the same.
        """
        times, values = state
        self.times, self.values = array("q"), array("d")
        _load_column(self.times, times)
        _load_column(self.values, values)
        if len(self.times) != len(self.values):
            raise ValueError("a window's columns differ in length")
        self.stand_at(position_us)
        self.rebuild()


NO_EVENTS: Final = Window(0, Count)
"""The window of all groups that keep their events otherwise."""
_HELD: Final = memoryview(NO_EVENTS.times), memoryview(NO_EVENTS.values)
"""Nothing can be put into it: a column that is looked at does not grow (``BufferError``)."""


def _to_bytes(column: array[int] | array[float]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _load_column(column: array[int] | array[float], data: bytes) -> None:
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
