"""All groups of all rules, and how they go.

Owns what knows of a group: which series lead to it (``routing.py``), how their events come
(``arrivals.py``), when the clock has to look at it (``timers.py``), and what of it waits for the
reconciler (``overdue.py``). A group that goes is forgotten by each of these, and what is open on it
ends. Leaves what a group makes of events and time to the group.

Invariant: a group that goes was roused before, so it holds all that it has been sent.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Final

from alertd.arrays import has_numpy
from alertd.engine.arrivals import Arrivals, OneByOne
from alertd.engine.group import Group
from alertd.engine.overdue import OverdueGroups
from alertd.engine.routing import Router
from alertd.engine.timers import Timers
from alertd.model import EndReason, Series

COLUMNS_FROM: Final = 64
"""From so many events on, a batch is screened in columns: of fewer, each is observed for less."""


class Population:
    """The groups that there are."""

    def __init__(self, series_of: Callable[[int], Series], columns_from: int) -> None:
        """``series_of`` tells the metric name and labels behind a series number.

        Batches of ``columns_from`` events and more are screened as a whole.
        """
        self.timers: Timers[Group] = Timers()
        self.router = Router(series_of, self._forget_routes)
        self.arrivals: Arrivals = OneByOne(self.router)
        self.overdue = OverdueGroups()
        self.dropped = 0
        """How many were dropped because they had been quiet for their time."""
        self._columns_from = columns_from

    def choose_arrivals(self, events: int) -> None:
        """Screen whole batches from the first large one on, until there are too many groups."""
        if events >= self._columns_from:
            self.arrivals = _in_columns(self.router, self._columns_from) or self.arrivals
            self._columns_from = sys.maxsize
        elif self.arrivals.is_crowded:
            for groups in self.router:
                self.arrivals.rouse(groups.by_labels.values())
            self.arrivals = OneByOne(self.router)

    def drop_if_expired(self, group: Group, now_us: int) -> None:
        """Drop a group that has been quiet for its time; another is looked at again then.

        One whose past waits for the reconciler stays until that has been there.
        """
        if group in self.overdue:
            return
        expires_us = group.expires_us
        if expires_us > now_us:
            self.timers.ask(group, expires_us)
        else:
            self.drop(group, now_us)

    def drop(self, group: Group, at_us: int) -> None:
        """Judge a group up to ``at_us``, the wall time of its end, and forget it."""
        groups = self.router.get(group.rule_id)
        assert groups is not None
        group.advance(at_us)
        groups.plan.forget(group, at_us)
        self.router.drop(groups, group)
        self.end(group, EndReason.EXPIRED, at_us)
        self.dropped += 1

    def end(self, group: Group, reason: EndReason, now_us: int) -> None:
        """End what is open on a group that goes away, and never look at it again."""
        group.learn_peak(now_us)
        lifecycle = group.lifecycle
        if lifecycle.incident is not None:
            ended_us = max(group.horizon_us(now_us), lifecycle.incident.fired_us)
            lifecycle.resolve(ended_us, reason, None)
        self.leave(group)

    def leave(self, group: Group) -> None:
        """Never look again at a group."""
        self.timers.cancel(group)
        self.arrivals.leave(group)

    def _forget_routes(self, series_ids: Iterable[int] | None) -> None:
        self.arrivals.forget_routes(series_ids)


def _in_columns(router: Router, columns_from: int) -> Arrivals | None:
    """Return what screens whole batches, or None where NumPy is not installed."""
    if not has_numpy():
        return None
    from alertd.engine.sleepers import Sleepers  # needs NumPy

    return Sleepers(router, columns_from)
