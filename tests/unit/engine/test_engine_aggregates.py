from __future__ import annotations

import math
import sys

import pytest

from alertd.engine.aggregates import aggregate_factory
from alertd.engine.window import Window
from alertd.model import US_PER_S

FIVE = [3.0, -1.0, 2.0, 2.0, 10.0]


def window_of(name: str, values: list[float], window_us: int = 10 * US_PER_S) -> Window:
    window = Window(window_us, aggregate_factory(name, window_us))
    for place, value in enumerate(values):
        window.put(place, value)
    window.move_to(len(values))
    return window


def value_of(name: str, values: list[float]) -> float:
    window = window_of(name, values)
    return window.aggregate.value(window)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("count", FIVE, 5),
        ("count", [], 0),
        ("sum", FIVE, 16),
        ("sum", [], 0),
        ("sum", [0.1] * 10, 1.0),
        ("sum", [1e308, 1e308, -1e308], 1e308),
        ("sum", [1e308, 1e308], sys.float_info.max),
        ("sum", [-1e308, -1e308], -sys.float_info.max),
        ("avg", FIVE, 3.2),
        ("avg", [0.1] * 3, 0.1),
        ("avg", [1e308, 1e308], 1e308),
        ("min", FIVE, -1),
        ("max", FIVE, 10),
        ("max", [-2.0, -2.0], -2),
        ("first", FIVE, 3),
        ("last", FIVE, 10),
        ("delta", FIVE, 7),
        ("delta", [4.0], 0),
        ("delta", [-1e308, 5.0, 1e308], sys.float_info.max),
        ("delta", [1e308, -1e308], -sys.float_info.max),
        ("rate", FIVE, 1.6),
        ("rate", [], 0),
        ("rate", [1e308] * 10, 1e308),
        ("stddev", [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 2),
        ("stddev", [4.0], 0),
        ("distinct", FIVE, 4),
        ("distinct", [0.0, -0.0], 1),
        ("distinct", [], 0),
        ("p50", FIVE, 2),
        ("p50", [1.0, 2.0], 1),
        ("p50", [1.0, 2.0, 3.0], 2),
        ("p20", FIVE, -1),
        ("p20.000001", FIVE, 2),
        ("p100", FIVE, 10),
        ("p0.000001", FIVE, -1),
        ("p90", [float(n) for n in range(1, 11)], 9),
        ("p99", [float(n) for n in range(1, 101)], 99),
        ("p99.9", [float(n) for n in range(1, 1001)], 999),
        ("p99.9", [float(n) for n in range(1, 101)], 100),
    ],
)
def test_an_aggregate_is_what_its_definition_says(
    name: str, values: list[float], expected: float
) -> None:
    found = value_of(name, values)
    assert found == expected
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("window_us", "values", "expected"),
    [
        (250_000, [1.0, 2.0], 12.0),
        (1_500_000, [1.0, 2.0], 2.0),
        (300_000, [0.75], 2.5),
        (3, [1.0], 1e6 / 3),
        (7 * US_PER_S, [1.0], 1 / 7),
        (1, [1e308], sys.float_info.max),
    ],
)
def test_a_rate_is_per_second_of_a_window_of_any_length(
    window_us: int, values: list[float], expected: float
) -> None:
    rate = aggregate_factory("rate", window_us)()
    for value in values:
        rate.add(value)
    assert rate.value(window_of("count", values)) == expected


def test_a_percentile_of_zeros_shows_the_same_one_after_a_restart() -> None:
    window = Window(10, aggregate_factory("p50", 10))
    window.put(5, 0.0)
    window.move_to(5)
    window.put_inside(3, -0.0)
    window.move_to(13)
    restored = Window(10, aggregate_factory("p50", 10))
    restored.load(window.dump(), 13)
    signs = [math.copysign(1, each.aggregate.value(each)) for each in (window, restored)]
    assert signs == [1, 1]


NAMES = ["count", "sum", "avg", "min", "max", "first", "last", "delta", "stddev", "distinct", "p75"]


@pytest.mark.parametrize("name", NAMES)
def test_what_has_left_the_window_no_longer_counts(name: str) -> None:
    values = [5.0, 1e308, -7.0, 5.0, 5.0, 0.1, 3.0, 2.0]
    window = Window(3, aggregate_factory(name, 3))
    for time, value in enumerate(values):
        window.put(time, value)
        window.move_to(time)
        expected = value_of(name, values[max(0, time - 2) : time + 1])
        assert window.aggregate.value(window) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_late_event_counts_at_its_place(name: str) -> None:
    window = Window(100, aggregate_factory(name, 100))
    for time, value in ((0, 4.0), (20, 9.0), (30, 1.0)):
        window.put(time, value)
        window.move_to(time)
    window.put_inside(10, 6.0)
    window.put_inside(35, 2.0)
    assert window.aggregate.value(window) == value_of(name, [4.0, 6.0, 9.0, 1.0, 2.0])
    window.move_to(110)
    assert window.aggregate.value(window) == value_of(name, [9.0, 1.0, 2.0])


def test_an_unknown_aggregate_is_refused() -> None:
    with pytest.raises(ValueError, match="'mode' is not an aggregate"):
        aggregate_factory("mode", 1)
