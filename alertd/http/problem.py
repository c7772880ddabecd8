"""Errors as replies: RFC 9457, ``application/problem+json``.

Owns which exception is which status. Every error that leaves the daemon over HTTP is made
here: ours, and the unexpected, which is logged with an id and answered with that id and nothing
else. Never a traceback. Leaves the web framework's own errors to ``responses.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Counter

from alertd.config.errors import ConfigConflict, ConfigError
from alertd.errors import (
    AlertdError,
    Conflict,
    InvalidInput,
    InvalidParameters,
    NotFound,
    NotNow,
    Overloaded,
    Problem,
    StoreUnavailable,
    Unavailable,
    VersionMismatch,
)
from alertd.http.event_input import TooManyEvents
from alertd.http.gate import Denied, Forbidden, Misdirected, Unauthorized
from alertd.http.reply import Reply
from alertd.http.strict import Undecodable
from alertd.http.wire import MAX_ERRORS, ErrorItem, error_items
from alertd.limits import Limit

CONTENT_TYPE: Final = "application/problem+json"
STORE_RETRY_AFTER_S: Final = 5

_log = structlog.get_logger(__name__)


class ProblemBody(
    Struct, frozen=True, rename="camel", omit_defaults=True, tag_field="type", tag="about:blank"
):
    """What went wrong (RFC 9457). Of ``about:blank`` (4.2.1) the status says what type it is."""

    title: str
    """The status in words."""
    status: int
    """As in the reply."""
    detail: str
    """What to mend."""
    errors: tuple[ErrorItem, ...] = ()
    """Every mistake in the input, with its place; the first 100. Left out where there is none."""
    errors_truncated: bool = False
    """Whether there are more. Left out where there are not."""


_STATUS_OF: Final[Sequence[tuple[type[AlertdError], HTTPStatus]]] = (
    # The first that fits counts, so subclasses stand before their bases.
    (Misdirected, HTTPStatus.MISDIRECTED_REQUEST),
    (Unauthorized, HTTPStatus.UNAUTHORIZED),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (Undecodable, HTTPStatus.BAD_REQUEST),
    (InvalidParameters, HTTPStatus.BAD_REQUEST),
    (TooManyEvents, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ConfigError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (NotFound, HTTPStatus.NOT_FOUND),
    (Conflict, HTTPStatus.CONFLICT),
    (VersionMismatch, HTTPStatus.PRECONDITION_FAILED),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (StoreUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


def render(
    status: HTTPStatus,
    detail: str,
    *,
    problems: Sequence[Problem] = (),
    headers: dict[str, str] | None = None,
) -> Reply:
    """Return a problem."""
    body = ProblemBody(
        title=status.phrase,
        status=status.value,
        detail=detail,
        errors=error_items(problems),
        errors_truncated=len(problems) > MAX_ERRORS,
    )
    return Reply(status, CONTENT_TYPE, msgspec.json.encode(body), headers or {})


def of_exception(error: Exception, method: str, route: str | None) -> Reply:
    """Return what a client is told about ``error``; what is not ours is logged."""
    for error_type, status in _STATUS_OF:
        if isinstance(error, error_type):
            return render(status, _detail(error), problems=_placed(error), headers=_headers(error))
    error_id = str(uuid.uuid4())
    _log.error("request_failed", error_id=error_id, method=method, route=route, exc_info=error)
    detail = f"an unexpected error; the log names it {error_id}"
    return render(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def retry_after_store() -> dict[str, str]:
    """Return the header of an answer that the store cannot give now."""
    return {"Retry-After": str(STORE_RETRY_AFTER_S)}


def limits_of(error: Exception) -> Iterator[Limit]:
    """Yield the limits that ``error`` is about, as often as each was gone beyond."""
    if isinstance(error, InvalidInput):
        yield from reached(error.problems)
    elif isinstance(error, AlertdError) and error.limit is not None:
        yield error.limit


def reached(problems: Iterable[Problem]) -> Iterator[Limit]:
    """Yield the limits that ``problems`` are about."""
    return (problem.limit for problem in problems if problem.limit is not None)


def count(limits: Iterable[Limit], limits_reached: Counter) -> None:
    """Count ``limits`` as reached."""
    for limit in limits:
        limits_reached.labels(limit.value).inc()


def _detail(error: AlertdError) -> str:
    if isinstance(error, ConfigError):
        count = len(error.problems)
        mistakes = "a mistake" if count == 1 else f"{count} mistakes"
        return f"the configuration has {mistakes}; nothing was changed"
    if isinstance(error, ConfigConflict):
        return "the configuration has names of rules that were made over HTTP; nothing was changed"
    if not isinstance(error, InvalidInput):
        return str(error)
    first, *others = error.problems
    text = f"{first.path} {first.message}" if first.path else first.message
    return f"{text} (and {len(others)} more)" if others else text


def _placed(error: AlertdError) -> tuple[Problem, ...]:
    """Return the problems that say more than the detail does."""
    if isinstance(error, (ConfigError, ConfigConflict)):
        return tuple(Problem(mistake.place, mistake.text) for mistake in error.problems)
    if not isinstance(error, InvalidInput):
        return ()
    return tuple(problem for problem in error.problems if problem.path)


def _headers(error: AlertdError) -> dict[str, str]:
    if isinstance(error, Denied) and error.challenge is not None:
        return {"WWW-Authenticate": error.challenge}
    if isinstance(error, NotNow):
        return {"Retry-After": str(error.retry_after_s)}
    return retry_after_store() if isinstance(error, StoreUnavailable) else {}


def body_too_slow(timeout_s: float) -> str:
    """Return what a client is told whose body does not come."""
    return (
        f"the body did not come within {timeout_s:g} s (server.keep_alive_timeout_secs); "
        "send it at once, or less of it"
    )
