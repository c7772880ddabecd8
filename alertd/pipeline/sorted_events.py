"""Events of one group that arrive in any order, brought into the order of their event time.

Owns the sorting, which must neither hold up the event loop nor cost much for events that are
nearly in order already, as they usually are: runs of a few thousand are sorted as they fill, and
joined where they follow each other; what is left is merged a slice at a time.

Invariant: events of one time stay in order of arrival. Memory: 16 bytes an event, and as much
again while runs are merged.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

RUN_EVENTS: Final = 4_096
"""So many are sorted at once, some 2 ms, and merged between two yields."""


class SortedEvents:
    """Columns of event times and values, ascending once ``sort`` is through."""

    __slots__ = ("_runs", "times_us", "values")

    def __init__(self) -> None:
        self._runs: list[tuple[array[int], array[float]]] = []
        self.times_us: array[int] = array("q")
        """Event times; typecode ``q``."""
        self.values: array[float] = array("d")

    def __len__(self) -> int:
        return sum(len(times_us) for times_us, _ in self._runs) + len(self.times_us)

    def add(self, time_us: int, value: float) -> None:
        """Take an event; those of one time in order of arrival."""
        self.times_us.append(time_us)
        self.values.append(value)
        if len(self.times_us) >= RUN_EVENTS:
            self._seal()

    def sort(self) -> Iterator[None]:
        """Bring the columns into order, and yield now and then. Nothing may be added afterwards."""
        if self.times_us:
            self._seal()
        runs, self._runs = self._runs, []
        if len(runs) == 1:
            self.times_us, self.values = runs[0]
            return
        merged = heapq.merge(*(zip(*run, strict=True) for run in runs), key=itemgetter(0))
        for count, (time_us, value) in enumerate(merged, start=1):
            self.times_us.append(time_us)
            self.values.append(value)
            if count % RUN_EVENTS == 0:
                yield

    def _seal(self) -> None:
        """Sort what has been added since the last run, and begin another."""
        order = sorted(range(len(self.times_us)), key=self.times_us.__getitem__)
        times_us = array("q", [self.times_us[place] for place in order])
        values = array("d", [self.values[place] for place in order])
        self.times_us, self.values = array("q"), array("d")
        if self._runs and self._runs[-1][0][-1] <= times_us[0]:
            self._runs[-1][0].extend(times_us)
            self._runs[-1][1].extend(values)
        else:
            self._runs.append((times_us, values))
