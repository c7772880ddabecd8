"""What makes no sense in a rule is refused, with its path and the reason; the rest compiles.

Each entry of ``REFUSED`` is a whole rule but for one mistake; ``PLAIN`` is taken without it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alertd.errors import InvalidInput
from alertd.model import (
    US_PER_S,
    Escalation,
    Evaluate,
    OnNoData,
    Operator,
    Rule,
    RuleType,
    Target,
)
from alertd.rule_checks import RuleSetting, check_spec
from alertd.rules import (
    AGGREGATES,
    DAY_US,
    ZERO_ON_EMPTY,
    RuleRecord,
    RuleSpec,
    Source,
    compile_rule,
    seconds_to_us,
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
EARLY = BUCKETED | {"evaluate": Evaluate.EARLY}
LATER: dict[str, Any] = {"escalate_after_secs": 900.0, "escalate_to": (Target("ops"),)}
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
    ({"group_ttl_secs": 367 * 86_400.0}, "/groupTtlSecs", "366 days"),
    ({"min_samples": -1}, "/minSamples", "between 0"),
    ({"min_samples": 10**9 + 1}, "/minSamples", "between 0"),
    # thresholds
    ({"threshold": NAN}, "/threshold", "finite"),
    ({"threshold": INF}, "/threshold", "finite"),
    ({"threshold": -INF}, "/threshold", "finite"),
    ({"resolve_threshold": INF}, "/resolveThreshold", "finite"),
    ({"operator": Operator.GE, "resolve_threshold": 1.5}, "/resolveThreshold", "cannot be above"),
    ({"operator": Operator.LE, "resolve_threshold": 0.5}, "/resolveThreshold", "cannot be below"),
    ({"resolve_threshold": NAN}, "/resolveThreshold", "finite"),
    ({"resolve_threshold": 2.0}, "/resolveThreshold", "cannot be above the threshold 1"),
    ({"operator": Operator.LT, "resolve_threshold": 0.5}, "/resolveThreshold", "cannot be below"),
    ({"operator": Operator.EQ, "resolve_threshold": 1.0}, "/resolveThreshold", "'=='"),
    ({"operator": Operator.NE, "resolve_threshold": 1.0}, "/resolveThreshold", "'!='"),
    # names, labels and matchers
    ({"name": "n" * 201}, "/name", "at most 200"),
    ({"description": "d" * 10_001}, "/description", "at most 10000"),
    ({"group_by": tuple(f"l{n}" for n in range(33))}, "/groupBy", "more than 32"),
    ({"matchers": {"a": "x" * 501}}, "/matchers/a", "longer than 500"),
    ({"runbook_url": "https://"}, "/runbookUrl", "http"),
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
    # what only a closed window can tell, and what looks at too many open ones
    (EARLY | {"on_no_data": OnNoData.ALERT}, "/evaluate", "onNoData = 'alert'"),
    (EARLY | {"aggregate": "count", "operator": Operator.LT}, "/evaluate", "count < 1 holds"),
    (EARLY | {"aggregate": "rate", "threshold": -1.0}, "/evaluate", "rate > -1 holds"),
    (EARLY | {"bucket_interval_secs": 0.5}, "/evaluate", "120 windows"),
    # whom to tell
    ({"notifications": (Target("nobody"),)}, "/notifications/0/channel", "(ops)"),
    ({"notifications": (Target("ops"), Target("ops"))}, "/notifications/1", "twice"),
    ({"notifications": (Target("ops", "http://x"),)}, "/notifications/0/endpoint", "its own"),
    ({"notifications": (Target("SLACK"),)}, "/notifications/0/endpoint", "required"),
    ({"notifications": (Target("WEBHOOK", "x"),)}, "/notifications/0/endpoint", "http"),
    ({"notifications": (Target("EMAIL", "a@b.org"),)}, "/notifications/0/channel", "mail server"),
    # types of channels that stand in the configuration file only
    ({"notifications": (Target("APPRISE", "json://a"),)}, "/notifications/0/channel", "WEBHOOK"),
    ({"notifications": (Target("ALERTMANAGER", "http://a"),)}, "/notifications/0/channel", "SLACK"),
    ({"notifications": (Target("WEBHOOK", "json://a"),)}, "/notifications/0/endpoint", "http"),
    # whom to tell later
    (LATER | {"escalate_to": (Target("nobody"),)}, "/escalateTo/0/channel", "(ops)"),
    (LATER | {"escalate_to": (Target("SLACK"),)}, "/escalateTo/0/endpoint", "required"),
    (LATER | {"escalate_to": (Target("ops"), Target("ops"))}, "/escalateTo/1", "twice"),
    (LATER | {"notifications": (Target("ops"),)}, "/escalateTo/0", "'ops' is told at once"),
    (LATER | {"escalate_to": ()}, "/escalateTo", "both escalateAfterSecs and escalateTo"),
    (LATER | {"escalate_after_secs": None}, "/escalateTo", "or neither"),
    (LATER | {"escalate_after_secs": 0.0}, "/escalateAfterSecs", "one microsecond"),
    (LATER | {"escalate_after_secs": 1e-7}, "/escalateAfterSecs", "one microsecond"),
    (LATER | {"escalate_after_secs": NAN}, "/escalateAfterSecs", "one microsecond"),
    (LATER | {"escalate_after_secs": INF}, "/escalateAfterSecs", "to 366 days"),
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
    assert compiled(**changes).group_ttl_us == ttl_s * US_PER_S


def compiled(**changes: Any) -> Rule:
    spec = msgspec.structs.replace(PLAIN, **changes)
    check_spec(spec, SETTING)
    return compile_rule(
        RuleRecord(id="r", version=1, source=Source.API, created_us=0, updated_us=0, spec=spec)
    )


def test_a_rule_may_say_who_is_told_of_what_nobody_acknowledges() -> None:
    assert compiled().escalation is None
    rule = compiled(**LATER, notifications=(Target("SLACK", "https://example.org/a"),))
    assert rule.escalation == Escalation(900 * US_PER_S, (Target("ops"),))


def test_what_is_left_out_has_its_default() -> None:
    rule = compiled()
    assert (rule.aggregate, rule.operator, rule.group_by, rule.matchers) == (
        "avg", Operator.GT, (), ()
    )  # fmt: skip
    assert (rule.for_us, rule.keep_firing_us, rule.resolve_threshold) == (0, 0, None)
    assert (rule.allowed_lateness_us, rule.on_no_data) == (10_000_000, OnNoData.RESOLVE)
    assert (rule.evaluate, rule.bucket_us) == (Evaluate.ON_CLOSE, rule.window_us)
    assert compiled(type=RuleType.SIMPLE_COUNT).aggregate == "count"
    assert compiled(type=RuleType.BUCKETED_WINDOW).aggregate == "avg"


@pytest.mark.parametrize("aggregate", [*AGGREGATES, "p99.9"])
def test_an_empty_window_has_a_value_only_where_that_is_zero(aggregate: str) -> None:
    least = 0 if aggregate in {"count", "sum", "distinct", "rate"} else 1
    assert (aggregate in ZERO_ON_EMPTY) == (least == 0)
    assert compiled(aggregate=aggregate).min_samples == least
    assert compiled(aggregate=aggregate, min_samples=0).min_samples == least
    assert compiled(aggregate=aggregate, min_samples=3).min_samples == 3


@pytest.mark.parametrize("operator", [Operator.GT, Operator.GE, Operator.LT, Operator.LE])
def test_a_resolve_threshold_may_be_the_threshold_itself(operator: Operator) -> None:
    assert compiled(operator=operator, resolve_threshold=1.0).resolve_threshold == 1.0


@pytest.mark.parametrize(
    ("seconds", "us"),
    [
        (300, 300_000_000),
        (0.1, 100_000),
        (1e-6, 1),
        (0.0000005, 0),
        (0.0000015, 2),
        (0.0000025, 2),
        (1.0000005, 1_000_000),
        (1.0000015, 1_000_002),
        (31_622_400.000001, 31_622_400_000_001),
    ],
)
def test_durations_are_whole_microseconds_rounded_half_to_even(seconds: float, us: int) -> None:
    assert seconds_to_us(seconds) == us
