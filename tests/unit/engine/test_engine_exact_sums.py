from __future__ import annotations

import math
import random
import statistics
import sys
from collections import deque
from fractions import Fraction

import pytest

from alertd.engine.exact import ExactMoments, ExactSum


def test_two_hundred_thousand_adds_and_removals_leave_exactly_the_sum_of_what_remains() -> None:
    rng = random.Random(7)  # noqa: S311  # nobody is to be kept from guessing it
    exact, total, inside = ExactMoments(), Fraction(0), deque[float]()
    for turn in range(100_000):
        value = rng.uniform(-1, 1) * 10.0 ** rng.randint(-12, 12)
        exact.add(value)
        inside.append(value)
        total += Fraction(value)
        if len(inside) > 100:
            gone = inside.popleft()
            exact.remove(gone)
            total -= Fraction(gone)
        if turn % 1000 == 0:
            assert exact.total() == float(total) == math.fsum(inside)
            assert exact.total(1, len(inside)) == float(total / len(inside))
            assert exact.deviation(len(inside)) == statistics.pstdev(inside)
    for value in inside:
        exact.remove(value)
    assert exact.total() == 0.0
    assert exact.deviation(1) == 0.0


def test_ten_million_adds_and_removals_do_not_move_an_average() -> None:
    rng = random.Random(11)  # noqa: S311  # nobody is to be kept from guessing it
    values = [rng.uniform(-1, 1) * 10.0 ** rng.randint(-6, 9) for _ in range(1_009)]
    window = 500
    exact = ExactSum()
    for value in values[:window]:
        exact.add(value)
    entering, leaving = window, 0
    for _ in range(5_000_000):
        exact.add(values[entering])
        exact.remove(values[leaving])
        entering, leaving = (entering + 1) % len(values), (leaving + 1) % len(values)
    inside = [values[(leaving + place) % len(values)] for place in range(window)]
    assert exact.total(1, window) == statistics.mean(inside)


def test_a_huge_value_is_gone_without_a_trace_when_it_is_removed() -> None:
    exact = ExactMoments()
    for value in (0.1, 1e308, 0.2):
        exact.add(value)
    exact.remove(1e308)
    assert exact.total() == math.fsum([0.1, 0.2])
    assert exact.deviation(2) == statistics.pstdev([0.1, 0.2])


def test_a_sum_beyond_the_range_of_floats_is_the_greatest_only_while_it_is() -> None:
    exact = ExactSum()
    exact.add(1e308)
    exact.add(1e308)
    assert exact.total() == sys.float_info.max
    assert exact.total(1, 2) == 1e308
    exact.add(-1e308)
    assert exact.total() == 1e308
    exact.remove(1e308)
    exact.remove(1e308)
    assert exact.total() == -1e308
    exact.add(-1e308)
    assert exact.total() == -sys.float_info.max


@pytest.mark.parametrize("value", [0.1, 0.7, 1e308, 5e-324, -0.3])
def test_the_mean_of_equal_values_is_that_value(value: float) -> None:
    exact = ExactSum()
    for count in range(1, 20):
        exact.add(value)
        assert exact.total(1, count) == value


def test_clear_leaves_nothing() -> None:
    exact = ExactMoments()
    exact.add(1e-300)
    exact.clear()
    exact.add(2.0)
    assert (exact.total(), exact.deviation(1)) == (2.0, 0.0)


@pytest.mark.parametrize(
    "values",
    [
        [-3.0, 0.3],
        [0.0, 1e-200],
        [1e308, -1e308],
        [5e-324, 0.0],
        [5e-324, 0.0, 1e-323],
        [1.0, 1.0 + 2**-52],
        [0.0, 2.0],
    ],
)
def test_the_deviation_is_rounded_once_and_neither_overflows_nor_vanishes(
    values: list[float],
) -> None:
    exact = ExactMoments()
    for value in values:
        exact.add(value)
    assert exact.deviation(len(values)) == statistics.pstdev(values)
