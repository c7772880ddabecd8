"""Silences: what somebody does not want to be told of for a while.

Owns what a silence is, what makes one wrong, and which one holds an incident back. What still
fires when it ends is told then. Leaves keeping them to ``store/silences.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from alertd.errors import Problem, pointer_token
from alertd.matching import Predicate, all_of
from alertd.model import Matcher
from alertd.notify.matchers import matcher_problem
from alertd.outbound import Hold, HoldReason

MAX_MATCHERS: Final = 32
MAX_TEXT_CHARS: Final = 500


class Silence(Struct, frozen=True, kw_only=True):
    """One silence; it holds on ``[starts_us, ends_us)``."""

    id: str
    matchers: tuple[Matcher, ...]
    """On ``ruleName``, ``severity`` and the labels of the group; all must hold."""
    starts_us: int
    ends_us: int
    created_us: int
    created_by: str
    comment: str


class ActiveSilence:
    """A silence with its matchers compiled."""

    __slots__ = ("_matches", "silence")

    def __init__(self, silence: Silence) -> None:
        self.silence = silence
        self._matches: Predicate = all_of(silence.matchers)

    def holds(self, labels: Mapping[str, str], now_us: int) -> bool:
        """Return whether it is on and every matcher holds."""
        return self.silence.starts_us <= now_us < self.silence.ends_us and self._matches(labels)


def silenced(
    silences: Iterable[ActiveSilence], labels: Mapping[str, str], now_us: int
) -> Hold | None:
    """Return the hold of the silence that ends last, None if none holds."""
    holding = [one.silence for one in silences if one.holds(labels, now_us)]
    if not holding:
        return None
    last = max(holding, key=lambda silence: (silence.ends_us, silence.id))
    by = f" by {last.created_by}" if last.created_by else ""
    comment = f": {last.comment}" if last.comment else ""
    return Hold(HoldReason.SILENCED, last.id, last.ends_us, f"silence {last.id}{by}{comment}")


def silence_problems(silence: Silence, now_us: int) -> list[Problem]:
    """Return what is wrong with a new silence; paths are JSON pointers with the wire's names."""
    problems = []
    if not silence.matchers:
        problems.append(
            Problem("/matchers", 'must name at least one label, like {"ruleName": "=~.*"}')
        )
    if len(silence.matchers) > MAX_MATCHERS:
        problems.append(Problem("/matchers", f"has more than {MAX_MATCHERS} entries"))
    for matcher in silence.matchers:
        if message := matcher_problem(matcher):
            problems.append(Problem(f"/matchers/{pointer_token(matcher.label)}", message))
    if silence.ends_us <= silence.starts_us:
        problems.append(Problem("/endsAt", "must be later than startsAt"))
    elif silence.ends_us <= now_us:
        problems.append(Problem("/endsAt", "must be later than now"))
    for name, text in (("createdBy", silence.created_by), ("comment", silence.comment)):
        if len(text) > MAX_TEXT_CHARS or (text and not text.isprintable()):
            problems.append(
                Problem(f"/{name}", f"must be at most {MAX_TEXT_CHARS} printable characters")
            )
    return problems
