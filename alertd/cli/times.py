"""Moments and lengths of time as people type them: ``2025-06-30T15:00:00Z``, ``15m``, ``2h``."""

from __future__ import annotations

import re
import time
from typing import Final

import click

from alertd.http.timestamp import written_us
from alertd.model import US_PER_S

_LENGTH: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_MAX_LENGTH_S: Final = 100 * 366 * 86_400
"""What is longer could end in a year that no calendar here has."""
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class Length(click.ParamType[int]):
    """A length of time, in seconds."""

    name = "length"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return it."""
        seconds = _length_s(str(value))
        if seconds is None:
            self.fail(
                f"{value!r} is not a length of time up to 100 years; write it like 30m, 2h or 7d",
                param,
                ctx,
            )
        return seconds


class Instant(click.ParamType[int]):
    """A moment, in microseconds since the epoch: itself, or how far it is from now."""

    name = "time"

    def __init__(self, *, ahead: bool = False) -> None:
        """A length means so long ago, or with ``ahead`` so long from now."""
        self._ahead = ahead

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return it."""
        text = str(value)
        seconds = _length_s(text)
        if seconds is not None:
            distance_us = seconds * US_PER_S
            return time.time_ns() // 1000 + (distance_us if self._ahead else -distance_us)
        try:
            return written_us(text)
        except ValueError as error:
            other = "in how long" if self._ahead else "how long ago"
            self.fail(f"{text!r} {error}; or say {other}, like 15m, 2h or 7d", param, ctx)


def _length_s(text: str) -> int | None:
    """Return the length that ``text`` spells, in seconds; None if it spells none of use."""
    match = _LENGTH.fullmatch(text)
    seconds = 0 if match is None else int(match[1]) * _UNITS_S[match[2]]
    return None if match is None or seconds > _MAX_LENGTH_S else seconds
