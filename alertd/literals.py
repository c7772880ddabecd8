"""Values of matchers that are taken literally and look as if something else were meant.

Owns what looks like a regular expression without ``=~``, and like an operator behind an operator.
Both can be values of labels, so they are told and not refused; the whole spelling that is most
likely meant is told with them.
"""

from __future__ import annotations

import re
from typing import Final

from alertd.model import Matcher, MatchOperator
from alertd.rules import parse_matcher

_LIKE_A_PATTERN: Final = re.compile(r"\^.*|.*(\.\*|\.\+|\|).*|.*\$", re.DOTALL)
_PATTERN_OPERATORS: Final = {
    MatchOperator.EQUAL: MatchOperator.REGEX,
    MatchOperator.NOT_EQUAL: MatchOperator.NOT_REGEX,
}


def meant_instead(matcher: Matcher) -> Matcher | None:
    """Return the matcher that ``matcher`` was most likely meant to be, None if it is meant."""
    if matcher.operator is MatchOperator.EQUAL:
        inner = parse_matcher(matcher.label, matcher.pattern)
        if inner.pattern != matcher.pattern:
            return inner
    pattern_operator = _PATTERN_OPERATORS.get(matcher.operator)
    if pattern_operator is None or not _LIKE_A_PATTERN.fullmatch(matcher.pattern):
        return None
    return Matcher(matcher.label, pattern_operator, matcher.pattern)


def literal_doubt(matcher: Matcher) -> str | None:
    """Return why ``matcher`` is most likely not meant as it is taken, and what to write."""
    meant = meant_instead(matcher)
    if meant is None:
        return None
    is_pattern = meant.pattern == matcher.pattern
    looks_like = "a regular expression" if is_pattern else "an operator with a value"
    return (
        f"{matcher.pattern!r} looks like {looks_like}, and only a label that is exactly that is "
        f"meant; did you mean {spelled(meant)!r}?"
    )


def spelled(matcher: Matcher) -> str:
    """Return a matcher's operator and value as files and the API spell them."""
    is_plain = matcher.operator is MatchOperator.EQUAL and matcher.pattern[:1] not in ("=", "!")
    return matcher.pattern if is_plain else f"{matcher.operator.value}{matcher.pattern}"
