"""The few events of a group that sleeps, in one piece of memory.

Owns that form: times and values by turns, as the machine has them. A single event takes 64 bytes,
where a window and its two columns take 288. But nobody can look into it, and one event more is a
copy of all: it is for groups that only keep what comes, and are many. Leaves to ``resting.py`` when
a group has it.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Final

from alertd.engine.window import Window

MOST_PACKED: Final = 128
"""Events: to copy so many takes some 0.2 us. It is twice the least room of a sleeper, for what it
keeps behind its window takes room as well."""

LOG_EVENT_BYTES: Final = 4
"""An event takes ``1 << LOG_EVENT_BYTES`` bytes."""

pack_event = Struct("qd").pack
"""Returns an event, its time and its value, as a piece that can be added to others."""


def pack(window: Window) -> bytes:
    """Return the events of ``window``. O(events)."""
    both = array("q", bytes(len(window.times) << LOG_EVENT_BYTES))
    both[::2] = window.times
    both[1::2] = array("q", window.values.tobytes())
    return both.tobytes()


def unpack(events: bytes, window: Window) -> None:
    """Put ``events`` into ``window``, which has none; its edges are then stale. O(events)."""
    window.times = array("q", events)[::2]
    window.values = array("d", events)[1::2]
    window.rest()
