"""Everything that can be wrong with a rule that a user writes, and how it is told.

Owns the checks of one ``RuleSpec`` against itself and against the rest of the configuration: each
problem with its path and its reason, all of them at once. Leaves to the readers of TOML and HTTP
what is no rule at all.

Invariant: a ``RuleSpec`` that ``check_spec`` passed compiles, and the engine can judge it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from alertd.errors import InvalidInput, Problem, pointer_token
from alertd.escalation import escalation_problems
from alertd.limits import MAX_LABELS, MAX_PATTERN_CHARS, Limit
from alertd.matching import predicate
from alertd.model import (
    COMPARE,
    US_PER_S,
    Evaluate,
    OnNoData,
    Operator,
    RuleType,
    Target,
)
from alertd.names import LABEL_NAME_REMEDY, METRIC_NAME_REMEDY, is_label_name, is_metric_name
from alertd.patterns import BadPattern
from alertd.rules import (
    AGGREGATES,
    DAY_US,
    ZERO_ON_EMPTY,
    RuleSpec,
    parse_matcher,
    percentile_of,
    seconds_to_us,
)

MAX_NAME_CHARS: Final = 200
MAX_WINDOW_US: Final = 366 * 86_400 * US_PER_S
MAX_DESCRIPTION_CHARS: Final = 10_000
MAX_ANNOTATIONS: Final = 10

MAX_ANNOTATION_CHARS: Final = 1000
"""Of a template, and of what it makes: that is stored with each notification."""

ANNOTATION_NAME: Final = "[A-Za-z_][A-Za-z0-9_]{0,99}"
"""As Alertmanager takes them."""

MAX_GROUP_BY: Final = MAX_LABELS
MAX_MATCHERS: Final = 32
MAX_SAMPLES: Final = 10**9
MAX_URL_CHARS: Final = 2000

MAX_OPEN_WINDOWS: Final = 100
"""With ``evaluate = "early"``, where an event costs something for each open window."""

EMAIL: Final = "EMAIL"
"""The type of channel that an endpoint of a rule needs a mail server for."""

ENDPOINT_TYPES: Final = frozenset({EMAIL, "SLACK", "WEBHOOK"})
"""What a rule names in the place of a channel whose endpoint it names itself."""

_ANNOTATION_NAME = re.compile(ANNOTATION_NAME)


class RuleSetting(Struct, frozen=True):
    """What the rest of the configuration means for rules."""

    known_channels: frozenset[str] = frozenset()
    """Names of the channels that are defined, and ``EMAIL`` if one of them has a mail server,
    which an e-mail endpoint of a rule is sent by."""
    event_retention_us: int = MAX_WINDOW_US
    """How far back events are stored: a window cannot reach further."""
    labels_of_channels: Mapping[str, frozenset[str]] = msgspec.field(default_factory=dict)
    """The labels that channels' templates show; see ``channels/shown_labels.py``."""
    allow_private_endpoints: bool = False
    """Whether endpoints of rules may lead to loopback and private addresses."""
    tells_somebody: Callable[[RuleSpec], bool] = lambda _: True
    """Whether anybody is told of a rule's incidents, by the rule itself or by a route."""


def check_spec(spec: RuleSpec, setting: RuleSetting) -> None:
    """Raise ``InvalidInput`` with every reason why ``spec`` cannot be a rule.

    Paths are JSON pointers with the wire's names.
    """
    problems: list[Problem] = []

    def refuse(path: str, message: str, limit: Limit | None = None) -> None:
        problems.append(Problem(path, message, limit))

    _check_names(spec, refuse)
    _check_annotations(spec, refuse)
    _check_numbers(spec, refuse)
    _check_windows(spec, setting.event_retention_us, refuse)
    _check_aggregate(spec, refuse)
    _check_matchers(spec, refuse)
    _check_targets("notifications", spec.notifications, setting.known_channels, refuse)
    _check_targets("escalateTo", spec.escalate_to, setting.known_channels, refuse)
    _check_escalation(spec, refuse)
    _check_ttl(spec, refuse)
    if problems:
        raise InvalidInput(problems)


