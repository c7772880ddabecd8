"""Which series lead to each group: many short lists of numbers, in two columns for all of them.

Owns the lists. A group keeps the place of its own, that of the entry that was added last; 0 stands
for an empty one. Leaves to ``routing.py`` what is in them.

Cost: 8 bytes an entry; nearly every group has one, for which an array of its own would take 96.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

EMPTY: Final = 0
"""The place of an empty list."""


class Sources:
    """Lists of series numbers."""

    __slots__ = ("_free", "_next", "_series_ids")

    def __init__(self) -> None:
        self._series_ids = array("I", [0])
        self._next = array("I", [EMPTY])  # the place of what was added before
        self._free = EMPTY  # entries that can be used again are a list as well

    def add(self, series_id: int, place: int) -> int:
        """Add a series to the list at ``place``; return where that is now."""
        added = self._free
        if added == EMPTY:
            added = len(self._next)
            self._series_ids.append(series_id)
            self._next.append(place)
        else:
            self._free = self._next[added]
            self._series_ids[added], self._next[added] = series_id, place
        return added

    def of(self, place: int) -> Iterator[int]:
        """Yield what is in the list at ``place``, the newest first."""
        while place != EMPTY:
            yield self._series_ids[place]
            place = self._next[place]

    def take(self, place: int) -> list[int]:
        """Return what is in the list at ``place``, which nobody has from now on."""
        taken = list(self.of(place))
        for _ in taken:
            following = self._next[place]
            self._next[place], self._free = self._free, place
            place = following
        return taken
