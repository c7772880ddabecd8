"""What may be a name of a metric, a label, or something configured; which of some stand twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final, TypeVar

from alertd.limits import MAX_LABEL_NAME_CHARS, MAX_METRIC_NAME_CHARS

N = TypeVar("N", bound=Hashable)

_MAX_NAME_CHARS: Final = 100
METRIC_NAME_REMEDY: Final = (
    f"must be 1 to {MAX_METRIC_NAME_CHARS} characters without spaces or control characters"
)
LABEL_NAME_REMEDY: Final = f"must be 1 to {MAX_LABEL_NAME_CHARS} printable characters"


def is_metric_name(text: str) -> bool:
    """Return whether a metric can be called ``text``."""
    return 0 < len(text) <= MAX_METRIC_NAME_CHARS and text.isprintable() and " " not in text


def is_label_name(text: str) -> bool:
    """Return whether a label can be called ``text``."""
    return 0 < len(text) <= MAX_LABEL_NAME_CHARS and text.isprintable()


def name_problem(name: str) -> str | None:
    """Return what is wrong with the name of something configured, None if nothing is."""
    if name.strip() and name.isprintable() and len(name) <= _MAX_NAME_CHARS:
        return None
    return f"expected a name of 1 to {_MAX_NAME_CHARS} printable characters"


def repeated(names: Iterable[N]) -> dict[N, int]:
    """Return those that are there more than once, in their order, and how often each is."""
    return {name: count for name, count in Counter(names).items() if count > 1}
