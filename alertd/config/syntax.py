"""What is wrong with text that is no TOML, in the words of its author.

Owns the remedies for what ``tomllib`` refuses in few words: a text without quotes, a length with a
unit, a value that is missing, a key or table that is there twice. No value is shown: it may be a
secret, and what a reload is refused for ends up in the log.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from alertd.config.places import KeyPath, repeated_key

_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_KEY_BEFORE: Final = re.compile(r"([\w.-]+)[ \t]*=[ \t]*(\[?)[^=]*$")
_LENGTH: Final = re.compile(r"[ \t]*([\w.-]+_secs)[ \t]*=[ \t]*[\d.]+[ \t]*[A-Za-z]")
_TWICE: Final = ("Cannot overwrite", "Cannot declare", "Duplicate inline table key")


class SyntaxProblem(NamedTuple):
    """One reason why a text is no TOML. ``line`` is None where that is not known."""

    line: int | None
    key: KeyPath
    message: str


def syntax_problem(source: str, error: str) -> SyntaxProblem:
    """Return what ``error``, from ``tomllib`` about ``source``, means."""
    place, reason = _PLACE.search(error), _PLACE.sub("", error)
    if place is None:
        return SyntaxProblem(None, (), f"not valid TOML: {reason}")
    lines = source.rstrip("\n").split("\n")
    number = int(place[1] or len(lines))
    line = lines[number - 1] if number <= len(lines) else ""
    column = int(place[2] or len(line) + 1)
    if reason.startswith(_TWICE):
        accepted = "\n".join([*lines[: number - 1], line[: column - 1]])
        if (again := repeated_key(accepted)) is not None:
            path, first, second = again
            return SyntaxProblem(second, path, f"is there twice: in line {first} already")
    return SyntaxProblem(number, (), f"not valid TOML: {_remedy(reason, line, column) or reason}")


def _remedy(reason: str, line: str, column: int) -> str | None:
    """Return what to write in ``line``, where ``column`` is the first that TOML does not have."""
    if (length := _LENGTH.match(line)) is not None:
        return f"a length is a number of seconds, without a unit: {length[1]} = 300"
    if reason != "Invalid value":
        return None
    before, rest = line[: column - 1], line[column - 1 :].strip()
    found = _KEY_BEFORE.search(before)
    key = "" if found is None else f"{found[1]} = "
    if not rest:
        return f"a value is missing behind {key.strip()}" if key else None
    if rest.lower() in ("true", "false"):
        return f"true and false are written small: {key}{rest.lower()}"
    if not (rest[0].isalpha() or rest[0] in "#/~.@*"):
        return None
    form = '["…"]' if found is not None and found[2] else '"…"'
    return f"a text needs quotes: {key}{form}"
