"""Blocks and directories that were read lately, decoded, for when they are asked for again.

Owns how many there are: those used last, up to a number of bytes. They never change and their
names are not given twice, so nothing in here can be out of date; what is deleted from the store
is just not asked for any more. Several threads use it at a time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

MAX_BYTES: Final = 32 << 20
"""1.3 million events, or a segment of a thousand series. So much memory may be in use for it."""


class Sized(Protocol):
    """Something that knows how much memory it takes."""

    @property
    def size_bytes(self) -> int:
        """About so much."""
        ...


T = TypeVar("T", bound=Sized)


class Cache(Generic[T]):
    """What was used last, by number."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """What takes more than ``max_bytes`` is not kept."""
        self._max_bytes = max_bytes
        self._kept: OrderedDict[int, T] = OrderedDict()
        self._lock = threading.Lock()
        self.size_bytes = 0
        """How much memory it takes now."""

    def get(self, number: int) -> T | None:
        """Return what was kept under ``number``, if it is still there."""
        with self._lock:
            if number not in self._kept:
                return None
            self._kept.move_to_end(number)
            return self._kept[number]

    def keep(self, number: int, thing: T) -> None:
        """Keep ``thing``, and let go of what was not used for longest to make room for it."""
        with self._lock:
            if number in self._kept or thing.size_bytes > self._max_bytes:
                return
            self._kept[number] = thing
            self.size_bytes += thing.size_bytes
            while self.size_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self.size_bytes -= dropped.size_bytes