def is_known(target: Target, known_channels: frozenset[str]) -> bool:
    """Tell whether ``target`` can be sent to; ``known_channels`` are a ``RuleSetting``'s."""
    sends_by_itself = target.endpoint is not None and target.channel != EMAIL
    return sends_by_itself or target.channel in known_channels


class Refuse(Protocol):
    """Notes what is wrong, and the limit that it is about."""

    def __call__(self, path: str, message: str, limit: Limit | None = None) -> None:
        """Note ``message`` about what stands at ``path``."""


def _check_names(spec: RuleSpec, refuse: Refuse) -> None:
    if not spec.name.strip():
        refuse("/name", "must not be empty")
    elif len(spec.name) > MAX_NAME_CHARS or not spec.name.isprintable():
        refuse("/name", f"must be at most {MAX_NAME_CHARS} printable characters")
    if not is_metric_name(spec.metric_name):
        refuse("/metricName", METRIC_NAME_REMEDY)
    if len(spec.description) > MAX_DESCRIPTION_CHARS:
        refuse("/description", f"must be at most {MAX_DESCRIPTION_CHARS} characters")
    if len(spec.group_by) > MAX_GROUP_BY:
        refuse("/groupBy", f"has more than {MAX_GROUP_BY} labels, and so has no series")
    for index, label in enumerate(spec.group_by):
        if not is_label_name(label):
            refuse(f"/groupBy/{index}", f"names a label, which {LABEL_NAME_REMEDY}")
        elif label in spec.group_by[:index]:
            refuse(f"/groupBy/{index}", f"names the label {label!r} twice")
    if spec.runbook_url is not None and not _is_http_url(spec.runbook_url):
        refuse("/runbookUrl", "must be an http:// or https:// address")


def _check_annotations(spec: RuleSpec, refuse: Refuse) -> None:
    """Refuse names that receivers do not take; the templates are ``channels/annotations.py``'s."""
    if len(spec.annotations) > MAX_ANNOTATIONS:
        refuse("/annotations", f"has more than {MAX_ANNOTATIONS} entries")
    for name, source in spec.annotations.items():
        path = f"/annotations/{pointer_token(name)}"
        if not _ANNOTATION_NAME.fullmatch(name):
            refuse(path, "must be named by letters, digits and _, 100 at most, no digit first")
        if len(source) > MAX_ANNOTATION_CHARS:
            refuse(path, f"is longer than {MAX_ANNOTATION_CHARS} characters")


def _check_numbers(spec: RuleSpec, refuse: Refuse) -> None:
    if not math.isfinite(spec.threshold):
        refuse("/threshold", "must be a finite number")
    durations = {
        "forSecs": spec.for_secs,
        "keepFiringSecs": spec.keep_firing_secs,
        "allowedLatenessSecs": spec.allowed_lateness_secs,
        "repeatIntervalSecs": spec.repeat_interval_secs,
    }
    for name, seconds in durations.items():
        if not 0 <= seconds <= MAX_WINDOW_US / US_PER_S:
            refuse(f"/{name}", "must be between 0 and 366 days, in seconds")
    if spec.min_samples is not None and not 0 <= spec.min_samples <= MAX_SAMPLES:
        refuse("/minSamples", f"must be between 0 and {MAX_SAMPLES}")
    _check_resolve_threshold(spec, refuse)


def _check_ttl(spec: RuleSpec, refuse: Refuse) -> None:
    """Refuse to forget a group that is not done with the events that it had."""
    ttl_secs = spec.group_ttl_secs
    if ttl_secs is None:
        return
    bucket_secs = spec.bucket_interval_secs or spec.window_duration_secs
    least_secs = (
        spec.window_duration_secs
        + (bucket_secs if spec.type is RuleType.BUCKETED_WINDOW else 0)
        + spec.allowed_lateness_secs
        + spec.for_secs
        + spec.keep_firing_secs
    )
    if not 1 <= ttl_secs <= MAX_WINDOW_US / US_PER_S:
        refuse("/groupTtlSecs", "must be between 1 second and 366 days, in seconds")
    elif ttl_secs < least_secs:
        refuse(
            "/groupTtlSecs",
            f"must be at least {least_secs:g} seconds: a group is done with its events after "
            "windowDurationSecs, bucketIntervalSecs, allowedLatenessSecs, forSecs and "
            "keepFiringSecs; leave it out for a day, or more where that is needed",
        )


def _check_resolve_threshold(spec: RuleSpec, refuse: Refuse) -> None:
    if spec.resolve_threshold is None:
        return
    path = "/resolveThreshold"
    threshold = f"{spec.threshold:.10g}"
    resolves = f"with {spec.operator.value!r} it resolves"
    if not math.isfinite(spec.resolve_threshold):
        refuse(path, "must be a finite number")
    elif spec.operator in (Operator.EQ, Operator.NE):
        refuse(path, f"has no meaning with the operator {spec.operator.value!r}; leave it out")
    elif spec.operator in (Operator.GT, Operator.GE) and spec.resolve_threshold > spec.threshold:
        refuse(path, f"{resolves} below this, so it cannot be above the threshold {threshold}")
    elif spec.operator in (Operator.LT, Operator.LE) and spec.resolve_threshold < spec.threshold:
        refuse(path, f"{resolves} above this, so it cannot be below the threshold {threshold}")


def _check_windows(spec: RuleSpec, retention_us: int, refuse: Refuse) -> None:
    path = "/windowDurationSecs"
    if not 0 < spec.window_duration_secs <= MAX_WINDOW_US / US_PER_S:
        refuse(path, "must be more than 0 seconds and at most 366 days")
        return
    if spec.window_duration_secs < 1 / US_PER_S:
        refuse(path, "must be at least one microsecond")
        return
    window_us = seconds_to_us(spec.window_duration_secs)
    _check_retention(spec, retention_us, refuse)
    if spec.type is not RuleType.BUCKETED_WINDOW:
        if spec.bucket_interval_secs is not None:
            refuse("/bucketIntervalSecs", "is only for BUCKETED_WINDOW; leave it out")
        if spec.evaluate is not Evaluate.ON_CLOSE:
            refuse("/evaluate", "'early' is only for BUCKETED_WINDOW; leave it out")
        return
    open_at_once = 1
    if spec.bucket_interval_secs is not None:
        open_at_once = _check_bucket(spec.bucket_interval_secs, window_us, refuse)
    if spec.evaluate is Evaluate.EARLY:
        _check_early(spec, open_at_once, refuse)


def _check_retention(spec: RuleSpec, retention_us: int, refuse: Refuse) -> None:
    """Refuse what would be judged from events that are no longer stored."""
    retention = f"the event retention, {retention_us / DAY_US:g} days (store.event_retention_days)"
    if spec.allowed_lateness_secs > retention_us / US_PER_S:
        refuse("/allowedLatenessSecs", f"must be at most {retention}: older events are refused")
    elif spec.window_duration_secs + spec.allowed_lateness_secs > retention_us / US_PER_S:
        refuse("/windowDurationSecs", f"plus allowedLatenessSecs must be at most {retention}")


def _check_bucket(bucket_interval_secs: float, window_us: int, refuse: Refuse) -> int:
    """Return how many buckets a window has; 1 if the interval is refused."""
    path = "/bucketIntervalSecs"
    if not 0 < bucket_interval_secs <= MAX_WINDOW_US / US_PER_S:
        refuse(path, "must be more than 0 seconds and at most the window")
        return 1
    bucket_us = seconds_to_us(bucket_interval_secs)
    if bucket_us < 1 or window_us % bucket_us:
        refuse(path, "must divide windowDurationSecs into whole buckets")
        return 1
    if window_us // bucket_us > 10_000:
        refuse(path, "makes more than 10000 buckets a window; take a longer interval")
        return 1
    return window_us // bucket_us


def _check_early(spec: RuleSpec, open_at_once: int, refuse: Refuse) -> None:
    """Refuse what nobody can know before a window closes, and what would cost too much to."""
    path = "/evaluate"
    if open_at_once > MAX_OPEN_WINDOWS:
        refuse(
            path,
            f"'early' looks at each of the {open_at_once} windows that are open at once, "
            f"and at most at {MAX_OPEN_WINDOWS}: "
            "take a longer bucketIntervalSecs, or leave it out to judge on close",
        )
    if spec.on_no_data is OnNoData.ALERT:
        refuse(
            path,
            "'early' cannot tell missing data from data that is still to come, as "
            "onNoData = 'alert' asks; leave one of the two out",
        )
    if spec.aggregate in ZERO_ON_EMPTY and COMPARE[spec.operator](0, spec.threshold):
        refuse(
            path,
            f"'early' would fire as soon as a window begins, because {spec.aggregate} "
            f"{spec.operator.value} {spec.threshold:g} holds before its events have come; "
            "leave it out to judge on close",
        )


def _check_aggregate(spec: RuleSpec, refuse: Refuse) -> None:
    if spec.aggregate is None:
        return
    if spec.type is RuleType.SIMPLE_COUNT:
        if spec.aggregate != "count":
            refuse("/aggregate", "of SIMPLE_COUNT is always 'count'; use MOVING_WINDOW for others")
    elif spec.aggregate not in AGGREGATES and percentile_of(spec.aggregate) is None:
        known = ", ".join(AGGREGATES)
        refuse("/aggregate", f"{spec.aggregate!r} is unknown; known are {known} and any pNN")


def _check_matchers(spec: RuleSpec, refuse: Refuse) -> None:
    if len(spec.matchers) > MAX_MATCHERS:
        refuse("/matchers", f"has more than {MAX_MATCHERS} entries")
    for label, text in spec.matchers.items():
        path = f"/matchers/{pointer_token(label)}"
        if not is_label_name(label):
            refuse(path, f"names a label, which {LABEL_NAME_REMEDY}")
        if len(text) > MAX_PATTERN_CHARS:
            refuse(path, f"is longer than {MAX_PATTERN_CHARS} characters", Limit.PATTERN)
            continue
        try:
            predicate(parse_matcher(label, text))
        except BadPattern as error:
            refuse(path, str(error), error.limit)


def _check_targets(
    key: str, targets: tuple[Target, ...], known_channels: frozenset[str], refuse: Refuse
) -> None:
    for index, target in enumerate(targets):
        path = f"/{key}/{index}"
        if target.channel == EMAIL and EMAIL not in known_channels:
            refuse(
                f"{path}/channel",
                "EMAIL needs a mail server: configure one channel with type = 'email'",
            )
        elif target.channel in ENDPOINT_TYPES:
            _check_endpoint(target, f"{path}/endpoint", refuse)
        elif target.channel not in known_channels:
            known = ", ".join(sorted(known_channels - {EMAIL})) or "none"
            refuse(
                f"{path}/channel",
                f"{target.channel!r} is neither a configured channel ({known}) "
                "nor one of EMAIL, SLACK, WEBHOOK with an endpoint",
            )
        elif target.endpoint is not None:
            refuse(f"{path}/endpoint", f"the channel {target.channel!r} has its own; leave it out")
        if target in targets[:index]:
            refuse(path, "is listed twice")


def _check_escalation(spec: RuleSpec, refuse: Refuse) -> None:
    for problem in escalation_problems(
        spec.escalate_after_secs,
        spec.escalate_to,
        at_once=spec.notifications,
        after_key="escalateAfterSecs",
        to_key="escalateTo",
    ):
        refuse(problem.path, problem.message)


def _check_endpoint(target: Target, path: str, refuse: Refuse) -> None:
    if target.endpoint is None:
        refuse(path, f"an endpoint is required with channel {target.channel}")
    elif target.channel == EMAIL:
        if not re.fullmatch(r"[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,255}", target.endpoint):
            refuse(path, "must be one e-mail address, like ops@example.org")
    elif not _is_http_url(target.endpoint):
        refuse(path, "must be an http:// or https:// address")


def _is_http_url(text: str) -> bool:
    if not text.isprintable() or " " in text or len(text) > MAX_URL_CHARS:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
