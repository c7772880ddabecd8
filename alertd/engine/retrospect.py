"""The past, seen by the present data: what windows that have been judged hold now.

Owns the walk over past change points of one group: for late events over the events that the
group still keeps, for overdue ones over events read from the store. It changes nothing.

Cost: O(events inside) to begin, then the same for each change point as when it was judged live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from alertd.engine.condition import Level, is_worse
from alertd.engine.plan import Plan
from alertd.engine.window import NEVER_US, Sight, Window

Look = tuple[int, Level, float | None]
"""An instant, what the window means there, and its value if it has one."""


def breaches(looks: Iterable[Look]) -> Iterator[tuple[int, float]]:
    """Yield the instants at which ``looks`` show a breach that has a value, and that value."""
    for at_us, level, value in looks:
        if level is Level.BREACH and value is not None:
            yield at_us, value


class Retrospect(Protocol):
    """A view of the past of one group."""

    def looks(self, from_us: int, until_us: int) -> Iterator[Look]:
        """Yield what the windows of ``[from_us, until_us)`` mean.

        The first at ``from_us``, then one at each change point.
        """
        ...

    def look_back(self, at_us: int) -> Sight:
        """Return what the window of the instant ``at_us`` holds."""
        ...

    def worst(self, from_us: int, until_us: int | None) -> float | None:
        """Return the worst value of a breach within ``[from_us, until_us)``, or to the horizon."""
        ...


class _Past:
    """What both kinds of retrospect have in common."""

    def __init__(
        self, plan: Plan, events: Window, *, reach_us: int, judged_us: int, warm_us: int
    ) -> None:
        """Look at ``events`` from ``reach_us``, before which they are not complete.

        ``judged_us`` is the last instant that has been judged, ``warm_us`` the end of the warm-up
        or ``NEVER_US``.
        """
        self._plan = plan
        self._events = events
        self._reach_us = reach_us
        self._judged_us = judged_us
        self._warm_us = warm_us

    def looks(self, from_us: int, until_us: int) -> Iterator[Look]:
        """See ``Retrospect``."""
        raise NotImplementedError

    def worst(self, from_us: int, until_us: int | None) -> float | None:
        """See ``Retrospect``; what lies before the reach was seen when it was judged."""
        worst: float | None = None
        begin_us = max(from_us, self._reach_us)
        for _, value in breaches(self.looks(begin_us, until_us or self._judged_us + 1)):
            if worst is None or is_worse(self._plan.rule, value, worst):
                worst = value
        return worst


class ContinuousPast(_Past):
    """The past of a rule that is judged at every change point."""

    def look_back(self, at_us: int) -> Sight:
        """See ``Retrospect``."""
        return self._plan.probe(self._events, at_us).sight(self._plan.condition, at_us)

    def looks(self, from_us: int, until_us: int) -> Iterator[Look]:
        """See ``Retrospect``."""
        plan = self._plan
        if self._warm_us != NEVER_US and from_us < self._warm_us:
            yield from_us, Level.CLEAR, None
            from_us = self._warm_us
        if from_us >= until_us:
            return
        probe = plan.probe(self._events, from_us)
        yield (from_us, *plan.look(probe))
        while (change_us := probe.next_change_us()) < until_us:
            probe.move_to(change_us)
            yield (change_us, *plan.look(probe))


class BucketedPast(_Past):
    """The past of a rule that is judged when a bucketed window closes."""

    def look_back(self, at_us: int) -> Sight:
        """See ``Retrospect``: the window that was the last to close by ``at_us``."""
        bucket_us = self._plan.rule.bucket_us
        end_us = at_us // bucket_us * bucket_us
        return self._plan.probe(self._events, end_us - 1).sight(self._plan.condition, end_us)

    def looks(self, from_us: int, until_us: int) -> Iterator[Look]:
        """See ``Retrospect``: each window holds until the next one closes."""
        plan, bucket_us = self._plan, self._plan.rule.bucket_us
        end_us = from_us // bucket_us * bucket_us
        probe = plan.probe(self._events, end_us - 1)
        at_us = from_us
        while at_us < until_us and end_us <= self._judged_us:
            probe.move_to(end_us - 1)
            if self._warm_us != NEVER_US and end_us < self._warm_us:
                yield at_us, Level.CLEAR, None
            else:
                yield (at_us, *plan.look(probe))
            end_us = at_us = next_end_us(probe, end_us, bucket_us, self._warm_us)


def next_end_us(window: Window, end_us: int, bucket_us: int, warm_us: int) -> int:
    """Return the end of the next window after ``end_us`` whose judgement can differ.

    A run of empty windows is judged once. ``NEVER_US`` if nothing is left to judge.
    """
    if window.count:
        return end_us + bucket_us
    next_us = NEVER_US
    if window.high < len(window.times):
        next_us = (window.times[window.high] // bucket_us + 1) * bucket_us
    if end_us < warm_us != NEVER_US:
        next_us = min(next_us, -(-warm_us // bucket_us) * bucket_us)
    return next_us
