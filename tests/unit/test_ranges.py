"""Conditions that can never or always hold, whatever the events."""

from __future__ import annotations

import pytest

from alertd.model import COMPARE, Operator
from alertd.ranges import foregone
from alertd.rules import AGGREGATES

THRESHOLDS = (-1e9, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5, 3.0)
VALUES = {
    "count": [float(n) for n in range(10)],
    "distinct": [float(n) for n in range(10)],
    "stddev": [n / 4 for n in range(20)],
}


@pytest.mark.parametrize("operator", Operator)
@pytest.mark.parametrize("aggregate", VALUES)
def test_a_condition_is_foregone_if_no_possible_value_tells_otherwise(
    aggregate: str, operator: Operator
) -> None:
    for threshold in THRESHOLDS:
        outcomes = {COMPARE[operator](value, threshold) for value in VALUES[aggregate]}
        expected = outcomes.pop() if len(outcomes) == 1 else None
        assert foregone(aggregate, operator, threshold) is expected, threshold


@pytest.mark.parametrize("aggregate", [*sorted(set(AGGREGATES) - VALUES.keys()), "p99.9"])
def test_nothing_is_foregone_where_any_value_is_possible(aggregate: str) -> None:
    for operator in Operator:
        for threshold in THRESHOLDS:
            assert foregone(aggregate, operator, threshold) is None
