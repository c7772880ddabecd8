"""Events in columns, sorted by the group that is to have them.

Owns this form: each group once, with its events one after the other in their order, so that a
whole group is looked at by one operation on a stretch of a column (``reduceat``). Groups are
known by their slots (``sleepers.py``).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Slots = NDArray[np.int32]
Mask = NDArray[np.bool_]
_Numbers = Ints | Floats

_SHORT: Final = 0xFFFF
"""Up to here slots are sorted as numbers of 16 bits: by their digits, whatever their order."""


class Crowds(NamedTuple):
    """Events by group."""

    slots: Slots
    """The groups' slots, ascending."""
    starts: Ints
    """Where the events of each group begin in the columns."""
    counts: Ints
    """How many they are."""
    places: Ints
    """Where each event stood before."""
    times: Ints
    values: Floats

    @classmethod
    def of(cls, slots: Slots, times: Ints, values: Floats, among: Ints | None = None) -> Crowds:
        """Return events, each with the slot of its group, by group.

        All of them, or those at the places ``among``; at least one.
        """
        chosen = slots if among is None else slots.take(among)
        keys = chosen.astype(np.uint16) if chosen.max() <= _SHORT else chosen
        places = np.argsort(keys, kind="stable")
        if among is not None:
            places = among.take(places)
        ordered = slots.take(places)
        begins = np.ones(len(places), np.bool_)
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        counts = np.append(starts[1:], len(places)) - starts
        return cls(
            ordered.take(starts), starts, counts, places, times.take(places), values.take(places)
        )

    @property
    def first_times(self) -> Ints:
        """The time of each group's first event."""
        return self.times.take(self.starts)

    @property
    def last_times(self) -> Ints:
        """The time of each group's last event."""
        return self.times.take(self.starts + self.counts - 1)

    def steps(self, before: Ints) -> Ints:
        """Return from each event's time to that of the one before it in its group.

        ``before`` are the times before the groups' first ones.
        """
        steps = np.empty_like(self.times)
        np.subtract(self.times[1:], self.times[:-1], out=steps[1:])
        steps[self.starts] = self.first_times - before
        return steps

    def all_between(self, least: _Numbers, column: _Numbers, most: _Numbers) -> Mask:
        """Return of which groups all numbers of ``column`` lie in the group's own limits.

        Both are included. Mostly the whole column lies within the narrowest of them, which is seen
        at a glance, where a look at each group costs some 20 ns.
        """
        if least.max() <= column.min() and column.max() <= most.min():
            return np.ones(len(self.slots), np.bool_)
        in_limits: Mask = (least <= np.minimum.reduceat(column, self.starts)) & (
            np.maximum.reduceat(column, self.starts) <= most
        )
        return in_limits
