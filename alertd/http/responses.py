"""What is answered, as the web framework wants it: replies, problems, and its own errors as such.

What a problem says is ``problem.py``'s, which needs no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from prometheus_client import Counter
from quart import Quart, Response, current_app, request
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    RequestEntityTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
)
from werkzeug.exceptions import NotFound as NoSuchRoute

from alertd.http import problem
from alertd.http.inflate import INFLATE
from alertd.http.wire import encode
from alertd.limits import Limit


def json_response(
    body: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Return ``body``, a struct or plain data, as a JSON response."""
    return Response(encode(body), status.value, headers=headers, content_type="application/json")


def problem_response(
    status: HTTPStatus, detail: str, *, headers: dict[str, str] | None = None
) -> Response:
    """Return a problem."""
    return _respond(problem.render(status, detail, headers=headers))


_LIMIT_OF: Final[Mapping[int | None, Limit]] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Limit.BODY,
    HTTPStatus.REQUEST_TIMEOUT: Limit.BODY_TIME,
}


def register_errors(app: Quart, limits_reached: Counter) -> None:
    """Make ``app`` answer every exception with a problem, and count the limits it is about."""

    async def from_framework(error: HTTPException) -> Response:
        if request.routing_exception is error:
            # Its traceback leads back to the request: only a search for garbage would free them.
            request.routing_exception = None
        if error.code in _LIMIT_OF:
            problem.count([_LIMIT_OF[error.code]], limits_reached)
        return await _from_framework(error)

    async def from_exception(error: Exception) -> Response:
        problem.count(problem.limits_of(error), limits_reached)
        route = request.url_rule.rule if request.url_rule is not None else None
        return _respond(problem.of_exception(error, request.method, route))

    app.register_error_handler(HTTPException, from_framework)
    app.register_error_handler(Exception, from_exception)


async def _from_framework(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {}
    detail = error.description or status.description
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = allowed = ", ".join(sorted(error.valid_methods))
        detail = f"this resource takes {allowed}"
    elif isinstance(error, NoSuchRoute):
        detail = "there is no such resource; /docs lists those that there are"
    elif isinstance(error, RequestEntityTooLarge) and detail == RequestEntityTooLarge.description:
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        detail = (
            f"the body has more than {limit} bytes; send less at once or raise "
            "server.max_body_bytes"
        )
    elif isinstance(error, RequestTimeout):
        detail = problem.body_too_slow(current_app.config["BODY_TIMEOUT"])
    elif isinstance(error, UnsupportedMediaType):
        headers["Accept-Encoding"] = ", ".join(INFLATE)
    return problem_response(status, detail, headers=headers)


def _respond(reply: problem.ProblemReply) -> Response:
    return Response(
        reply.body, reply.status.value, headers=reply.headers, content_type=problem.CONTENT_TYPE
    )
