"""Byte strings that come again and again, and what they stand for.

A program that sends events names the same series in the same order in request after request: tens
of kilobytes that were understood before. Owns how they are known again: one byte of so many is
looked at to guess which string it is, and a comparison tells whether it is. That costs a tenth of
hashing them, and a hundredth of reading them.

Invariant: what is found stands for just these bytes. Of strings that look alike the last one is
remembered; at the bound all are forgotten, and each is read once more.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Generic, NamedTuple, TypeVar

_STRIDE: Final = 61
"""One byte of so many is looked at; a prime, so that of rows of one length each column is."""

_ENTRY_BYTES: Final = 500
"""What else an entry takes: its place in the table, and the bytes that were looked at."""

T = TypeVar("T")


class _Entry(NamedTuple, Generic[T]):
    raw: bytes
    value: T
    size_bytes: int


class Remembered(Generic[T]):
    """Values by the bytes that they were read from, at most ``max_bytes`` of all of it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: dict[Hashable, _Entry[T]] = {}

    def get(self, raw: bytes, kind: Hashable = None) -> T | None:
        """Return what was put for ``raw``, as one of its ``kind``; None if nothing is."""
        entry = self._entries.get(_look(raw, kind))
        return entry.value if entry is not None and entry.raw == raw else None

    def put(self, raw: bytes, value: T, value_bytes: int, kind: Hashable = None) -> None:
        """Remember ``value``, which takes so many bytes itself, unless both alone are too many."""
        entry = _Entry(raw, value, len(raw) + value_bytes + _ENTRY_BYTES)
        if entry.size_bytes > self._max_bytes:
            return
        if self._size_bytes + entry.size_bytes > self._max_bytes:
            self._entries.clear()
            self._size_bytes = 0
        look = _look(raw, kind)
        replaced = self._entries.pop(look, None)
        if replaced is not None:
            self._size_bytes -= replaced.size_bytes
        self._entries[look] = entry
        self._size_bytes += entry.size_bytes


def _look(raw: bytes, kind: Hashable) -> Hashable:
    return kind, len(raw), raw[::_STRIDE]
