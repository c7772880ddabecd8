"""The filters of templates, each bounded in what it makes.

Owns what they do. Who calls them pays for what goes in and what comes out (``template.py``); only
those that could make much of little look for themselves.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import jinja2

from alertd.channels.templates.meter import MAX_TEXT_CHARS, TemplateFailed
from alertd.channels.wording import clip, duration_text, number_text, time_text

MAX_DIGITS: Final = 400
"""Before or behind the point, of a number that is rounded; none has more."""


def plain(value: object) -> str:
    """Return ``value`` as a person writes it."""
    match value:
        case str():
            return value
        case None:
            return ""
        case float():
            return number_text(value)
        case list() | tuple():
            return ", ".join(map(plain, value))
        case _:
            return str(value)  # of what is undefined this raises what is missing


def default(value: object, instead: object = "", even_if_empty: bool = False) -> object:
    """Return ``instead`` for what is missing; the only filter that takes it."""
    is_missing = value is None or isinstance(value, jinja2.Undefined)
    return instead if is_missing or (even_if_empty and not value) else value


def _join(items: Iterable[object], between: str = "") -> str:
    texts = list(map(plain, items))
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"joins more than {MAX_TEXT_CHARS} characters")
    return between.join(texts)


def _replace(text: str, old: str, new: str) -> str:
    if not old or len(text) + text.count(old) * len(new) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"replaces nothing, or makes more than {MAX_TEXT_CHARS} characters")
    return text.replace(old, new)


def _map(items: Iterable[Mapping[str, object]], attribute: str) -> list[object]:
    return [item[attribute] for item in items]


def _sort(items: Iterable[Any], attribute: str = "", reverse: bool = False) -> list[Any]:
    return sorted(items, key=lambda item: item[attribute] if attribute else item, reverse=reverse)


def _round(number: float, digits: int | None = None) -> float:
    if digits is not None and abs(digits) > MAX_DIGITS:  # Python makes a number of as many digits
        raise TemplateFailed(f"rounds to more than {MAX_DIGITS} digits")
    return round(number, digits)


FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "default": default,
    "upper": str.upper,
    "lower": str.lower,
    "capitalize": str.capitalize,
    "trim": str.strip,
    "truncate": lambda text, limit=80: clip(text, max(1, limit)),
    "replace": _replace,
    "urlencode": lambda text: urllib.parse.quote(text, safe=""),
    "length": len,
    "first": lambda items: next(iter(items), ""),
    "last": lambda items: items[-1] if items else "",
    "join": _join,
    "map": _map,
    "sort": _sort,
    "unique": lambda items: list(dict.fromkeys(items)),
    "items": lambda mapping: list(mapping.items()),
    "int": int,
    "float": float,
    "round": _round,
    "abs": abs,
    "number": number_text,
    "duration": duration_text,
    "time": time_text,
}
