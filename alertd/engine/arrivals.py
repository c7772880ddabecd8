"""How the events of a batch come to the groups that see them.

Owns the seam and its plain form, in which each event is observed by itself. The other form is
``sleepers.py``: it keeps quiet events for groups that sleep, a whole batch at once, and has the
others observed.

Invariant: whichever is used, after ``take`` was gone through, and ``rouse`` or ``catch_up`` for
those that are looked at, the groups are in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from alertd.engine.group import Group
from alertd.engine.routing import Route, Router, Watcher
from alertd.model import EventBatch

Arrival = tuple[Watcher, int, float]
"""Who is to observe an event, its time and its value."""


class Arrivals(Protocol):
    """Whatever brings events to groups."""

    @property
    def is_crowded(self) -> bool:
        """Whether the plain form would do better by now."""
        ...

    def meet(self, batch: EventBatch) -> Iterator[None]:
        """Make what ``batch`` needs that is not there yet, groups above all; pause now and then.

        ``take`` does what is left of it, all at once.
        """
        ...

    def take(self, batch: EventBatch) -> Iterator[Arrival]:
        """Yield, in order, what is to be observed of ``batch``, before the next is asked for."""
        ...

    def rouse(self, groups: Iterable[Group]) -> None:
        """Have groups hold all that they have been sent: they are about to change."""
        ...

    def deal_out(self) -> None:
        """Have all that groups have been sent at hand for each, so that each catches up soon."""
        ...

    def catch_up(self, groups: Iterable[Group]) -> None:
        """Have groups hold all that they have been sent: they are about to be looked at."""
        ...

    def leave(self, group: Group) -> None:
        """Forget a group that was roused: it is to be dropped."""
        ...

    def forget_routes(self, series_ids: Iterable[int] | None) -> None:
        """Ask the router again about ``series_ids``, None for all, when events of them come."""
        ...


def each_event(routes: Iterable[Route], batch: EventBatch) -> Iterator[Arrival]:
    """Yield every event of ``batch``, each with whoever sees it; ``routes`` are its events'.

    Those of one time after each other have one object for it: each group keeps its newest time, and
    there may be a million.
    """
    same_us = 0
    for route, time_us, value in zip(routes, batch.times_us, batch.values, strict=True):
        if time_us != same_us:
            same_us = time_us
        if isinstance(route, tuple):
            for watcher in route:
                yield watcher, same_us, value
        else:
            yield route, same_us, value


class OneByOne:
    """Has every event observed at once, so that no group is ever behind."""

    is_crowded = False

    def __init__(self, router: Router) -> None:
        self._router = router

    def meet(self, batch: EventBatch) -> Iterator[None]:
        """See ``Arrivals``."""
        return self._router.meet(batch.series_ids)

    def take(self, batch: EventBatch) -> Iterator[Arrival]:
        """See ``Arrivals``."""
        return each_event(self._router.routes(batch.series_ids), batch)

    def rouse(self, groups: Iterable[Group]) -> None:
        """See ``Arrivals``."""

    def deal_out(self) -> None:
        """See ``Arrivals``."""

    def catch_up(self, groups: Iterable[Group]) -> None:
        """See ``Arrivals``."""

    def leave(self, group: Group) -> None:
        """See ``Arrivals``."""

    def forget_routes(self, series_ids: Iterable[int] | None) -> None:
        """See ``Arrivals``."""
