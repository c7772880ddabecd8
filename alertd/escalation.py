"""Escalation as people write it: who else is told of what nobody acknowledges in time.

Owns what is wrong with the two keys, which a rule, a route and a channel have alike. Leaves to
``notify/route.py`` who escalates when.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from alertd.errors import Problem
from alertd.model import US_PER_S, Target

MIN_ESCALATION_SECS: Final = 1 / US_PER_S
MAX_ESCALATION_SECS: Final = 366 * 86_400


def escalation_problems(
    after_secs: float | None,
    to: Sequence[Target],
    *,
    at_once: Collection[Target],
    after_key: str = "escalate_after_secs",
    to_key: str = "escalate_to",
) -> list[Problem]:
    """Return what is wrong with them; ``at_once`` are told without waiting for anybody."""
    if (after_secs is None) != (not to):
        return [Problem(f"/{to_key}", f"expected both {after_key} and {to_key}, or neither")]
    problems = []
    if after_secs is not None and not MIN_ESCALATION_SECS <= after_secs <= MAX_ESCALATION_SECS:
        problems.append(Problem(f"/{after_key}", "expected from one microsecond to 366 days"))
    for index, target in enumerate(to):
        if target in at_once:
            message = f"expected another channel, {target.channel!r} is told at once"
            problems.append(Problem(f"/{to_key}/{index}", message))
    return problems
