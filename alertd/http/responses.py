"""What is answered, as the web framework wants it: replies, problems, and its own errors as such.

What a problem says is ``problem.py``'s, and which encoding of a reply is worth it
``compression.py``'s; they need no framework.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from alertd.http.compression import AS_IT_IS, ENCODINGS, VARIES_BY, deflated
from alertd.http.inflate import INFLATE
from alertd.http.reply import JSON, Reply
from alertd.http.routes import Handler
from alertd.http.wire import encode
from alertd.limits import Limit


def json_response(
    body: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Return ``body``, a struct or plain data, as a JSON response."""
    return Response(encode(body), status.value, headers=headers, content_type=JSON)


def telling(answer: Callable[[], Reply]) -> Handler:
    """Return a handler that gives ``answer``, which needs nothing of the request."""

    async def tell() -> Response:
        return _respond(answer())

    return tell


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
    return _respond(problem.render(status, detail, headers=headers))


def register_compression(app: Quart) -> None:
    """Make ``app`` compress what it answers for those who ask for that."""
    app.after_request(_compress)


async def _compress(response: Response) -> Response:
    if request.method not in ("GET", "HEAD") or response.status_code != HTTPStatus.OK:
        return response
    response.vary.add(VARIES_BY)
    # An encoding that the client does not name is not liked.
    encoding = request.accept_encodings.best_match(ENCODINGS, default=AS_IT_IS)
    body = await deflated(await response.get_data(as_text=False), encoding)
    if body is None:
        return response
    response.set_data(body)
    response.headers["Content-Encoding"] = encoding
    if "ETag" in response.headers:  # a strong one stands for these very bytes
        response.headers["ETag"] = f"W/{response.headers['ETag']}"
    return response


def _respond(reply: Reply) -> Response:
    return Response(
        reply.body,
        reply.status.value,
        headers=dict(reply.headers),
        content_type=reply.content_type,
    )
