"""The parameters behind the ``?`` of a request.

Owns their reading: unknown ones, repeated ones and wrong values are errors that name them,
all at once, because a misspelt filter that is ignored answers another question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, TypeVar

from werkzeug.datastructures import MultiDict

from alertd.errors import InvalidParameters, Problem
from alertd.http import strict
from alertd.http.timestamp import written_us
from alertd.limits import MAX_PAGE_ITEMS, Limit
from alertd.model import US_PER_S
from alertd.names import repeated

E = TypeVar("E", bound=StrEnum)

LABELS: Final = "labels."
"""Begins the name of a parameter that is about a label."""
DEFAULT_LIMIT: Final = 100
MINUTE_S: Final = 60
MAX_RESOLUTION_S: Final = 366 * 86_400

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


class Parameters:
    """The parameters of one request. Read them all, then call ``check``."""

    def __init__(self, given: MultiDict[str, str], *known: str, labels: bool = False) -> None:
        """With ``labels`` there may also be any number of ``labels.NAME=VALUE``."""
        self._given = given
        self._problems: list[Problem] = []
        for name in given:
            if labels and name.startswith(LABELS):
                continue
            if name not in known:
                self._refuse(
                    strict.pointer(name), f"is an unknown parameter; {_hint(name, known, labels)}"
                )
            elif len(given.getlist(name)) > 1:
                self._refuse(name, "is given more than once")

    def check(self) -> None:
        """Raise ``InvalidParameters`` if anything was wrong so far."""
        if self._problems:
            raise InvalidParameters(self._problems)

    def text(self, name: str) -> str | None:
        """Return a parameter as it is, None if it is absent."""
        return self._given.get(name)

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels that are asked for, name and value; each can have one only."""
        pairs = [
            (name, value)
            for name, value in self._given.items(multi=True)
            if name.startswith(LABELS)
        ]
        if any(name == LABELS for name, _ in pairs):
            self._refuse(LABELS, "names no label; write labels.NAME=VALUE")
        for name in repeated(name for name, _ in pairs):
            self._refuse(strict.pointer(name), "is given more than once")
        return tuple((name.removeprefix(LABELS), value) for name, value in pairs)

    def limit(self) -> int:
        """Return how many items a page is to have."""
        text = self._given.get("limit")
        if text is None:
            return DEFAULT_LIMIT
        number = int(text) if _INTEGER.fullmatch(text) else 0
        if 1 <= number <= MAX_PAGE_ITEMS:
            return number
        limit = Limit.PAGE if number > MAX_PAGE_ITEMS else None
        self._refuse("limit", f"must be a number from 1 to {MAX_PAGE_ITEMS}", limit)
        return DEFAULT_LIMIT

    def resolution_us(self) -> int | None:
        """Return how long a bucket is to be, None if events are not to be summed up."""
        text = self._given.get("resolution")
        if text is None:
            return None
        seconds = int(text) if _INTEGER.fullmatch(text) else 0
        if 0 < seconds <= MAX_RESOLUTION_S and seconds % MINUTE_S == 0:
            return seconds * US_PER_S
        self._refuse(
            "resolution", f"must be seconds, a multiple of {MINUTE_S}, at most {MAX_RESOLUTION_S}"
        )
        return None

    def flag(self, name: str) -> bool:
        """Return a switch, which is off if it is absent."""
        text = self._given.get(name, "false")
        if text not in ("true", "false"):
            self._refuse(name, "must be true or false")
        return text == "true"

    def choice(self, name: str, choices: type[E]) -> E | None:
        """Return one of a set of words, None if it is absent."""
        text = self._given.get(name)
        if text is None:
            return None
        try:
            return choices(text)
        except ValueError:
            self._refuse(name, f"must be one of {_listed([str(c.value) for c in choices])}")
            return None

    def instant(self, name: str) -> int | None:
        """Return a time in microseconds, None if it is absent."""
        text = self._given.get(name)
        if text is None:
            return None
        try:
            # A plus that was not percent-encoded arrives as a space.
            return written_us(text[:11] + text[11:].replace(" ", "+"))
        except ValueError as error:
            self._refuse(name, str(error))
            return None

    def span(self) -> tuple[int | None, int | None]:
        """Return ``from`` and ``to`` in microseconds, None where one is absent."""
        from_us, to_us = self.instant("from"), self.instant("to")
        if from_us is not None and to_us is not None and to_us < from_us:
            self._refuse("to", "must not be before from")
        return from_us, to_us

    def _refuse(self, name: str, message: str, limit: Limit | None = None) -> None:
        self._problems.append(Problem(f"/{name}", message, limit))


def _hint(name: str, known: Sequence[str], labels: bool) -> str:
    """Return what to say about a parameter that there is not."""
    if labels:
        _, point, label = name.partition(".")
        known = (*known, f"{LABELS}{label}" if point else f"{LABELS}NAME")
    return strict.nearest(name, known) if known else "none is known here"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
