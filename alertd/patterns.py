"""Regular expressions that cannot be made to take long.

Owns the choice of engine: RE2 matches in time linear in the text, whatever the pattern, so that
a rule someone wrote and a label someone sent can never hold up the daemon. The price is RE2's
syntax (https://github.com/google/re2/wiki/Syntax): no back references, no look-around.
"""

from __future__ import annotations

from typing import Protocol, cast

import re2

from alertd.errors import AlertdError
from alertd.limits import MAX_PATTERN_BYTES, Limit


class BadPattern(AlertdError):
    """The text is not a regular expression that RE2 takes; the message says why."""


class Pattern(Protocol):
    """A compiled regular expression."""

    def fullmatch(self, text: str) -> object | None:
        """Return something if all of ``text`` matches, else None. Linear time."""
        ...


def compile_pattern(text: str) -> Pattern:
    """Return ``text`` compiled. Raises ``BadPattern``."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PATTERN_BYTES
    try:
        return cast("Pattern", re2.compile(text, options=options))
    except re2.error as error:
        said = error.args[0] if error.args else b"unknown"
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        refused = BadPattern(f"{text!r} is not a regular expression for RE2: {reason}")
        if "too large" in reason:
            refused.limit = Limit.PATTERN
        raise refused from error
