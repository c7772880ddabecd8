"""Quiet events that wait until they are appended to their groups' own columns, many at a time.

Owns the events of all groups in one buffer, and which columns those of a slot go to. A full buffer
is dealt out: cut into pieces, one a group. A group's pieces are appended when it is about to be
looked at, or has many: a column that grows is mostly copied as a whole, so that should be seldom.

Invariant: a slot's events are appended in the order in which they were added, each once.

Cost: 20 bytes for each of ``MAX_WAITING`` events, and 100 for each piece besides its events.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from alertd.engine.crowds import Crowds, Floats, Ints, Slots

MAX_WAITING: Final = 262_144
"""Events in the buffer; when there would be more, all are dealt out."""

GROUPS_AT_ONCE: Final = 2_048
"""Groups that are dealt out to between two pauses: some 5 ms."""

PIECES: Final = 8
"""So many of a group are appended together, or up to twice as many: not all groups' at one time."""

_WORTH_A_GROUP: Final = 2_048
"""Events that are searched through in the time that it takes to give to a group."""

_NUMBER_BYTES: Final = 8
_TAKEN: Final = 0
"""In place of an event's slot when it does not wait any more."""
_NO_TIMES: Final = array("q")
_NO_VALUES: Final = array("d")


class WaitingEvents:
    """Events by the slot of their group; 0 is nobody's."""

    def __init__(self) -> None:
        self._times_of = [_NO_TIMES]
        self._values_of = [_NO_VALUES]
        self._pieces_of: list[list[bytes]] = [[]]  # times and values by turns
        self._count = 0
        self._slots = np.zeros(MAX_WAITING, np.int32)
        self._times = np.zeros(MAX_WAITING, np.int64)
        self._values = np.zeros(MAX_WAITING, np.float64)
        self._searched = 0  # events, for single groups, since all were dealt out to

    def own(
        self, slot: int, times: array[int] = _NO_TIMES, values: array[float] = _NO_VALUES
    ) -> None:
        """Let these columns have the events of ``slot``, of which none may wait now."""
        missing = slot + 1 - len(self._times_of)
        self._times_of.extend([_NO_TIMES] * missing)
        self._values_of.extend([_NO_VALUES] * missing)
        self._pieces_of.extend([] for _ in range(missing))
        self._times_of[slot], self._values_of[slot] = times, values

    def has_room(self, events: int) -> bool:
        """Return whether so many may be added without dealing out."""
        return self._count + events <= len(self._slots)

    def add(self, slots: Slots, times: Ints, values: Floats) -> None:
        """Let events wait, each with its slot. Deals out if there are too many."""
        for first in range(0, len(slots), MAX_WAITING):
            part = slice(first, first + MAX_WAITING)
            count = len(slots[part])
            if not self.has_room(count):
                self.deal_out()
            room = slice(self._count, self._count + count)
            self._slots[room] = slots[part]
            self._times[room], self._values[room] = times[part], values[part]
            self._count += count

    def give(self, slots: Slots) -> None:
        """Append what waits for ``slots``. Deals all out if much was searched through already."""
        if self._count:
            self._searched += self._count
            if self._searched > _WORTH_A_GROUP * len(self._times_of):
                self.deal_out()
            else:
                is_wanted = np.zeros(len(self._times_of), np.bool_)
                is_wanted[slots] = True
                self._cut(np.flatnonzero(is_wanted.take(self._slots[: self._count])))
        self._append(slots.tolist())

    def deal_out(self) -> None:
        """Cut all that is in the buffer into pieces. O(events + groups that they are of)."""
        for _ in self.portions_dealt_out():
            pass

    def portions_dealt_out(self) -> Iterator[None]:
        """Do what ``deal_out`` does, and pause after each portion.

        Nothing may be added before the last; ``give`` and ``deal_out`` may come in between.
        """
        for first in range(1, len(self._times_of), GROUPS_AT_ONCE):
            behind = (self._slots[: self._count] - first).view(np.uint32)  # what is before wraps
            self._cut(np.flatnonzero(behind < GROUPS_AT_ONCE))
            yield
        self._count = self._searched = 0

    def _cut(self, places: Ints) -> None:
        """Take the events at ``places`` out of the buffer, a piece for each group."""
        if not len(places):
            return
        crowds = Crowds.of(self._slots, self._times, self._values, places)
        self._slots[places] = _TAKEN
        slots = crowds.slots.tolist()
        starts = (_NUMBER_BYTES * crowds.starts).tolist()
        parts = list(map(slice, starts, [*starts[1:], None]))
        # No Python between one group and the next.
        pieces = list(map(self._pieces_of.__getitem__, slots))
        for column in (crowds.times, crowds.values):
            deque(map(list.append, pieces, map(column.tobytes().__getitem__, parts)), maxlen=0)
        lengths = zip(slots, map(len, pieces), strict=True)
        self._append(slot for slot, length in lengths if length >= 2 * (PIECES + slot % PIECES))

    def _append(self, slots: Iterable[int]) -> None:
        """Append the pieces of ``slots`` to their columns."""
        for slot in slots:
            pieces = self._pieces_of[slot]
            if pieces:
                self._times_of[slot].frombytes(b"".join(pieces[::2]))
                self._values_of[slot].frombytes(b"".join(pieces[1::2]))
                pieces.clear()
