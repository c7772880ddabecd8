"""Ids as people type them: the whole of one, or how it begins.

Owns what a beginning stands for, for all commands that take ids: the one thing of those that the
command is for whose id begins so. Where that is none, or several, the command ends, and names those
that may have been meant, or the command that lists them all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import click

from alertd.cli.daemon_api import refuse

MIN_BEGINNING: Final = 6
"""Characters of an id that stand for it: fewer are soon those of another one, too."""
MIN_ALIKE: Final = 4
"""So many have to be right of what was mistyped for a guess at what was meant."""
MAX_CANDIDATES: Final = 10

_ID_LENGTH: Final = len(str(uuid.UUID(int=0)))


def whole_ids(
    typed: Sequence[str],
    read: Callable[[], Mapping[str, str]],
    *,
    what: tuple[str, str],
    argument: str,
    lister: str,
) -> list[str]:
    """Return the ids that are meant by ``typed``; exit if one of them is none.

    ``read`` returns what there is, in words by id; it is asked only where an id is not whole.
    ``what`` is the name of one of those and of several, ``argument`` that of the argument, and
    ``lister`` the command that shows the ids.
    """
    for text in typed:
        if len(text) < MIN_BEGINNING:
            raise click.BadParameter(
                f"{text!r} is too short: type {MIN_BEGINNING} characters of the id or more",
                param_hint=argument,
            )
    there = {} if all(map(_is_whole, typed)) else read()
    return [text if _is_whole(text) else _whole_id(text, there, what, lister) for text in typed]


def _is_whole(text: str) -> bool:
    return len(text) >= _ID_LENGTH


def _whole_id(beginning: str, there: Mapping[str, str], what: tuple[str, str], lister: str) -> str:
    one, several = what
    found = _beginning_with(beginning, there)
    if len(found) > 1:
        refuse([f"{len(found)} {several} begin with {beginning!r}:", *_listed(found, there)])
    if not found:
        none = f"there is no {one} with the id {beginning!r}, or one that begins so"
        alike = _beginning_with(beginning[:MIN_ALIKE], there) or _about(beginning, there)
        if alike:
            refuse([f"{none}; did you mean", *_listed(alike, there)])
        refuse([f"{none}; `{lister}` shows the ids"])
    return found[0]


def _beginning_with(beginning: str, ids: Iterable[str]) -> list[str]:
    return [id_ for id_ in ids if id_.startswith(beginning.lower())]


def _about(text: str, there: Mapping[str, str]) -> list[str]:
    """Return the ids of those whose words have ``text`` in them, as the name of a rule is."""
    return [id_ for id_, words in there.items() if text.lower() in words.lower()]


def _listed(ids: Sequence[str], there: Mapping[str, str]) -> list[str]:
    """Return a line for each of ``ids``, up to a bound."""
    lines = [f"{id_}  {there[id_]}" for id_ in ids[:MAX_CANDIDATES]]
    return [*lines, "and more"] if len(ids) > MAX_CANDIDATES else lines
