"""Which of the known names was meant by one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_MAX_COMPARED_CHARS: Final = 100
_LEAST_BEGINNING_CHARS: Final = 3


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a question with the known name that ``name`` most likely means, if there is one.

    That is one that ``name`` is the beginning of (``for``, ``for_secs``), has the same characters
    (``=>``, ``>=``) or is close; case and underscores do not count. What was found is remembered
    with all of ``known``: that should be one of few short lists.
    """
    return _asked(_remembered(name[:_MAX_COMPARED_CHARS], tuple(sorted(known))))


def did_you_mean_among_many(name: str, known: Iterable[str]) -> str | None:
    """Return what ``did_you_mean`` does, and remember nothing. Cost: some 20 us a known name."""
    return _asked(_meant(name[:_MAX_COMPARED_CHARS], tuple(sorted(known))))


def _asked(meant: str | None) -> str | None:
    return None if meant is None else f"did you mean {meant!r}?"


def _meant(name: str, known: tuple[str, ...]) -> str | None:
    written = _plain(name)
    of_plain = {_plain(candidate): candidate for candidate in known}
    longer = [plain for plain in of_plain if plain.startswith(written)]
    if longer and len(written) >= _LEAST_BEGINNING_CHARS:
        return of_plain[min(longer, key=len)]
    for plain, candidate in of_plain.items():
        if sorted(plain) == sorted(written):
            return candidate
    close = difflib.get_close_matches(written, of_plain, n=1)
    return of_plain[close[0]] if close else None


_remembered: Final = lru_cache(maxsize=1024)(_meant)  # who misspells a name does so in every event


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
