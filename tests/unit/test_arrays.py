"""What is asked of columns has one answer, whichever way it is found."""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections.abc import Iterator

import pytest

from alertd import arrays
from alertd.arrays import LONG, are_finite, bounds, has_numpy, picked, shifted

LENGTHS = (1, 2, LONG - 1, LONG, LONG + 1, 5_000)


@pytest.fixture(params=["with NumPy", "without NumPy"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "without NumPy":
        monkeypatch.setitem(sys.modules, "numpy", None)
    else:
        pytest.importorskip("numpy")
    arrays._numpy.cache_clear()
    yield
    arrays._numpy.cache_clear()


pytestmark = pytest.mark.usefixtures("_either_way")


def test_whether_there_is_numpy_is_known() -> None:
    assert has_numpy() == (sys.modules["numpy"] is not None)


@pytest.mark.parametrize("length", LENGTHS)
def test_bounds_are_the_least_and_the_greatest(length: int) -> None:
    source = random.Random(length)  # noqa: S311 - a test, no secret
    times = array("q", (source.randrange(-(1 << 63), 1 << 63) for _ in range(length)))
    values = array("d", (source.uniform(-1e300, 1e300) for _ in range(length)))
    assert bounds(times) == (min(times), max(times))
    assert bounds(values) == (min(values), max(values))
    assert bounds(array("I", range(length))) == (0, length - 1)
    assert [type(each) for each in (*bounds(times), *bounds(values))] == [int, int, float, float]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_found_wherever_it_stands(length: int, bad: float) -> None:
    values = array("d", range(length))
    assert are_finite(values)
    assert are_finite(array("d"))
    for place in (0, length // 2, length - 1):
        values[place], good = bad, values[place]
        assert not are_finite(values)
        values[place] = good


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_picked_stands_in_the_table_at_its_place(length: int) -> None:
    source = random.Random(length)  # noqa: S311 - a test, no secret
    table = array("I", (source.randrange(1 << 32) for _ in range(700)))
    places = array("I", (source.randrange(700) for _ in range(length)))
    assert picked(table, places) == array("I", [table[place] for place in places])
    places[-1] = 699
    assert picked(table, places)[-1] == table[-1]
    for beyond in (700, (1 << 32) - 1):
        places[length // 2] = beyond
        with pytest.raises(IndexError):
            picked(table, places)


def test_nothing_is_picked_for_nobody() -> None:
    assert picked(array("I"), array("I")) == array("I")
    with pytest.raises(IndexError):
        picked(array("I"), array("I", bytes(4 * LONG)))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("least", [-(1 << 63), -5, 0, 1_750_000_000_000_000, (1 << 63) - 5_000])
def test_shifted_columns_come_back_as_they_were(length: int, least: int) -> None:
    column = array("q", range(least, least + length))
    for narrow in (shifted(column, -least, "H"), shifted(column, -least, "I")):
        assert narrow.tolist() == list(range(length))
        assert shifted(narrow, least, "q") == column
    assert narrow.typecode == "I"
