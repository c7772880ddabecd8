"""The errors that operations answer with, each status by its name.

Owns which errors any operation has and what each looks like; operations add their own. Leaves
which exception is which status to ``http/problem.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from alertd.http.openapi.operation import Operation
from alertd.http.problem import ProblemBody
from alertd.http.routes import WITH_BODY, find
from alertd.http.wire import ErrorItem


class ErrorKind(Struct, frozen=True):
    """What an error status means in general."""

    note: str
    example: ProblemBody
    headers: Mapping[str, str] = {}
    """What each header says."""


RETRY_AFTER: Final = {"Retry-After": "Seconds after which to send the request again."}


def _kind(
    status: HTTPStatus,
    note: str,
    detail: str,
    *errors: ErrorItem,
    headers: Mapping[str, str] | None = None,
) -> ErrorKind:
    example = ProblemBody(title=status.phrase, status=status.value, detail=detail, errors=errors)
    return ErrorKind(note, example, headers or {})


_KINDS: Final = (
    _kind(
        HTTPStatus.BAD_REQUEST,
        "The request cannot be read: a body that is not what its content type says, or parameters "
        "that there are not or that make no sense. Mend it; the same request fails again.",
        "/limt is an unknown parameter; did you mean 'limit'?",
        ErrorItem("/limt", "is an unknown parameter; did you mean 'limit'?"),
    ),
    _kind(
        HTTPStatus.UNAUTHORIZED,
        "There is no token, or it is not one that the daemon knows.",
        "a token is needed: send the header `Authorization: Bearer …`",
        headers={"WWW-Authenticate": "What is wanted (RFC 6750)."},
    ),
    _kind(
        HTTPStatus.FORBIDDEN,
        "The token may not do this, or the request comes from a web page of another site.",
        "the token 'web-1' may not do this: it needs the scope 'write'",
    ),
    _kind(
        HTTPStatus.NOT_FOUND,
        "There is nothing of that id.",
        "there is no rule with the id 'd5f0…'",
    ),
    _kind(
        HTTPStatus.REQUEST_TIMEOUT,
        "The body did not come in time. The connection is closed; send the request again.",
        HTTPStatus.REQUEST_TIMEOUT.description,
    ),
    _kind(
        HTTPStatus.CONFLICT,
        "What is asked for does not fit what there is now.",
        "the rule 'CPU' stands in etc/alertd.toml:120; edit it there and reload",
    ),
    _kind(
        HTTPStatus.PRECONDITION_FAILED,
        "The rule is no longer of the version that `If-Match` names. Read it again and repeat the "
        "change.",
        'the rule has the version "2", which If-Match does not name; read the rule again and '
        "repeat your change",
    ),
    _kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The body is larger than one may be, as it came or inflated, or holds too many events.",
        "the body has more than 8388608 bytes; send less at once or raise server.max_body_bytes",
    ),
    _kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "The body's content type or content encoding is not one that is taken here.",
        "the content type is 'text/plain'; send application/json, with curl: "
        "-H 'Content-Type: application/json'",
        headers={"Accept-Encoding": "The content encodings that are taken."},
    ),
    _kind(
        HTTPStatus.MISDIRECTED_REQUEST,
        "The header `Host` has a name that the daemon does not go by.",
        "this is not 'alerts.example.org'; to be reached by that name, add it to "
        "server.allowed_hosts",
    ),
    _kind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The body can be read but not taken; `errors` says where and why, everything at once.",
        "/threshold must be a number, not a string",
        ErrorItem("/threshold", "must be a number, not a string"),
    ),
    _kind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "More is sent than can be taken now, or than the token may send. Nothing of this request "
        "was stored; send it again.",
        "200000 events wait for their commit (engine.max_queue_events)",
        headers=RETRY_AFTER,
    ),
    _kind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "A defect of alertd. The log has a line with the id that `detail` names.",
        "an unexpected error; the log names it 0f8fad5b-d9cb-469f-a165-70867728950e",
    ),
    _kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The daemon recovers after its start, works on too many requests, or cannot read or write "
        "its store now. Nothing was changed; send the request again.",
        "alertd is recovering: replaying the log: 3,000,000 events, 45%; send the request again",
        headers=RETRY_AFTER,
    ),
)
ERRORS: Final = {HTTPStatus(kind.example.status): kind for kind in _KINDS}
"""Every error, in the order of its status."""

_OF_ALL: Final = (HTTPStatus.MISDIRECTED_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR)
_OF_ALL_BUT_HEALTH: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_OF_SCOPES: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_OF_SENDING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_OF_BODIES: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)


def errors_of(operation: Operation) -> dict[HTTPStatus, str]:
    """Return when each error of ``operation`` comes, by status; an empty text says nothing more."""
    found = dict.fromkeys(_OF_ALL, "")
    if operation.name != "getHealth":
        found |= dict.fromkeys(_OF_ALL_BUT_HEALTH, "")
    route = find(operation.name)
    if route is not None and route.scope is not None:
        found |= dict.fromkeys(_OF_SCOPES, "")
    if route is not None and route.method in WITH_BODY:
        found |= dict.fromkeys(_OF_SENDING, "")
    if operation.body is not None:
        found |= dict.fromkeys(_OF_BODIES, "")
    found |= operation.refusals
    return dict(sorted(found.items()))


def name_of(status: HTTPStatus) -> str:
    """Return what an error is called in the document: ``NotFound``."""
    return "".join(status.phrase.title().split()).replace("-", "")
