"""Which series lead to each group.

Owns the form of such a list. Nearly every group has one series, whose number is then all that is
kept: the object that the series itself has for it, so it takes nothing. Leaves to ``routing.py``
what is in the lists.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TypeAlias

Sources: TypeAlias = "int | array[int] | None"
"""A series number or several, in the order in which they were added; None for none."""


def with_source(sources: Sources, series_id: int) -> Sources:
    """Return ``sources`` and a series more, in place of ``sources``. Amortised O(1)."""
    if sources is None:
        return series_id
    if isinstance(sources, int):
        return array("I", (sources, series_id))
    sources.append(series_id)
    return sources


def listed(sources: Sources) -> Sequence[int]:
    """Return the numbers of the series."""
    if sources is None:
        return ()
    return (sources,) if isinstance(sources, int) else sources
