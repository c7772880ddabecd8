"""The exceptions of alertd.

Owns the root of the hierarchy and the errors that more than one package raises. An error
names the operation, the thing and the remedy in its message; callers never have to guess
what to do from a class name alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alertd.limits import Limit


class AlertdError(Exception):
    """Root of everything that alertd raises on purpose."""

    limit: Limit | None = None
    """The limit that is reached, where it is about one."""


class Problem(NamedTuple):
    """One thing that is wrong with an input, and where.

    ``path`` is a JSON pointer into the input (``/3/value``; ``""`` is the whole of it).
    """

    path: str
    message: str
    limit: Limit | None = None
    """The limit that was gone beyond, where it is about one."""


def pointer_token(name: str) -> str:
    """Return ``name`` as it stands in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


class InvalidInput(AlertdError):
    """Input that cannot be accepted; ``problems`` lists every reason, never only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.path or '/'}: {p.message}" for p in self.problems))


class InvalidParameters(InvalidInput):
    """A question that has parameters which there are not, or which make no sense."""


class NotFound(AlertdError):
    """The named thing does not exist."""


class Conflict(AlertdError):
    """The operation contradicts what is already there (a taken name, a rule owned by a file)."""

    def __init__(self, message: str, limit: Limit | None = None) -> None:
        self.limit = limit
        super().__init__(message)


class VersionMismatch(AlertdError):
    """The caller's ``If-Match`` names a version that is no longer the current one."""


class NotNow(AlertdError):
    """Nothing was done; ``retry_after_s`` says when to try again."""

    def __init__(self, message: str, retry_after_s: int, limit: Limit | None = None) -> None:
        self.retry_after_s = retry_after_s
        self.limit = limit
        super().__init__(message)


class Overloaded(NotNow):
    """A bounded queue is full. The work was not taken."""


class Unavailable(NotNow):
    """The daemon cannot answer now."""


class StoreUnavailable(AlertdError):
    """The store cannot write now. Nothing was acknowledged; the same input may be sent again."""
