"""Matchers on incidents: what makes one wrong, and whose incidents they can match at all.

Routes, mutes, inhibitions and silences choose by the same: ``ruleName``, ``severity`` and the
labels of the group. Of an incident of a rule, name and severity are known before there is one, and
that it has no other labels than the rule groups by; the values of those may be any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from alertd.limits import MAX_PATTERN_CHARS
from alertd.literals import literal_doubt, meant_instead, spelled
from alertd.matching import all_of, predicate
from alertd.meant import did_you_mean, did_you_mean_among_many
from alertd.model import Matcher, MatchOperator, Severity
from alertd.names import LABEL_NAME_REMEDY, is_label_name
from alertd.patterns import BadPattern
from alertd.rules import RuleSpec

_SEVERITIES: Final = tuple(severity.value for severity in Severity)
_MAX_NAMES_COMPARED: Final = 1000
"""With one that no rule has: each takes some 20 us."""
_LINE_BREAK: Final = re.compile(r"\n|\\n")


def subject_labels(rule_name: str, severity: str, group: Mapping[str, str]) -> dict[str, str]:
    """Return what matchers see of an incident."""
    return {**group, "ruleName": rule_name, "severity": severity}


def matcher_problem(matcher: Matcher) -> str | None:
    """Return what is wrong with one matcher on incidents, None if nothing is."""
    if not is_label_name(matcher.label):
        return f"names a label, which {LABEL_NAME_REMEDY}"
    if len(matcher.pattern) > MAX_PATTERN_CHARS:
        return f"is longer than {MAX_PATTERN_CHARS} characters"
    try:
        holds = predicate(matcher)
    except BadPattern as error:
        return str(error)
    if matcher.label != "severity":
        return None
    if matcher.operator is MatchOperator.NOT_EQUAL:
        is_about_one = matcher.pattern in _SEVERITIES
    else:
        is_about_one = any(holds({"severity": severity}) for severity in _SEVERITIES)
    if is_about_one:
        return None
    hint = _pattern_meant(matcher) or did_you_mean(matcher.pattern, _SEVERITIES)
    known = f"expected one of {', '.join(_SEVERITIES)}, got {matcher.pattern!r}"
    return f"{known}; {hint}" if hint else known


def doubts(matchers: Iterable[Matcher]) -> list[tuple[str, str]]:
    """Return the labels whose values are most likely not meant literally, each with the reason.

    Names of rules and severities are known: what is none of them is told by who looks for them.
    """
    return [
        (matcher.label, doubt)
        for matcher in matchers
        if matcher.label not in ("ruleName", "severity")
        and (doubt := literal_doubt(matcher)) is not None
    ]


def covers(wide: Iterable[Matcher], narrow: Iterable[Matcher]) -> bool:
    """Return whether whatever matches all of ``narrow`` matches all of ``wide`` for certain.

    Their patterns must be usable. Each label is looked at by itself, and patterns only at
    the values that ``narrow`` spells out. That values may have line breaks, which ``.*`` does not
    match, is of account only where ``narrow`` spells one out.
    """
    of_label = {matcher.label: matcher for matcher in narrow}
    return all(_covers(matcher, of_label.get(matcher.label)) for matcher in wide)


def _covers(wide: Matcher, narrow: Matcher | None) -> bool:
    if wide == narrow:
        return True
    holds = predicate(wide)
    if wide.label == "severity":
        is_narrow = all_of(() if narrow is None else (narrow,))
        return all(map(holds, filter(is_narrow, ({"severity": one} for one in _SEVERITIES))))
    if narrow is not None and narrow.operator is MatchOperator.EQUAL:
        return holds({narrow.label: narrow.pattern})
    is_open = wide.operator is MatchOperator.REGEX and wide.pattern == ".*"
    return is_open and (narrow is None or not _LINE_BREAK.search(narrow.pattern))


class Reach:
    """Whose incidents matchers, whose patterns are usable, can match."""

    def __init__(self, matchers: Iterable[Matcher]) -> None:
        self._matchers = tuple(matchers)
        self._predicates = [(matcher.label, predicate(matcher)) for matcher in self._matchers]

    def includes(self, spec: RuleSpec) -> bool:
        """Return whether an incident of the rule ``spec`` can match all of them."""
        known = subject_labels(spec.name, spec.severity.value, {})
        return all(
            holds(known)
            for label, holds in self._predicates
            if label in known or label not in spec.group_by
        )

    def problem(self, specs: Sequence[RuleSpec]) -> tuple[str | None, str] | None:
        """Return why no incident of any of ``specs`` can match, None if one can.

        With it comes the label whose matcher alone is the reason, None if only all together are.
        Cost: a look at each rule for each matcher, so not for the event loop.
        """
        if any(map(self.includes, specs)):
            return None
        for matcher in self._matchers:
            if not any(map(Reach([matcher]).includes, specs)):
                return matcher.label, f"matches nothing: {_reason(matcher, specs)}"
        return None, "matches nothing: no rule's incidents match all of these"


def _reason(matcher: Matcher, specs: Sequence[RuleSpec]) -> str:
    if matcher.label == "severity":
        return "no rule is of such a severity"
    if matcher.label != "ruleName":
        grouped_by = chain.from_iterable(spec.group_by for spec in specs)
        labels = dict.fromkeys(chain(("ruleName", "severity"), grouped_by))
        message = f"no rule groups by {matcher.label!r}, so no incident has that label"
        return _asked(message, matcher.label, labels)
    message, hint = "no rule has such a name", _pattern_meant(matcher)
    if hint is not None:
        return f"{message}; {hint}"
    return _asked(message, matcher.pattern, (spec.name for spec in specs))


def _pattern_meant(matcher: Matcher) -> str | None:
    """Return a question with what a literal value that looks like something else may mean."""
    meant = meant_instead(matcher)
    return None if meant is None else f"did you mean {spelled(meant)!r}?"


def _asked(message: str, name: str, known: Iterable[str]) -> str:
    """Return ``message`` with the one of some ``known`` names that ``name`` may mean."""
    hint = did_you_mean_among_many(name, islice(known, _MAX_NAMES_COMPARED))
    return f"{message}; {hint}" if hint else message
