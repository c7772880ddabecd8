"""What a template may cost, and that it fails when it costs more.

Owns the count of steps: a step is some 200 ns, so all of them some 50 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from alertd.errors import AlertdError

MAX_STEPS: Final = 200_000
MAX_TEXT_CHARS: Final = 65_536
"""Of one text that an operator or a filter makes."""
CHARS_A_STEP: Final = 64

T = TypeVar("T")


class TemplateFailed(AlertdError):
    """A template cannot be used, or not for this message; the text says what and on which line."""


class Meter:
    """What a rendering may still spend."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take ``steps``. Raises ``TemplateFailed`` when there are not as many left."""
        self._left -= steps
        if self._left < 0:
            raise TemplateFailed("does more than a template may: loop over less, or nest less")

    def charge(self, value: T) -> T:
        """Spend what it costs to walk over ``value`` once; return it."""
        if isinstance(value, str):
            if len(value) > MAX_TEXT_CHARS:
                raise TemplateFailed(f"makes a text of more than {MAX_TEXT_CHARS} characters")
            self.spend(1 + len(value) // CHARS_A_STEP)
        elif isinstance(value, (Sequence, Mapping)):
            self.spend(1 + len(value))
        else:
            self.spend(1)
        return value
