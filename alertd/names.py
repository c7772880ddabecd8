"""Names that operators give to what they configure: channels, tokens, mute schedules."""

from __future__ import annotations

from typing import Final

MAX_NAME_CHARS: Final = 100


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of something that is configured, None if nothing is."""
    if name.strip() and name.isprintable() and len(name) <= MAX_NAME_CHARS:
        return None
    return f"expected a name of 1 to {MAX_NAME_CHARS} printable characters"
