"""What a person configures of whom to tell: mute schedules and inhibitions.

Owns the keys of ``[[mute]]`` and ``[[inhibit]]``, what makes one wrong, and their form for the
decisions. Leaves reading the file to ``toml_policy.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from alertd.errors import Problem
from alertd.matching import Predicate, all_of
from alertd.model import MatchOperator
from alertd.notify.inhibit import Inhibition
from alertd.notify.mute import WEEKDAYS, Mute
from alertd.patterns import BadPattern, compile_pattern
from alertd.rules import parse_matcher

MAX_NAME_CHARS: Final = 100

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
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > MAX_NAME_CHARS:
            problems.append(
                Problem("/name", f"expected a name of 1 to {MAX_NAME_CHARS} printable characters")
            )
        for key, text in (("start", self.start), ("end", self.end)):
            if not _TIME_OF_DAY.fullmatch(text) or (key == "start" and text == "24:00"):
                problems.append(Problem(f"/{key}", f'expected a time like "22:00", got {text!r}'))
        if not self.weekdays:
            problems.append(Problem("/weekdays", "expected at least one day"))
        for index, day in enumerate(self.weekdays):
            if day not in WEEKDAYS:
                known = ", ".join(WEEKDAYS)
                problems.append(Problem(f"/weekdays/{index}", f"expected {known}, got {day!r}"))
        if _zone(self.time_zone) is None:
            problems.append(
                Problem(
                    "/time_zone", f'expected a zone like "Europe/Berlin", got {self.time_zone!r}'
                )
            )
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

    def compiled(self) -> Inhibition:
        """Return it as the decisions take it. It must have no problems."""
        return Inhibition(
            is_source=_predicate(self.source), is_target=_predicate(self.target), equal=self.equal
        )


def _predicate(matchers: Mapping[str, str]) -> Predicate:
    return all_of(parse_matcher(label, text) for label, text in matchers.items())


def _matcher_problems(key: str, matchers: Mapping[str, str]) -> list[Problem]:
    problems = []
    for label, text in matchers.items():
        matcher = parse_matcher(label, text)
        if matcher.operator in (MatchOperator.REGEX, MatchOperator.NOT_REGEX):
            try:
                compile_pattern(matcher.pattern)
            except BadPattern as error:
                escaped = label.replace("~", "~0").replace("/", "~1")
                message = f"{matcher.pattern!r} is not a regular expression for RE2: {error}"
                problems.append(Problem(f"/{key}/{escaped}", message))
    return problems


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
