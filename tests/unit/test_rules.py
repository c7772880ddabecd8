"""Every combination of rule options that makes no sense is refused, with its path and the reason.

Each entry is a whole rule but for one mistake; the first table would be taken without it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alertd.errors import InvalidInput
from alertd.model import US_PER_S, Evaluate, Operator, RuleType, Target
from alertd.rules import (
    AGGREGATES,
    DAY_US,
    RuleRecord,
    RuleSetting,
    RuleSpec,
    Source,
    check_spec,
    compile_rule,
)

PLAIN = RuleSpec(
    name="r",
    type=RuleType.MOVING_WINDOW,
    metric_name="m",
    threshold=1.0,
    window_duration_secs=60.0,
)
COUNT = {"type": RuleType.SIMPLE_COUNT}
BUCKETED = {"type": RuleType.BUCKETED_WINDOW}
SETTING = RuleSetting(frozenset({"ops"}), event_retention_us=30 * DAY_US)
MONTH_S = 30 * 86_400.0
NAN, INF = float("nan"), float("inf")

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # aggregates
    (COUNT | {"aggregate": "p95"}, "/aggregate", "use MOVING_WINDOW"),
    (COUNT | {"aggregate": "avg"}, "/aggregate", "use MOVING_WINDOW"),
    ({"aggregate": "mean"}, "/aggregate", "known are avg"),
    ({"aggregate": "p0"}, "/aggregate", "any pNN"),
    ({"aggregate": "p101"}, "/aggregate", "any pNN"),
    ({"aggregate": "p99.1234567"}, "/aggregate", "any pNN"),
    (BUCKETED | {"aggregate": ""}, "/aggregate", "unknown"),
    # windows and buckets
    ({"window_duration_secs": 0.0}, "/windowDurationSecs", "more than 0"),
    ({"window_duration_secs": -60.0}, "/windowDurationSecs", "more than 0"),
    ({"window_duration_secs": 1e-7}, "/windowDurationSecs", "one microsecond"),
    ({"window_duration_secs": NAN}, "/windowDurationSecs", "more than 0"),
    ({"window_duration_secs": INF}, "/windowDurationSecs", "366 days"),
    ({"window_duration_secs": 367 * 86_400.0}, "/windowDurationSecs", "366 days"),
    ({"bucket_interval_secs": 60.0}, "/bucketIntervalSecs", "only for BUCKETED_WINDOW"),
    (COUNT | {"bucket_interval_secs": 60.0}, "/bucketIntervalSecs", "only for BUCKETED_WINDOW"),
    (BUCKETED | {"bucket_interval_secs": 45.0}, "/bucketIntervalSecs", "whole buckets"),
    (BUCKETED | {"bucket_interval_secs": 120.0}, "/bucketIntervalSecs", "whole buckets"),
    (BUCKETED | {"bucket_interval_secs": 0.0}, "/bucketIntervalSecs", "more than 0"),
    (BUCKETED | {"bucket_interval_secs": 0.001}, "/bucketIntervalSecs", "longer interval"),
    ({"evaluate": Evaluate.EARLY}, "/evaluate", "only for BUCKETED_WINDOW"),
    (COUNT | {"evaluate": Evaluate.EARLY}, "/evaluate", "only for BUCKETED_WINDOW"),
    # what is not stored long enough
    ({"allowed_lateness_secs": MONTH_S + 1}, "/allowedLatenessSecs", "store.event_retention_days"),
    ({"window_duration_secs": MONTH_S}, "/windowDurationSecs", "plus allowedLatenessSecs"),
    (
        {"window_duration_secs": MONTH_S / 2, "allowed_lateness_secs": MONTH_S / 2 + 1},
        "/windowDurationSecs",
        "plus allowedLatenessSecs",
    ),
    # durations
    ({"for_secs": -1.0}, "/forSecs", "between 0"),
    ({"keep_firing_secs": NAN}, "/keepFiringSecs", "between 0"),
    ({"allowed_lateness_secs": -0.5}, "/allowedLatenessSecs", "between 0"),
    ({"repeat_interval_secs": INF}, "/repeatIntervalSecs", "between 0"),
    ({"group_ttl_secs": 0.0}, "/groupTtlSecs", "1 second"),
    ({"group_ttl_secs": NAN}, "/groupTtlSecs", "1 second"),
    ({"group_ttl_secs": 69.9}, "/groupTtlSecs", "at least 70 seconds"),
    ({"group_ttl_secs": 100.0, "for_secs": 40.0}, "/groupTtlSecs", "at least 110 seconds"),
    (BUCKETED | {"group_ttl_secs": 100.0}, "/groupTtlSecs", "at least 130 seconds"),
    ({"min_samples": -1}, "/minSamples", "between 0"),
    # thresholds
    ({"threshold": NAN}, "/threshold", "finite"),
    ({"threshold": INF}, "/threshold", "finite"),
    ({"resolve_threshold": NAN}, "/resolveThreshold", "finite"),
    ({"resolve_threshold": 2.0}, "/resolveThreshold", "at most the threshold 1"),
    ({"operator": Operator.LT, "resolve_threshold": 0.5}, "/resolveThreshold", "at least"),
    ({"operator": Operator.EQ, "resolve_threshold": 1.0}, "/resolveThreshold", "'=='"),
    ({"operator": Operator.NE, "resolve_threshold": 1.0}, "/resolveThreshold", "'!='"),
    # names, labels and matchers
    ({"name": " "}, "/name", "not be empty"),
    ({"name": "a\nb"}, "/name", "printable"),
    ({"metric_name": "a b"}, "/metricName", "without spaces"),
    ({"group_by": ("a", "b", "a")}, "/groupBy/2", "twice"),
    ({"group_by": ("",)}, "/groupBy/0", "1 to 100"),
    ({"matchers": {"a/b": "=~("}}, "/matchers/a~1b", "RE2"),
    ({"matchers": {"a": "!~(?=x)"}}, "/matchers/a", "RE2"),
    ({"matchers": {"": "x"}}, "/matchers/", "1 to 100"),
    ({"matchers": {f"l{n}": "x" for n in range(33)}}, "/matchers", "more than 32"),
    ({"runbook_url": "ftp://x"}, "/runbookUrl", "http"),
    # whom to tell
    ({"notifications": (Target("nobody"),)}, "/notifications/0/channel", "(ops)"),
    ({"notifications": (Target("ops"), Target("ops"))}, "/notifications/1", "twice"),
    ({"notifications": (Target("ops", "http://x"),)}, "/notifications/0/endpoint", "its own"),
    ({"notifications": (Target("SLACK"),)}, "/notifications/0/endpoint", "required"),
    ({"notifications": (Target("WEBHOOK", "x"),)}, "/notifications/0/endpoint", "http"),
    ({"notifications": (Target("EMAIL", "a@b.org"),)}, "/notifications/0/channel", "mail server"),
]


def problems_of(spec: RuleSpec) -> dict[str, str]:
    try:
        check_spec(spec, SETTING)
    except InvalidInput as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("changes", "path", "reason"), REFUSED, ids=[f"{n}_{case[1]}" for n, case in enumerate(REFUSED)]
)
def test_a_senseless_option_is_refused_at_its_path(
    changes: dict[str, Any], path: str, reason: str
) -> None:
    problems = problems_of(msgspec.structs.replace(PLAIN, **changes))
    assert list(problems) == [path]
    assert reason in problems[path]


def test_the_rule_without_the_mistake_is_taken() -> None:
    assert problems_of(PLAIN) == {}
    for changes in (COUNT, BUCKETED, BUCKETED | {"bucket_interval_secs": 20.0}):
        assert problems_of(msgspec.structs.replace(PLAIN, **changes)) == {}


@pytest.mark.parametrize("rule_type", [RuleType.MOVING_WINDOW, RuleType.BUCKETED_WINDOW])
@pytest.mark.parametrize("aggregate", [*AGGREGATES, "p1", "p99.9", "p100", "p0.5"])
def test_every_aggregate_is_taken_by_both_kinds_of_window(
    aggregate: str, rule_type: RuleType
) -> None:
    spec = msgspec.structs.replace(PLAIN, aggregate=aggregate, type=rule_type)
    assert problems_of(spec) == {}


def test_all_mistakes_are_told_at_once() -> None:
    spec = msgspec.structs.replace(
        PLAIN, name="", threshold=NAN, aggregate="x", for_secs=-1.0, group_by=("a", "a")
    )
    assert set(problems_of(spec)) == {"/name", "/threshold", "/aggregate", "/forSecs", "/groupBy/1"}


@pytest.mark.parametrize(
    ("changes", "ttl_s"),
    [
        ({}, 86_400),
        ({"group_ttl_secs": 70.0}, 70),
        ({"window_duration_secs": 86_400.0}, 2 * 86_400),
        ({"for_secs": 2 * 86_400.0}, 2 * 86_400 + 60 + 10),
        (BUCKETED | {"window_duration_secs": 86_400.0}, 2 * 86_400 + 10),
    ],
)
def test_a_quiet_group_is_kept_for_a_day_or_two_windows_or_until_it_is_done(
    changes: dict[str, Any], ttl_s: int
) -> None:
    spec = msgspec.structs.replace(PLAIN, **changes)
    assert problems_of(spec) == {}
    record = RuleRecord(id="r", version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    assert compile_rule(record).group_ttl_us == ttl_s * US_PER_S
