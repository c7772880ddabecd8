"""Lengths of time as people type them: ``15m``, ``2h``, ``7d``."""

from __future__ import annotations

import re
from typing import Final

_LENGTH: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def length_s(text: str) -> int | None:
    """Return the length that ``text`` spells, in seconds; None if it spells none."""
    match = _LENGTH.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS_S[match[2]]
