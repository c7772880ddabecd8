"""What is asked of a whole column of numbers: by NumPy where it is long.

Owns the choice between the two ways, which answer the same. NumPy is not imported before the first
long column comes, so that a daemon at rest saves the 16 MB; where it is not installed, and for
short columns, Python's loops do. Columns are those of ``model.EventBatch``. Modules with such a
choice of their own ask ``has_numpy``, and import what needs NumPy only then.

Cost: 1 ns a number, where a loop over boxed numbers takes 25.
"""

from __future__ import annotations

from array import array
from functools import cache
from math import isfinite
from types import ModuleType
from typing import Final, Literal, TypeVar

LONG: Final = 256
"""Numbers from which on a call into NumPy costs less than the loop."""

_Number = TypeVar("_Number", int, float)


def has_numpy() -> bool:
    """Return whether NumPy is installed; if it is, it is imported, so ask where it is needed."""
    return _numpy() is not None


def is_numpy_looked_for() -> bool:
    """Return whether ``has_numpy`` costs nothing: the first time it may take 0.1 s."""
    return _numpy.cache_info().currsize > 0


def bounds(column: array[_Number]) -> tuple[_Number, _Number]:
    """Return the least and the greatest of ``column``, at least one number and no NaN."""
    numpy = _numpy_for(column)
    if numpy is None:
        return min(column), max(column)
    numbers = numpy.frombuffer(column, column.typecode)
    return numbers.min().item(), numbers.max().item()


def are_finite(values: array[float]) -> bool:
    """Return whether none is NaN or infinite."""
    numpy = _numpy_for(values)
    if numpy is None:
        return all(map(isfinite, values))
    return bool(numpy.isfinite(numpy.frombuffer(values, values.typecode)).all())


def picked(table: array[int], places: array[int]) -> array[int]:
    """Return what stands in ``table`` at each of ``places``, none of which is negative.

    Raises ``IndexError`` if one of them is beyond its end.
    """
    numpy = _numpy_for(places)
    if numpy is None:
        return array(table.typecode, list(map(table.__getitem__, places)))
    rows = numpy.frombuffer(places, places.typecode)
    return array(table.typecode, numpy.frombuffer(table, table.typecode).take(rows).tobytes())


def shifted(column: array[int], by: int, typecode: Literal["H", "I", "q"]) -> array[int]:
    """Return each number of ``column`` plus ``by``, in a column of ``typecode``; all must fit."""
    numpy = _numpy_for(column)
    if numpy is None:
        return array(typecode, [number + by for number in column])
    numbers = numpy.frombuffer(column, column.typecode).astype(numpy.int64).view(numpy.uint64)
    numbers += numpy.uint64(by % (1 << 64))  # wraps around
    return array(typecode, numbers.astype(typecode).tobytes())


def _numpy_for(column: array[int] | array[float]) -> ModuleType | None:
    return _numpy() if len(column) >= LONG else None


@cache
def _numpy() -> ModuleType | None:
    """Return NumPy, or None where it is not installed."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy
