"""What a rule of which nothing is wrong most likely does not mean.

Owns the list of what is looked at: thresholds that no value or each is beyond, rules that tell
nobody, endpoints that nothing is sent to, and templates and links that stand where they are text.
Leaves the labels that templates show to ``shown_labels.py``, literal values of matchers to
``literals.py``, and what is wrong with a rule to ``rule_checks.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from alertd.channels.forbidden import forbidden_kind_of_url
from alertd.channels.shown_labels import label_warnings
from alertd.errors import Problem, pointer_token
from alertd.literals import literal_doubt
from alertd.model import OnNoData
from alertd.ranges import foregone, range_of
from alertd.rule_checks import EMAIL, RuleSetting
from alertd.rules import TARGET_FIELDS, ZERO_ON_EMPTY, RuleSpec, parse_matchers

_TEMPLATE: Final = re.compile(r"\{\{.*\}\}|\{%.*%\}", re.DOTALL)
_RUNBOOK: Final = "runbook_url"
"""An annotation of that name is what Prometheus has for a rule's link."""
NO_TEMPLATE: Final = (
    "is no template, so it is told as it stands here: write it as one of the annotations, as "
    "annotations.description where an Alertmanager is told"
)
NOBODY: Final = (
    "neither this rule nor a route that its incidents can take names a channel: nobody is told"
)
RUNBOOK: Final = (
    "is told as text: as the rule's runbookUrl every message has it as a link, and an Alertmanager "
    "by this name"
)


def rule_warnings(spec: RuleSpec, setting: RuleSetting) -> list[Problem]:
    """Return the warnings; paths are JSON pointers with the wire's names."""
    found = [*_of_thresholds(spec), *_of_matchers(spec), *label_warnings(spec, setting)]
    found += _of_texts(spec)
    if not setting.tells_somebody(spec):
        found.append(Problem("/notifications", NOBODY))
    if not setting.allow_private_endpoints:
        found += _of_endpoints(spec)
    return found


def _of_thresholds(spec: RuleSpec) -> Iterator[Problem]:
    """Yield thresholds that every value of the aggregate is beyond, or none."""
    aggregate, operator = spec.aggregate_or_default, spec.operator
    can_lack_value = aggregate not in ZERO_ON_EMPTY or bool(spec.min_samples)
    fires_without_value = can_lack_value and spec.on_no_data is OnNoData.ALERT
    outcome = foregone(aggregate, operator, spec.threshold)
    known = f"{aggregate} is {range_of(aggregate)}, so {aggregate} {operator.value}"
    if outcome is True:
        yield Problem(
            "/threshold", f"{known} {spec.threshold:g} always holds: it tells nothing apart"
        )
    elif outcome is False and not fires_without_value:
        yield Problem("/threshold", f"{known} {spec.threshold:g} never holds: it cannot fire")
    elif spec.resolve_threshold is not None and foregone(
        aggregate, operator, spec.resolve_threshold
    ):
        message = f"{known} {spec.resolve_threshold:g} always holds: what fires does not recover"
        yield Problem("/resolveThreshold", message)


def _of_matchers(spec: RuleSpec) -> Iterator[Problem]:
    """Yield literal values that look like something else."""
    for matcher in parse_matchers(spec.matchers):
        doubt = literal_doubt(matcher)
        if doubt is not None:
            yield Problem(f"/matchers/{pointer_token(matcher.label)}", doubt)


def _of_texts(spec: RuleSpec) -> Iterator[Problem]:
    """Yield a template and a link that stand where they are neither."""
    if _TEMPLATE.search(spec.description):
        yield Problem("/description", NO_TEMPLATE)
    runbook = spec.annotations.get(_RUNBOOK)
    # The key takes no template: an annotation that is one has nowhere else to stand.
    if runbook and spec.runbook_url is None and not _TEMPLATE.search(runbook):
        yield Problem(f"/annotations/{_RUNBOOK}", RUNBOOK)


def _of_endpoints(spec: RuleSpec) -> Iterator[Problem]:
    """Yield addresses that every message to them would fail at."""
    for field, key in TARGET_FIELDS.items():
        for index, target in enumerate(getattr(spec, field)):
            if target.endpoint is None or target.channel == EMAIL:
                continue
            kind = forbidden_kind_of_url(target.endpoint)
            if kind is not None:
                message = (
                    f"leads to {kind}, which endpoints of rules may not reach, so nobody is told: "
                    "use a public address, a channel of the configuration file, or "
                    "notify.allow_private_endpoints"
                )
                yield Problem(f"/{key}/{index}/endpoint", message)
