"""What a client sends as a rule, to a ``RuleSpec``.

Owns the three ways of writing one (make, replace, merge) and what a redacted endpoint means.
Leaves the meaning of a rule to ``rules.py``.

Replies do not show an endpoint's secret part; an ellipsis stands for it
(``https://hooks.slack.com/…``). Sent back, such an endpoint means the one that the rule has, so
that a reply can be edited and PUT. One that the rule does not have is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from alertd.errors import InvalidInput, Problem
from alertd.http import strict
from alertd.http.wire import ELLIPSIS, shown_endpoint
from alertd.model import Target
from alertd.rules import TARGET_FIELDS, RuleRecord, RuleSpec

READ_ONLY: Final = frozenset(
    {"id", "version", "source", "createdAt", "updatedAt", "state", "warnings"}
)
"""What replies add to a rule; ignored in an edit, so that a reply can be sent back."""


def new_spec(body: bytes) -> RuleSpec:
    """Return the rule that ``body`` spells. Raises ``Undecodable`` and ``InvalidInput``."""
    spec = strict.to_struct(_parse(body), RuleSpec)
    return _restore_endpoints(spec, None)


def replaced_spec(body: bytes, record: RuleRecord) -> RuleSpec:
    """Return the rule with which ``body`` replaces ``record``; raises as ``new_spec``."""
    return _edited(_without_read_only(_parse(body)), record)


def merged_spec(body: bytes, record: RuleRecord) -> RuleSpec:
    """Return ``record`` with the JSON merge patch ``body`` (RFC 7396); raises as ``new_spec``.

    A member that is null goes back to its default.
    """
    patch = _without_read_only(_parse(body))
    stored = msgspec.to_builtins(record.spec)
    merged = _merge(stored, patch)
    if isinstance(patch, dict) and isinstance(merged, dict):
        # RFC 7396 removes what is not there without a word; here it is a misspelt name.
        merged |= {name: None for name in patch if name not in stored and name not in merged}
    return _edited(merged, record)


def _parse(body: bytes) -> object:
    return strict.parse(strict.to_text(body), unique=True)


def _without_read_only(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {name: member for name, member in value.items() if name not in READ_ONLY}


def _merge(target: object, patch: object) -> object:
    # The spec has every object that a rule can have, so a patch meets an object or is wrong.
    if not isinstance(target, dict) or not isinstance(patch, dict):
        return patch
    merged = target | {name: _merge(target.get(name), member) for name, member in patch.items()}
    return {name: member for name, member in merged.items() if patch.get(name, "") is not None}


def _edited(value: object, record: RuleRecord) -> RuleSpec:
    return _restore_endpoints(strict.to_struct(value, RuleSpec), record.spec)


def _restore_endpoints(spec: RuleSpec, stored: RuleSpec | None) -> RuleSpec:
    """Return ``spec`` with redacted endpoints replaced by those they stand for in ``stored``."""
    restored: dict[str, tuple[Target, ...]] = {}
    problems: list[Problem] = []
    for name, key in TARGET_FIELDS.items():
        known: tuple[Target, ...] = () if stored is None else getattr(stored, name)
        restored[name] = tuple(_restored(getattr(spec, name), known, f"/{key}", problems))
    if problems:
        raise InvalidInput(problems)
    return msgspec.structs.replace(spec, **restored)


def _restored(
    targets: Iterable[Target], stored: Iterable[Target], path: str, problems: list[Problem]
) -> Iterator[Target]:
    """Yield ``targets`` with their endpoints in full; those that look alike keep their order."""
    candidates: dict[Target, list[Target]] = {}
    for target in stored:
        shown = Target(target.channel, shown_endpoint(target))
        candidates.setdefault(shown, []).append(target)
    for index, target in enumerate(targets):
        if target.endpoint is None or ELLIPSIS not in target.endpoint:
            yield target
        elif candidates.get(target):
            yield candidates[target].pop(0)
        else:
            text = "is a shortened endpoint that this rule does not have here; write it in full"
            problems.append(Problem(f"{path}/{index}/endpoint", text))
