"""BUCKETED_WINDOW with ``evaluate = "early"``: windows that are looked at before they close.

Windows end at the multiples ``e`` of the bucket interval B and cover ``[e - W, e)``. An open one
is *latched* from the first event time on at which it is in breach, by all its events up to that
instant, until it closes. While any is latched, that is a breach; else it holds what the window
that closed last says.

Owns what is open, what closed last, and which of it is latched, over the columns of ``Window``:
the inside is what those windows hold together, ``[e - W, T]`` for the last end ``e`` by the
position T. Open windows that began with no event between them hold the same events for as long
as they are open; they are one cohort. So there is a cohort for each bucket that had events, and
one in all for a tumbling window. Leaves to ``continuous.py`` which instants are judged.

Invariant: what it shows is a function of the events, the position and the condition alone.

Costs: an event in order costs one ``add`` and one look for each cohort, so O(W / B); a late one
O(events inside) for each. A cohort has an aggregate of its own, which for percentiles and
``distinct`` remembers its values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from alertd.engine.aggregates import Aggregate, Count
from alertd.engine.condition import Condition, Level, is_worse
from alertd.engine.window import NEVER_US, Sight, Window


class _Cohort(Window):
    """Open windows that hold the same events, up to the one that ends at ``last_end_us``."""

    __slots__ = ("last_end_us", "latched_us")

    def __init__(self, events: Window, aggregate: Aggregate, last_end_us: int) -> None:
        """Begin, without an event yet, where ``events`` stands."""
        self.span_us = events.span_us
        self.aggregate = aggregate
        self.times, self.values = events.times, events.values
        self.low = self.high = events.high
        self.last_end_us = last_end_us
        self.latched_us = NEVER_US

    @property
    def is_latched(self) -> bool:
        """Whether it has been in breach."""
        return self.latched_us != NEVER_US

    @property
    def value(self) -> float:
        """What it comes to now; there must be an event inside."""
        return self.aggregate.value(self)


class EarlyWindow(Window):
    """All open windows of one group, and the one that closed last."""

    __slots__ = ("_bucket_us", "_closed", "_closed_newest_us", "_cohorts", "_condition",
                 "_end_us", "_instant_us", "_is_settled", "_new_of_cohort", "_position_us",
                 "_window_us")  # fmt: skip

    def __init__(self, condition: Condition, new_aggregate: Callable[[], Aggregate]) -> None:
        rule = condition.rule
        super().__init__(rule.window_us + rule.bucket_us, Count)
        self._window_us = rule.window_us
        self._bucket_us = rule.bucket_us
        self._condition = condition
        self._new_of_cohort = new_aggregate
        self._cohorts: list[_Cohort] = []  # by the end of their windows
        self.stand_at(-NEVER_US)
        self.rebuild()

    def look(self, condition: Condition) -> tuple[Level, float | None]:
        """Return what the windows mean; of those that are latched, the worst value."""
        self._judge_by(condition)
        worst: float | None = None
        for cohort in self._cohorts:
            if cohort.is_latched:
                value = cohort.value
                if worst is None or is_worse(condition.rule, value, worst):
                    worst = value
        return self._closed if worst is None else (Level.BREACH, worst)

    def sight(self, condition: Condition, at_us: int) -> Sight:
        """Return the latched window that ends first; if there is none, the one closed last."""
        self._judge_by(condition)
        end_us = self._end_us
        for cohort in self._cohorts:
            if cohort.is_latched:
                end_us += self._bucket_us
                newest_us = self.times[self.high - 1]
                return Sight(cohort.value, end_us - self._window_us, end_us, newest_us)
            end_us = cohort.last_end_us
        end_us = at_us // self._bucket_us * self._bucket_us
        return Sight(self._closed[1], end_us - self._window_us, end_us, self._closed_newest_us)

    def put_inside(self, time_us: int, value: float) -> None:
        """Insert a late event at its place. O(cohorts) for the newest, else as ``rebuild``."""
        if time_us < self._end_us - self._window_us:
            self.put_before(time_us, value)
            return
        place = bisect_right(self.times, time_us, self.low, self.high)
        self.times.insert(place, time_us)
        self.values.insert(place, value)
        if place == self.high and time_us >= self._end_us:
            self._enter()
        else:
            self.high += 1
            self.rebuild()

    def put_before(self, time_us: int, value: float) -> None:
        """Insert a late event that no window here holds."""
        super().put_before(time_us, value)
        self._shift(1)

    def next_change_us(self) -> int:
        """Return when the next event enters or the next bucket ends, or ``NEVER_US``."""
        leaving_us = self.next_leaving_us()
        if self.high < len(self.times):
            return min(self.times[self.high], leaving_us)
        return leaving_us

    def next_leaving_us(self) -> int:
        """Return the next end of a bucket, or ``NEVER_US`` if nothing is inside."""
        return self._end_us + self._bucket_us if self.low < self.high else NEVER_US

    def move_to(self, position_us: int) -> bool:
        """Let events enter and windows close, up to ``position_us``. True if any entered."""
        times, before = self.times, self.high
        while self.high < len(times) and times[self.high] <= position_us:
            self._close_until(times[self.high])
            self._enter()
        self._close_until(position_us)
        self._position_us = position_us
        return self.high > before

    def rebuild(self) -> None:
        """Let the events inside enter again, one by one."""
        first_us = self.times[self.low] if self.low < self.high else self._position_us
        self._cohorts.clear()
        self._instant_us = -NEVER_US  # when the newest event entered
        self._is_settled = True  # whether that instant has latched what it latches
        self.high = self.low
        self._close(first_us // self._bucket_us * self._bucket_us)
        self.move_to(self._position_us)

    def rest(self) -> None:
        """Free what ``rebuild`` computes: nobody looks before that is called."""
        self._cohorts.clear()

    def stand_at(self, position_us: int) -> None:
        """Put the edges where ``position_us`` has them. The rest is left alone. O(log n)."""
        self._position_us = position_us
        end_us = position_us // self._bucket_us * self._bucket_us
        self.low = bisect_left(self.times, end_us - self._window_us)
        self.high = bisect_right(self.times, position_us)

    def forget_until(self, time_us: int) -> None:
        """Drop events at or before ``time_us`` that no window here holds. Amortised O(1)."""
        kept = len(self.times)
        super().forget_until(time_us)
        self._shift(len(self.times) - kept)

    def count_at(self, position_us: int) -> int:
        """Return how many events the window held that closed last by ``position_us``."""
        end_us = position_us // self._bucket_us * self._bucket_us
        return self.count_between(end_us - self._window_us - 1, end_us - 1)

    def _judge_by(self, condition: Condition) -> None:
        if condition is not self._condition:
            # The rule was edited; what the windows said by its former version is not asked for.
            self._condition = condition
            self.rebuild()
        self._settle()

    def _settle(self) -> None:
        """Latch what is in breach at the newest instant, all of whose events have entered."""
        if not self._is_settled:
            self._is_settled = True
            for cohort in self._cohorts:
                if not cohort.is_latched and cohort.look(self._condition)[0] is Level.BREACH:
                    cohort.latched_us = self._instant_us

    def _enter(self) -> None:
        """Take the next event into every open window; they end after it, and no other has."""
        time_us, value = self.times[self.high], self.values[self.high]
        cohorts, last_end_us = self._cohorts, self._end_us + self._window_us
        if time_us != self._instant_us:
            self._settle()
            self._instant_us = time_us
        else:
            for cohort in cohorts:
                if cohort.latched_us == time_us:
                    cohort.latched_us = NEVER_US  # the instant was not complete
        self._is_settled = False
        if not cohorts or cohorts[-1].last_end_us != last_end_us:
            cohorts.append(_Cohort(self, self._new_of_cohort(), last_end_us))
        self.high += 1
        for cohort in cohorts:
            cohort.high = self.high
            cohort.aggregate.add(value)

    def _close_until(self, time_us: int) -> None:
        """Close the windows that end at or before ``time_us``."""
        if time_us >= self._end_us + self._bucket_us:
            self._close(time_us // self._bucket_us * self._bucket_us)

    def _close(self, end_us: int) -> None:
        """Take down what the window says that ends at ``end_us``; it holds all that entered."""
        cohorts = self._cohorts
        while cohorts and cohorts[0].last_end_us < end_us:
            del cohorts[0]
        closed = cohorts[0] if cohorts else _Cohort(self, self._new_of_cohort(), end_us)
        self._closed = closed.look(self._condition)
        self._closed_newest_us = self.times[self.high - 1] if closed.count else None
        if cohorts and closed.last_end_us == end_us:
            del cohorts[0]
        self._end_us = end_us
        self.low = bisect_left(self.times, end_us - self._window_us, self.low, self.high)

    def _shift(self, by: int) -> None:
        """Follow the columns: so many events are new, or gone, before all that is inside."""
        for cohort in self._cohorts:
            cohort.low += by
            cohort.high += by
