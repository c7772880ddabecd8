"""What a rule of which nothing is wrong most likely does not mean.

Owns the list of what is looked at, and endpoints that nothing is sent to. Leaves the labels that
templates show to ``shown_labels.py``, and what is wrong with a rule to ``rule_checks.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from alertd.channels.forbidden import forbidden_kind_of_url
from alertd.channels.shown_labels import label_warnings
from alertd.errors import Problem
from alertd.rule_checks import EMAIL, RuleSetting
from alertd.rules import TARGET_FIELDS, RuleSpec


def rule_warnings(spec: RuleSpec, setting: RuleSetting) -> list[Problem]:
    """Return the warnings; paths are JSON pointers with the wire's names."""
    found = label_warnings(spec, setting)
    if not setting.allow_private_endpoints:
        found += _of_endpoints(spec)
    return found


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
