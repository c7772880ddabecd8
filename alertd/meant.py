"""Which of the known names was meant by one that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Final

_MAX_COMPARED_CHARS: Final = 100
_LEAST_BEGINNING_CHARS: Final = 3
_CALLED_HERE: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    # of a rule
    "alert": (("name",),),
    "expr": (("metric_name", "aggregate", "operator", "threshold"),),
    "keep_firing_for": (("keep_firing_secs",),),
    "labels": (("severity", "group_by"), ("matchers",)),
    "summary": (("annotations",),),
    # of a route, a mute or an inhibition
    "receiver": (("channels",), ("notifications",)),
    "receivers": (("channels",), ("notifications",)),
    "match": (("matchers",),),
    "match_re": (("matchers",),),
    "matchers": (("source", "target"),),
    **dict.fromkeys(("source_match", "source_match_re", "source_matchers"), (("source",),)),
    **dict.fromkeys(("target_match", "target_match_re", "target_matchers"), (("target",),)),
    "times": (("start", "end"),),
    "location": (("time_zone",),),
    # of a channel
    "smarthost": (("host", "port"),),
    "auth_username": (("username",),),
    "auth_password": (("password_file",),),
    "text": (("body",),),
    # of the file
    "groups": (("rules",),),
    "rule_files": (("include",),),
    "inhibit_rules": (("inhibit",),),
    "time_intervals": (("mute",),),
    "mute_time_intervals": (("mute",),),
    "global": (("notify",),),
}
"""By a key of Prometheus or Alertmanager those that say the same here; of several ways that which
is wholly known where the key stands."""


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


def called_here(key: str, known: Collection[str]) -> str | None:
    """Return by which ``known`` keys is said here what Prometheus or Alertmanager says by ``key``.

    None if there are none. Case and underscores of the known ones do not count.
    """
    ways = _CALLED_HERE.get(key)
    if ways is None:
        return None
    of_plain = {_plain(candidate): candidate for candidate in known}
    for way in ways:
        if all(_plain(name) in of_plain for name in way):
            *others, last = (repr(of_plain[_plain(name)]) for name in way)
            before_last = f"{', '.join(others)} and " if others else ""
            return f"here that is {before_last}{last}"
    return None


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
