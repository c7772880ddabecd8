"""What a user writes as a rule, and its translation into what the engine judges.

Owns the user's form of a rule (``RuleSpec``: seconds, defaults left out) and ``compile_rule``.
Leaves to others: what is wrong with one (``rule_checks.py``), reading TOML (``config/rules.py``),
HTTP (``http/rules.py``), which rules there are now (``rulebook.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from alertd.model import (
    US_PER_S,
    Escalation,
    Evaluate,
    Limits,
    Matcher,
    MatchOperator,
    OnNoData,
    Operator,
    Rule,
    RuleType,
    Severity,
    Target,
)

AGGREGATES: Final = (
    *("avg", "sum", "min", "max", "count", "last", "first", "delta", "rate", "stddev"),
    *("distinct", "p50", "p90", "p95", "p99"),
)
"""The aggregates by name; any other ``pNN`` with 0 < NN <= 100 is one too (``p99.9``)."""

ZERO_ON_EMPTY: Final = frozenset({"count", "sum", "distinct", "rate"})
"""Aggregates whose value on an empty window is 0 (SEMANTICS, section 3)."""

DAY_US: Final = 86_400 * US_PER_S

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,6})?|100)")


class Source(StrEnum):
    """Who owns a rule: it was made over HTTP, or it stands in a file."""

    API = "api"
    TOML = "toml"


class RuleSpec(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule as its author writes it; in TOML the same fields are in snake_case."""

    name: str
    """Unique; at most 200 characters."""
    type: RuleType
    """How the rule looks at time."""
    metric_name: str
    """The metric whose events it sees."""
    threshold: float
    """What the aggregate is compared with."""
    window_duration_secs: float
    """How long the window is."""
    bucket_interval_secs: float | None = None
    """``BUCKETED_WINDOW``: how far one window begins after the one before; null: as long as a
    window is."""
    operator: Operator = Operator.GT
    """The rule fires where the aggregate stands in this relation to the threshold."""
    aggregate: str | None = None
    """``avg``, ``sum``, ``min``, ``max``, ``count``, ``last`` and ``first`` (by timestamp),
    ``delta`` (last minus first), ``rate`` (the sum of the values per second of the window),
    ``stddev`` (of the population), ``distinct`` (how many different values) or a percentile by
    nearest rank like ``p95``; null: ``count`` for a ``SIMPLE_COUNT``, else ``avg``."""
    matchers: dict[str, str] = msgspec.field(default_factory=dict)
    """By label: a value, or one behind ``=``, ``!=``, ``=~``, ``!~``; only series that match all
    of them are seen. Regular expressions (RE2) match the whole value."""
    group_by: tuple[str, ...] = ()
    """Labels: each combination of their values has windows and incidents of its own."""
    min_samples: int | None = None
    """With fewer events a window has no value."""
    for_secs: float = 0
    """The condition must hold for so long before the rule fires."""
    keep_firing_secs: float = 0
    """It must be over for so long before the incident ends."""
    resolve_threshold: float | None = None
    """The incident ends only where the aggregate no longer stands in the operator's relation to
    this value (with ``>``: at this value or below); null: to the threshold."""
    allowed_lateness_secs: float = 10
    """How late events may come and be judged at once; later ones are judged within a minute."""
    on_no_data: OnNoData = OnNoData.RESOLVE
    """What a window without a value means."""
    evaluate: Evaluate = Evaluate.ON_CLOSE
    """``BUCKETED_WINDOW``: when a window is judged."""
    group_ttl_secs: float | None = None
    """A group that is quiet for so long is forgotten; null: a day, or what its windows need."""
    severity: Severity = Severity.WARNING
    """How bad it is."""
    description: str = ""
    """For people."""
    runbook_url: str | None = None
    """Where people read what to do."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """By name what is told beside the description: templates that know the incident, like
    ``{{ labels.host }} is at {{ value }}``. At most 10 of 1,000 characters, and no more made."""
    is_active: bool = True
    """Whether it is judged at all."""
    repeat_interval_secs: float = 14_400
    """What is still on is told again after so long; 0: never."""
    notifications: tuple[Target, ...] = ()
    """Whom to tell."""
    escalate_after_secs: float | None = None
    """Until then somebody has to acknowledge an incident, or ``escalateTo`` is told as well."""
    escalate_to: tuple[Target, ...] = ()
    """Whom to tell of what nobody acknowledges in time."""

    @property
    def aggregate_or_default(self) -> str:
        """The aggregate that is judged by."""
        return self.aggregate or ("count" if self.type is RuleType.SIMPLE_COUNT else "avg")

    @property
    def targets(self) -> Iterator[Target]:
        """All whom it names, at once or later."""
        yield from self.notifications
        yield from self.escalate_to


TARGET_FIELDS: Final = {"notifications": "notifications", "escalate_to": "escalateTo"}
"""The fields of a ``RuleSpec`` that name targets, with their names on the wire."""


class RuleRecord(Struct, frozen=True, kw_only=True):
    """A rule as it is kept: what its author wrote, and what alertd knows about it."""

    id: str
    version: int
    source: Source
    created_us: int
    updated_us: int
    spec: RuleSpec


class RuleChange(Struct, frozen=True, kw_only=True):
    """One atomic change of what the engine judges by. An entry of the log.

    Some rules are made or edited, some deleted, and other limits may count from here on.
    """

    at_us: int
    put: tuple[RuleRecord, ...] = ()
    deleted: tuple[str, ...] = ()
    limits: Limits | None = None


def seconds_to_us(seconds: float) -> int:
    """Return ``seconds`` in microseconds; finer than that is rounded half to even."""
    scaled = Decimal(repr(seconds)) * US_PER_S
    return int(scaled.to_integral_value(rounding=ROUND_HALF_EVEN))


def compile_escalation(after_secs: float | None, to: tuple[Target, ...]) -> Escalation | None:
    """Return an escalation as the decisions take it, None if there is none."""
    return None if after_secs is None else Escalation(seconds_to_us(after_secs), to)


def percentile_of(aggregate: str) -> float | None:
    """Return NN of an aggregate ``pNN``, or None if it is not a percentile."""
    match = _PERCENTILE.fullmatch(aggregate)
    if match is None or float(match[1]) <= 0:
        return None
    return float(match[1])


def parse_matcher(label: str, text: str) -> Matcher:
    """Return the matcher that ``text`` spells: ``=~``, ``!~``, ``!=``, ``=``, else equality."""
    for operator in (
        MatchOperator.REGEX,
        MatchOperator.NOT_REGEX,
        MatchOperator.NOT_EQUAL,
        MatchOperator.EQUAL,
    ):
        if text.startswith(operator.value):
            return Matcher(label, operator, text[len(operator.value) :])
    return Matcher(label, MatchOperator.EQUAL, text)


def parse_matchers(matchers: Mapping[str, str]) -> tuple[Matcher, ...]:
    """Return the matchers that ``matchers`` spells, by label; see ``parse_matcher``."""
    return tuple(parse_matcher(label, text) for label, text in matchers.items())


def compile_rule(record: RuleRecord) -> Rule:
    """Return ``record`` as the engine judges it: defaults filled in, durations in microseconds."""
    spec = record.spec
    window_us = seconds_to_us(spec.window_duration_secs)
    bucket_secs = spec.bucket_interval_secs
    aggregate = spec.aggregate_or_default
    least_samples = 0 if aggregate in ZERO_ON_EMPTY else 1
    rule = Rule(
        id=record.id,
        version=record.version,
        name=spec.name,
        type=spec.type,
        metric_name=spec.metric_name,
        matchers=tuple(parse_matcher(label, text) for label, text in sorted(spec.matchers.items())),
        group_by=tuple(sorted(spec.group_by)),
        aggregate=aggregate,
        operator=spec.operator,
        threshold=spec.threshold,
        resolve_threshold=spec.resolve_threshold,
        window_us=window_us,
        bucket_us=window_us if bucket_secs is None else seconds_to_us(bucket_secs),
        min_samples=max(spec.min_samples or 0, least_samples),
        for_us=seconds_to_us(spec.for_secs),
        keep_firing_us=seconds_to_us(spec.keep_firing_secs),
        allowed_lateness_us=seconds_to_us(spec.allowed_lateness_secs),
        on_no_data=spec.on_no_data,
        evaluate=spec.evaluate,
        group_ttl_us=0,
        severity=spec.severity,
        description=spec.description,
        runbook_url=spec.runbook_url,
        repeat_interval_us=seconds_to_us(spec.repeat_interval_secs),
        targets=spec.notifications,
        escalation=compile_escalation(spec.escalate_after_secs, spec.escalate_to),
        annotations=tuple(spec.annotations.items()),
    )
    if spec.group_ttl_secs is None:
        ttl_us = max(DAY_US, 2 * window_us, least_ttl_us(rule))
    else:
        ttl_us = seconds_to_us(spec.group_ttl_secs)
    return msgspec.structs.replace(rule, group_ttl_us=ttl_us)


def least_ttl_us(rule: Rule) -> int:
    """Return for how long, by the clock, a quiet group still has something to judge at most.

    Its events leave the last window, the allowed lateness passes, and what has then begun may
    have to last. If it were forgotten before, late events would not find what they belong with.
    """
    span_us = rule.window_us
    if rule.type is RuleType.BUCKETED_WINDOW:
        span_us += rule.bucket_us  # what a window says holds until the next one closes
    return span_us + max(1, rule.allowed_lateness_us) + rule.for_us + rule.keep_firing_us
