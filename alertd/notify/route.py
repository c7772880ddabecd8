"""Whom to tell: the rule's own notifications, and what routes add by severity and labels.

Owns the decision, a function of the routes, the rule and the labels. Routes are tried in their
order; the first that matches ends it unless it says ``continue``. What the rule itself names is
told in any case. A target is told once, as the first that names it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from alertd.matching import Predicate
from alertd.model import Target, Timing

BY_RULE = "the rule"


class Route(Struct, frozen=True, kw_only=True):
    """One route; what is None is as the rule or ``[notify]`` says."""

    name: str
    matches: Predicate
    targets: tuple[Target, ...]
    goes_on: bool
    """Whether later routes are tried as well."""
    group_by: tuple[str, ...]
    timing: Timing
    repeat_us: int | None
    escalate_us: int | None
    """How long after it began, if nobody has acknowledged it, ``escalate_to`` is told too."""
    escalate_to: tuple[Target, ...]


class Destination(Struct, frozen=True, kw_only=True):
    """One target of an incident, and how it is told."""

    target: Target
    via: str
    """What names it: a route, or the rule."""
    group_by: tuple[str, ...]
    timing: Timing
    repeat_us: int
    after_us: int = 0
    """How long it waits for somebody to acknowledge the incident; 0: it is told at once."""


class Defaults(Struct, frozen=True):
    """``[notify]``: how what a rule names is told."""

    group_by: tuple[str, ...]
    timing: Timing


def destinations(
    routes: Iterable[Route],
    labels: Mapping[str, str],
    own: Sequence[Target],
    repeat_us: int,
    defaults: Defaults,
) -> list[Destination]:
    """Return whom to tell of an incident with these labels, in the order of being named.

    ``own`` are the targets that its rule names, ``repeat_us`` is the rule's interval of repeats.
    """
    found: dict[Target, Destination] = {}
    escalations: dict[Target, Destination] = {}
    for route in taken(routes, labels):
        interval_us = repeat_us if route.repeat_us is None else route.repeat_us
        for target in route.targets:
            found.setdefault(target, _by(route, target, interval_us))
        for target in route.escalate_to:
            late = _by(route, target, interval_us, after_us=route.escalate_us or 0)
            escalations.setdefault(target, late)
    for target in own:
        destination = Destination(
            target=target,
            via=BY_RULE,
            group_by=defaults.group_by,
            timing=defaults.timing,
            repeat_us=repeat_us,
        )
        found.setdefault(target, destination)
    for target, destination in escalations.items():
        found.setdefault(target, destination)
    return list(found.values())


def taken(routes: Iterable[Route], labels: Mapping[str, str]) -> list[Route]:
    """Return the routes that an incident with these labels takes."""
    found = []
    for route in routes:
        if route.matches(labels):
            found.append(route)
            if not route.goes_on:
                break
    return found


def _by(route: Route, target: Target, repeat_us: int, *, after_us: int = 0) -> Destination:
    return Destination(
        target=target,
        via=route.name,
        group_by=route.group_by,
        timing=route.timing,
        repeat_us=repeat_us,
        after_us=after_us,
    )
