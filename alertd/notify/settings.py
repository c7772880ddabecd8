"""What a person configures of whom to tell: routes, mute schedules and inhibitions.

Owns the keys of ``[[route]]``, ``[[mute]]`` and ``[[inhibit]]``, what makes one wrong, and their
form for the decisions. Leaves reading the file to ``config/policy.py``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import Struct

from alertd.errors import Problem, pointer_token
from alertd.escalation import escalation_problems
from alertd.matching import Predicate, all_of, predicate
from alertd.meant import did_you_mean, did_you_mean_among_many
from alertd.model import Target
from alertd.names import name_problem
from alertd.notify.inhibit import Inhibition
from alertd.notify.matchers import Reach, covers
from alertd.notify.mute import WEEKDAYS, Mute
from alertd.notify.route import Defaults, Route
from alertd.outbound import Timing
from alertd.patterns import BadPattern
from alertd.rules import RuleSpec, compile_escalation, parse_matchers, seconds_to_us

MAX_SECS: Final = 366 * 86_400

C = TypeVar("C")
"""How a choice of incidents is written down."""

_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class MuteSpec(Struct, frozen=True, kw_only=True):
    """``[[mute]]``: times of the week in which matching incidents are not told."""

    name: str
    start: str
    """``HH:MM`` on a clock on the wall in ``time_zone``."""
    end: str
    """Not later than ``start``: on the next day."""
    weekdays: tuple[str, ...] = WEEKDAYS
    """Days on which it begins."""
    time_zone: str = "UTC"
    """A name of the IANA database."""
    matchers: dict[str, str] = msgspec.field(default_factory=dict)
    """On ``ruleName``, ``severity`` and labels of the group; none: everything."""

    def problems(self) -> list[Problem]:
        """Return what is wrong with it; paths are JSON pointers into the table."""
        problems = _matcher_problems("matchers", self.matchers)
        wrong_name = name_problem(self.name)
        if wrong_name is not None:
            problems.append(Problem("/name", wrong_name))
        for key, text in (("start", self.start), ("end", self.end)):
            if not _TIME_OF_DAY.fullmatch(text) or (key == "start" and text == "24:00"):
                problems.append(Problem(f"/{key}", f'expected a time like "22:00", got {text!r}'))
        if not self.weekdays:
            problems.append(Problem("/weekdays", "expected at least one day"))
        for index, day in enumerate(self.weekdays):
            if day not in WEEKDAYS:
                expected = f"expected {', '.join(WEEKDAYS)}, got {day!r}"
                hint = did_you_mean(day[:3], WEEKDAYS)
                problems.append(Problem(f"/weekdays/{index}", _with_hint(expected, hint)))
        if _zone(self.time_zone) is None:
            expected = f'expected a zone like "Europe/Berlin", got {self.time_zone!r}'
            # "CEST" means no "EST", and an abbreviation would know of no summer time.
            places = [zone for zone in available_timezones() if "/" in zone or zone == "UTC"]
            hint = did_you_mean_among_many(self.time_zone, places)
            problems.append(Problem("/time_zone", _with_hint(expected, hint)))
        return problems

    def compiled(self) -> Mute:
        """Return it as the decisions take it. It must have no problems."""
        zone = _zone(self.time_zone)
        assert zone is not None
        return Mute(
            name=self.name,
            matches=_predicate(self.matchers),
            weekdays=frozenset(WEEKDAYS.index(day) for day in self.weekdays),
            start_minute=_minute(self.start),
            end_minute=_minute(self.end),
            zone=zone,
        )


class RouteSpec(Struct, frozen=True, kw_only=True):
    """``[[route]]``: whom matching incidents are told, beside what their rules name."""

    matchers: dict[str, str] = msgspec.field(default_factory=dict)
    """On ``ruleName``, ``severity`` and labels of the group; none: everything."""
    channels: tuple[str, ...] = ()
    goes_on: bool = msgspec.field(default=False, name="continue")
    """Whether later routes are tried as well."""
    group_by: tuple[str, ...] | None = None
    group_wait_secs: float | None = None
    group_interval_secs: float | None = None
    repeat_interval_secs: float | None = None
    escalate_after_secs: float | None = None
    """Until then somebody has to acknowledge it, or ``escalate_to`` is told as well."""
    escalate_to: tuple[str, ...] = ()

    def problems(self) -> list[Problem]:
        """Return what is wrong with it; paths are JSON pointers into the table."""
        problems = _matcher_problems("matchers", self.matchers)
        if not self.channels and not self.escalate_to:
            problems.append(Problem("/channels", "expected at least one channel"))
        for key in ("group_wait_secs", "group_interval_secs", "repeat_interval_secs"):
            seconds = getattr(self, key)
            if seconds is not None and not 0 <= seconds <= MAX_SECS:
                problems.append(Problem(f"/{key}", "expected 0 seconds to 366 days"))
        return problems + escalation_problems(
            self.escalate_after_secs,
            _targets(self.escalate_to),
            at_once=_targets(self.channels),
        )

    def compiled(self, index: int, defaults: Defaults) -> Route:
        """Return it as the decisions take it. It must have no problems.

        ``index`` is its place in the file; it is named as warnings name it.
        """
        timing = defaults.timing
        wait, interval = self.group_wait_secs, self.group_interval_secs
        repeat = self.repeat_interval_secs
        return Route(
            name=route_name(index),
            matches=_predicate(self.matchers),
            targets=_targets(self.channels),
            goes_on=self.goes_on,
            group_by=defaults.group_by if self.group_by is None else self.group_by,
            timing=Timing(
                wait_us=timing.wait_us if wait is None else seconds_to_us(wait),
                interval_us=timing.interval_us if interval is None else seconds_to_us(interval),
                collapse=timing.collapse,
            ),
            repeat_us=None if repeat is None else seconds_to_us(repeat),
            escalation=compile_escalation(self.escalate_after_secs, _targets(self.escalate_to)),
        )


def route_name(index: int) -> str:
    """Return how a route is called wherever people read of it: by the way to it in the file."""
    return f"route[{index}]"


def route_problems(
    routes: Sequence[RouteSpec], known_channels: Collection[str]
) -> list[tuple[int, Problem]]:
    """Return what is wrong with routes among each other, each with the index of the route."""
    problems = list(_unreached(routes, [route.matchers.items() for route in routes], operator.le))
    for index, route in enumerate(routes):
        for key, names in (("channels", route.channels), ("escalate_to", route.escalate_to)):
            for place, name in enumerate(names):
                if name not in known_channels:
                    known = ", ".join(sorted(known_channels)) or "none"
                    message = f"{name!r} is not a configured channel ({known})"
                    problems.append((index, Problem(f"/{key}/{place}", message)))
    return problems


def unreached_routes(routes: Sequence[RouteSpec]) -> Iterator[tuple[int, Problem]]:
    """Return each route that is never reached by what its matchers mean, with its index.

    Nothing must be wrong with them, neither with each nor among each other.
    """
    return _unreached(routes, [parse_matchers(route.matchers) for route in routes], covers)


def _unreached(
    routes: Sequence[RouteSpec], chosen: Sequence[C], includes: Callable[[C, C], bool]
) -> Iterator[tuple[int, Problem]]:
    """Yield each route of which all that is ``chosen`` ends at an earlier one, with its index."""
    for index in range(len(routes)):
        for before, earlier in enumerate(routes[:index]):
            if not earlier.goes_on and includes(chosen[before], chosen[index]):
                message = (
                    f"is never reached: what it matches ends at {route_name(before)}; "
                    "put it before that one, or let that one continue"
                )
                yield index, Problem("/matchers", message)
                break


def tells_somebody(routes: Iterable[RouteSpec]) -> Callable[[RuleSpec], bool]:
    """Return what decides whether anybody can be told of a rule's incidents.

    By the rule itself, or by a route that one of them can take. Nothing must be wrong with the
    routes.
    """
    reaches = [Reach(parse_matchers(route.matchers)) for route in routes]
    return lambda spec: any(spec.targets) or any(reach.includes(spec) for reach in reaches)


class InhibitSpec(Struct, frozen=True, kw_only=True):
    """``[[inhibit]]``: while a source is on, targets with the same ``equal`` labels wait."""

    source: dict[str, str]
    target: dict[str, str]
    equal: tuple[str, ...] = ()

    def problems(self) -> list[Problem]:
        """Return what is wrong with it; paths are JSON pointers into the table."""
        problems = [
            *_matcher_problems("source", self.source),
            *_matcher_problems("target", self.target),
        ]
        for key, matchers in (("source", self.source), ("target", self.target)):
            if not matchers:
                problems.append(Problem(f"/{key}", "expected at least one matcher"))
        return problems

    def holds_nothing_back(self) -> bool:
        """Return whether all targets are sources for certain. It must have no problems."""
        return covers(parse_matchers(self.source), parse_matchers(self.target))

    def compiled(self) -> Inhibition:
        """Return it as the decisions take it. It must have no problems."""
        return Inhibition(
            is_source=_predicate(self.source), is_target=_predicate(self.target), equal=self.equal
        )


def _targets(names: Iterable[str]) -> tuple[Target, ...]:
    return tuple(Target(name) for name in names)


def _predicate(matchers: Mapping[str, str]) -> Predicate:
    return all_of(parse_matchers(matchers))


def _matcher_problems(key: str, matchers: Mapping[str, str]) -> list[Problem]:
    problems = []
    for matcher in parse_matchers(matchers):
        try:
            predicate(matcher)
        except BadPattern as error:
            problems.append(Problem(f"/{key}/{pointer_token(matcher.label)}", str(error)))
    return problems


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _with_hint(message: str, hint: str | None) -> str:
    return message if hint is None else f"{message}; {hint}"


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
