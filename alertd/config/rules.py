"""Rules as a TOML file spells them: ``[[rules]]`` with the wire's fields in snake_case.

Owns the translation into ``RuleSpec`` and of its problems back to lines and keys. Leaves to
``rule_checks.py`` what makes a rule wrong, and to ``settings.py`` the names across files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from alertd.channels.annotations import check_rule
from alertd.config.document import Document, TomlTable
from alertd.config.places import KeyPath
from alertd.errors import InvalidInput, Problem
from alertd.model import RuleType, Target, rule_id_of_name
from alertd.rule_checks import RuleSetting
from alertd.rules import TARGET_FIELDS, RuleSpec


class TomlRule(Struct, frozen=True, kw_only=True):
    """A rule that a file owns, and where it stands there: the place to edit it."""

    spec: RuleSpec
    id: str
    """UUIDv5 of the name: history follows it."""
    file: Path
    line: int
    """The line of its ``[[rules]]`` header."""


_SNAKE_OF_CAMEL: Final = {
    field.encode_name: field.name for field in msgspec.structs.fields(RuleSpec)
}

_CAMEL: Final = re.compile(rf"\b(?:{'|'.join(_SNAKE_OF_CAMEL)})\b")

_STAND_INS: Final[Mapping[str, Any]] = {
    "name": "unnamed",
    "type": RuleType.BUCKETED_WINDOW,
    "metric_name": "metric",
    "threshold": 0.0,
    "window_duration_secs": 60.0,
}
"""Values for required fields that are missing or wrong, so that the others can be checked."""

_JUDGED_WITH: Final[Mapping[str, frozenset[str]]] = {
    "aggregate": frozenset({"type"}),
    "bucket_interval_secs": frozenset({"type", "window_duration_secs"}),
    "evaluate": frozenset(
        {
            *("type", "window_duration_secs", "bucket_interval_secs", "on_no_data"),
            *("aggregate", "operator", "threshold"),
        }
    ),
    "resolve_threshold": frozenset({"threshold", "operator"}),
    "escalate_to": frozenset({"escalate_after_secs"}),
}
"""Fields whose check reads others: nothing can be said of them while one of those is wrong."""


def read_rules(documents: Iterable[Document], setting: RuleSetting) -> tuple[TomlRule, ...]:
    """Return the rules of ``documents``; what is wrong with the others is noted there.

    A name may be used once over all files.
    """
    rules: list[TomlRule] = []
    taken: dict[str, str] = {}
    for document, path, table in rule_tables(documents):
        name = table.get("name")
        place = f"{document.path}:{document.line_of(path)}"
        if isinstance(name, str) and taken.setdefault(name, place) != place:
            document.refuse(
                (*path, "name"), f"expected another name, {name!r} is taken by {taken[name]}"
            )
        rule = _read_rule(document, path, table, setting)
        if rule is not None:
            rules.append(rule)
    return tuple(rules)


def rule_tables(documents: Iterable[Document]) -> Iterator[tuple[Document, KeyPath, TomlTable]]:
    """Yield each ``[[rules]]`` with the way to it; what is no such table is noted."""
    for document in documents:
        entries = document.table.get("rules", [])
        for path, table in document.subtables(("rules",), entries, above="each rule"):
            yield document, path, table


def _read_rule(
    document: Document, path: KeyPath, table: TomlTable, setting: RuleSetting
) -> TomlRule | None:
    """Return the rule in ``table``; if anything is wrong, note all of it and return None."""
    problems_before = document.problem_count
    plain = {key: value for key, value in table.items() if key not in TARGET_FIELDS}
    values, wrong = document.values(path, plain, RuleSpec, key_of=lambda field: field.name)
    for key in TARGET_FIELDS.keys() & table.keys():
        targets = _targets(document, (*path, key), table[key])
        if targets is None:
            wrong |= {key}
        else:
            values[key] = targets
    spec = RuleSpec(**{**_STAND_INS, **values})
    try:
        check_rule(spec, setting)
    except InvalidInput as error:
        document.refuse_all(path, table, in_snake_case(error.problems, wrong))
    if document.problem_count > problems_before:
        return None
    return TomlRule(
        spec=spec, id=rule_id_of_name(spec.name), file=document.path, line=document.line_of(path)
    )


def in_snake_case(
    problems: Iterable[Problem], wrong: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    """Yield ``problems`` in the file's words, without those that a stand-in may have caused.

    There are stand-ins for the keys in ``wrong``.
    """
    for problem in problems:
        _, camel, *inner = problem.path.split("/")
        key = _SNAKE_OF_CAMEL[camel]
        if key not in wrong and _JUDGED_WITH.get(key, frozenset()).isdisjoint(wrong):
            message = _CAMEL.sub(lambda match: _SNAKE_OF_CAMEL[match[0]], problem.message)
            yield Problem("/".join(["", key, *inner]), message)


def _targets(document: Document, path: KeyPath, entries: object) -> tuple[Target, ...] | None:
    """Return the targets: each a channel's name, or a table of ``channel`` and ``endpoint``.

    None if they are no array, which is noted.
    """
    if not isinstance(entries, list):
        document.refuse(path, 'expected an array of channel names, like ["ops"]')
        return None
    return tuple(
        _target(document, (*path, index), entry)
        or Target("WEBHOOK", f"http://stand-in/{path[-1]}/{index}")
        for index, entry in enumerate(entries)
    )


def _target(document: Document, path: KeyPath, entry: object) -> Target | None:
    if isinstance(entry, str):
        return Target(entry)
    if not isinstance(entry, dict):
        document.refuse(path, "expected a channel name or a table {channel, endpoint}")
        return None
    values, wrong = document.values(path, entry, Target)
    return None if wrong else Target(**values)
