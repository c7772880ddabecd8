"""Whom to tell: the rule's own notifications, and what routes add by severity and labels.

Owns the decision, a function of the routes, the rule and the labels. Routes are tried in their
order; the first that matches ends it unless it says ``continue``. What the rule itself names is
told in any case. A target is told once, as the first that names it says.

A route, a rule and a channel may each name who else is told if nobody acknowledges in time. Who is
told so by a channel that escalates itself is the next step, so the times add up. Whoever is told
at once is not told again, and whoever several would escalate to is told at the earliest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

from alertd.matching import Predicate, all_of
from alertd.model import Escalation, Target
from alertd.outbound import Timing

BY_RULE: Final = "the rule"
DEFAULT_GROUP_BY: Final = ("ruleName",)


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
    escalation: Escalation | None


class Destination(Struct, frozen=True, kw_only=True):
    """One target of an incident, and how it is told."""

    target: Target
    via: str
    """What names it: a route, the rule, or a channel that escalates."""
    group_by: tuple[str, ...]
    timing: Timing
    repeat_us: int
    after_us: int = 0
    """How long it waits for somebody to acknowledge the incident; 0: it is told at once."""


class Defaults(Struct, frozen=True):
    """``[notify]`` and ``[channels]``: how what a rule names is told."""

    group_by: tuple[str, ...] = DEFAULT_GROUP_BY
    """What the notifications of one message have in common: labels, ``ruleName``, ``severity``."""
    timing: Timing = Timing()
    escalations: Mapping[str, Escalation] = {}
    """Of the channels that escalate what they were told, by name."""


class Own(Struct, frozen=True):
    """Whom a rule itself names."""

    targets: Sequence[Target] = ()
    repeat_us: int = 0
    escalation: Escalation | None = None

    def as_route(self, defaults: Defaults) -> Route:
        """Return it as a route that every incident of the rule takes."""
        return Route(
            name=BY_RULE,
            matches=_ANY,
            targets=tuple(self.targets),
            goes_on=True,
            group_by=defaults.group_by,
            timing=defaults.timing,
            repeat_us=self.repeat_us,
            escalation=self.escalation,
        )


_ANY = all_of(())


def destinations(
    routes: Iterable[Route], labels: Mapping[str, str], own: Own, defaults: Defaults
) -> list[Destination]:
    """Return whom to tell of an incident with these labels: at once, then in the order of time."""
    found: dict[Target, Destination] = {}
    late: list[Destination] = []
    for route in (*taken(routes, labels), own.as_route(defaults)):
        interval_us = own.repeat_us if route.repeat_us is None else route.repeat_us
        for target in route.targets:
            found.setdefault(target, _by(route, target, interval_us))
        if route.escalation is not None:
            late += [
                _by(route, target, interval_us, after_us=route.escalation.after_us)
                for target in route.escalation.to
            ]
    for destination in found.values():
        late += _by_channel(destination, defaults.escalations)
    while late:
        soonest = min(late, key=lambda one: one.after_us)
        late.remove(soonest)
        if found.setdefault(soonest.target, soonest) is soonest:
            late += _by_channel(soonest, defaults.escalations)
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


def _by_channel(told: Destination, escalations: Mapping[str, Escalation]) -> Iterator[Destination]:
    """Yield who else is told because the channel that was told escalates."""
    escalation = escalations.get(told.target.channel)
    if escalation is not None:
        for target in escalation.to:
            yield structs.replace(
                told,
                target=target,
                via=f"channel {told.target.channel}",
                after_us=told.after_us + escalation.after_us,
            )
