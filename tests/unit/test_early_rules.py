from __future__ import annotations

import pytest

from alertd.errors import InvalidInput
from alertd.model import Evaluate, OnNoData, Operator, RuleType
from alertd.rule_checks import MAX_OPEN_WINDOWS, RuleSetting, check_spec
from alertd.rules import RuleSpec


def problems_of(**fields: object) -> dict[str, str]:
    """Return what is wrong with an early ``avg > 5`` over a minute that has ``fields``."""
    usual: dict[str, object] = {
        "name": "n",
        "type": RuleType.BUCKETED_WINDOW,
        "metric_name": "m",
        "threshold": 5.0,
        "window_duration_secs": 60.0,
        "evaluate": Evaluate.EARLY,
    }
    spec = RuleSpec(**(usual | fields))  # type: ignore[arg-type]  # built from a table of fields
    try:
        check_spec(spec, RuleSetting())
    except InvalidInput as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"operator": Operator.LT},
        {"aggregate": "count"},
        {"aggregate": "count", "operator": Operator.EQ},
        {"aggregate": "sum", "operator": Operator.LT, "threshold": -5.0},
        {"on_no_data": OnNoData.KEEP},
        {"bucket_interval_secs": 60 / MAX_OPEN_WINDOWS},
    ],
)
def test_early_is_for_what_events_add_up_to(fields: dict[str, object]) -> None:
    assert problems_of(**fields) == {}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": RuleType.MOVING_WINDOW}, "only for BUCKETED_WINDOW"),
        ({"aggregate": "count", "operator": Operator.LT}, "count < 5 holds before"),
        (
            {"aggregate": "count", "operator": Operator.LT, "min_samples": 3},
            "count < 5 holds before",
        ),
        ({"aggregate": "distinct", "operator": Operator.NE}, "distinct != 5 holds before"),
        ({"aggregate": "sum", "threshold": -5.0}, "sum > -5 holds before"),
        ({"on_no_data": OnNoData.ALERT}, "onNoData = 'alert'"),
        ({"bucket_interval_secs": 0.5}, "each of the 120 windows"),
    ],
)
def test_early_is_refused_where_only_a_closed_window_can_tell(
    fields: dict[str, object], says: str
) -> None:
    problems = problems_of(**fields)
    assert problems.keys() == {"/evaluate"}
    assert says in problems["/evaluate"]


def test_a_wrong_bucket_is_reported_as_that() -> None:
    for seconds in (-1.0, 0.0, 1e-9, 7.0, 1e12, float("nan"), float("inf")):
        assert "/bucketIntervalSecs" in problems_of(bucket_interval_secs=seconds)
