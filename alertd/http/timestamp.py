"""Event times as they come in: RFC 3339 text or epoch seconds, to microseconds.

Owns the translation of SEMANTICS, section 1, and its wording when it fails. Text is translated
exactly, without floats, whatever the number of its fraction digits; what is finer than a
microsecond is rounded half to even. Whether a time is *admissible* (ahead of the clock, before
the retention) is the intake's business.

Cost: under 1 us for text, because both halves of a timestamp repeat from event to event and are
remembered: the date and time of day, and the fraction with the offset (microseconds, which do
not repeat, are read afresh). A batch written alike costs less, by ``timestamp_columns.py``.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, cast

from alertd.arrays import has_numpy
from alertd.model import US_PER_S

MAX_EPOCH_S: Final = 1e11
"""Greater numbers are refused: in seconds they are beyond the year 5138."""

_HEAD_CHARS: Final = len("2025-06-30T15:00:00")
_COLUMNS_FROM: Final = 64
"""Times in a batch from which on whole columns are cheaper."""
_MAX_CACHED_CHARS: Final = 40
_OFFSET_STARTS: Final = frozenset("Zz+-")
_EXAMPLE: Final = "2025-06-30T15:00:00Z"
_NOT_RFC_3339: Final = f"is not an RFC 3339 time; write it like {_EXAMPLE}"

_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)
_FRACTION = re.compile(r"-?\d{1,18}\.\d{1,18}", re.ASCII)
_HEAD = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)", re.ASCII)
_TAIL = re.compile(r"(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII)
_FRACTION_ONLY = re.compile(r"(?:\.\d+)?", re.ASCII)


def instant_us(timestamp: str | int | float) -> int:
    """Return ``timestamp`` in microseconds since the Unix epoch.

    A number is epoch seconds. Raises ``ValueError`` with a message that completes "timestamp …".
    """
    if isinstance(timestamp, str):
        return text_us(timestamp)
    if isinstance(timestamp, float) and not math.isfinite(timestamp):
        raise ValueError("must be a finite number")
    if abs(timestamp) > MAX_EPOCH_S:
        raise ValueError(_too_great(timestamp))
    # Split first: the fraction times a million is then exact, so that a tie is seen as one.
    seconds = int(timestamp)
    return seconds * US_PER_S + round((timestamp - seconds) * US_PER_S)


def written_us(text: str) -> int:
    """Return what a person wrote, RFC 3339 or epoch seconds, in microseconds since the epoch.

    Raises as ``instant_us``.
    """
    if _INTEGER.fullmatch(text):
        return instant_us(int(text))
    if _FRACTION.fullmatch(text):
        return instant_us(float(text))
    return text_us(text)


def instants_us(timestamps: Sequence[str | int | float | None], default_us: int) -> array[int]:
    """Return ``instant_us`` of each, and ``default_us`` for None; raises as it does.

    Many times all written like ``2025-06-30T15:00:00.123456Z``, with microseconds, with
    milliseconds or without a fraction, cost a tenth; so do numbers.
    """
    if len(timestamps) >= _COLUMNS_FROM and has_numpy():
        times_us = _in_columns(timestamps)
        if times_us is not None:
            return times_us
    return array("q", [default_us if each is None else instant_us(each) for each in timestamps])


def _in_columns(timestamps: Sequence[str | int | float | None]) -> array[int] | None:
    """Return ``instant_us`` of each if they are all written alike, and surely times; else None."""
    from alertd.http.timestamp_columns import alike_us, is_spelt, numbers_us  # needs NumPy

    kinds = set(map(type, timestamps))
    if kinds == {str}:
        texts = cast("Sequence[str]", timestamps)
        if len(set(map(len, texts))) == 1 and is_spelt(len(texts[0])):
            return alike_us(texts)
    elif kinds <= {int, float}:
        with suppress(OverflowError):  # of an integer that no float comes near to
            return numbers_us(array("d", cast("Sequence[float]", timestamps)))
    return None


def day_us(text: str) -> int:
    """Return the beginning, in UTC, of a day like ``2025-06-30``; raises as ``text_us``."""
    return _head_us(f"{text}T00:00:00")


def text_us(text: str) -> int:
    """Return an RFC 3339 time in microseconds since the Unix epoch; raises as ``instant_us``.

    ``T`` and ``Z`` may be lower case and a space may stand for ``T`` (RFC 3339, section 5.6).
    """
    head_us, tail = _head_us(text[:_HEAD_CHARS]), text[_HEAD_CHARS:]
    digits, offset = tail[1:7], tail[7:]
    if tail[:1] == "." and digits.isdecimal() and digits.isascii() and offset[:1] in _OFFSET_STARTS:
        # Microseconds hardly ever repeat: remembering them would only push others out.
        return head_us + int(digits) + _tail_us(offset)
    parse_tail = _parse_tail if len(tail) > _MAX_CACHED_CHARS else _tail_us
    return head_us + parse_tail(tail)


@lru_cache(maxsize=65_536)
def _head_us(head: str) -> int:
    """Return date and time of day as if they were in UTC."""
    match = _HEAD.fullmatch(head)
    if match is None:
        raise ValueError(_NOT_RFC_3339)
    date, minute, second = match.groups()
    if second == "60":
        raise ValueError("is a leap second, which Unix time cannot express; send second 59 or 00")
    try:
        moment = datetime.fromisoformat(f"{date}T{minute}:{second}").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"is not a time that exists: {error}") from error
    return int(moment.timestamp()) * US_PER_S


def _parse_tail(tail: str) -> int:
    """Return the fraction of a second less the offset from UTC."""
    match = _TAIL.fullmatch(tail)
    if match is None:
        if _FRACTION_ONLY.fullmatch(tail):
            raise ValueError(f"has no offset; end it with Z or one like +02:00 ({_EXAMPLE})")
        raise ValueError(_NOT_RFC_3339)
    digits, sign, hours, minutes = match.groups()
    offset_us = 0 if sign is None else (int(hours) * 60 + int(minutes)) * 60 * US_PER_S
    return _fraction_us(digits or "") - (-offset_us if sign == "-" else offset_us)


_tail_us = lru_cache(maxsize=65_536)(_parse_tail)


def _fraction_us(digits: str) -> int:
    """Return ``0.digits`` seconds; by comparing digits, because ``int`` refuses long texts."""
    micros = int(digits[:6].ljust(6, "0"))
    rest = digits[6:].rstrip("0")
    is_above_half = rest > "5"
    is_tie_at_odd = rest == "5" and micros % 2 == 1
    return micros + (is_above_half or is_tie_at_odd)


def _too_great(number: float) -> str:
    for unit, per_second in (("milli", 10**3), ("micro", 10**6), ("nano", 10**9)):
        if abs(number) <= MAX_EPOCH_S * per_second:
            return (
                f"{number:.0f} looks like {unit}seconds; send seconds, "
                f"like {number / per_second:.3f}"
            )
    return "is no time in epoch seconds, like 1751295600.123"
