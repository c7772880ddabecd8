"""Stretches of time as sets: what several laws say of incidents."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]
"""``[start, end)`` in microseconds."""


def covered(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of ``intervals`` as disjoint ones, in order; empty ones are left out."""
    union: list[Interval] = []
    for start_us, end_us in sorted(intervals):
        if start_us >= end_us:
            continue
        if union and start_us <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end_us))
        else:
            union.append((start_us, end_us))
    return union
