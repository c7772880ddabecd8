"""Rules of files that have the name of a rule made over HTTP.

Owns what a clash is and how it is told. Leaves to ``rulebook.py`` what becomes of such a rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from alertd.config.errors import ConfigProblem
from alertd.config.rules import TomlRule
from alertd.rules import RuleRecord, Source


def clashes(rules: Iterable[TomlRule], known: Iterable[RuleRecord]) -> dict[str, TomlRule]:
    """Return those of ``rules`` whose names belong to others, by the ids of those."""
    owner_of = {record.spec.name: record.id for record in known if record.source is Source.API}
    return {owner_of[rule.spec.name]: rule for rule in rules if rule.spec.name in owner_of}


def clash_problem(rule: TomlRule, owner_id: str) -> ConfigProblem:
    """Return what is wrong with ``rule``, whose name belongs to the rule ``owner_id``."""
    message = (
        f"the name {rule.spec.name!r} belongs to a rule that was made over HTTP; delete that one "
        f"(DELETE /api/alerts/{owner_id}), or rename one of the two"
    )
    return ConfigProblem(rule.file, rule.line, "", message)
