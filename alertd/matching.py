"""Matchers on label sets: what rules, silences and routes choose by.

Owns their one meaning: regular expressions are anchored, and a missing label is the empty string.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from alertd.model import Matcher, MatchOperator
from alertd.patterns import compile_pattern

Predicate = Callable[[Mapping[str, str]], bool]


def predicate(matcher: Matcher) -> Predicate:
    """Return what decides one matcher on a label set. Raises ``BadPattern``."""
    name, pattern = matcher.label, matcher.pattern
    match matcher.operator:
        case MatchOperator.EQUAL:
            return lambda labels: labels.get(name, "") == pattern
        case MatchOperator.NOT_EQUAL:
            return lambda labels: labels.get(name, "") != pattern
        case MatchOperator.REGEX:
            fullmatch = compile_pattern(pattern).fullmatch
            return lambda labels: fullmatch(labels.get(name, "")) is not None
        case MatchOperator.NOT_REGEX:
            differs = compile_pattern(pattern).fullmatch
            return lambda labels: differs(labels.get(name, "")) is None


def all_of(matchers: Iterable[Matcher]) -> Predicate:
    """Return what decides whether every one of ``matchers`` holds. Raises ``BadPattern``."""
    predicates = [predicate(matcher) for matcher in matchers]
    return lambda labels: all(holds(labels) for holds in predicates)
