"""The body of a request: which content types are taken, and how much of them.

The body is read before anything is refused, up to ``server.max_body_bytes``, so that the client
has sent all of it and gets to read why. A compressed one is inflated, up to the same bound.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import trio
from quart import current_app, request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from alertd.http.inflate import INFLATE, NotCompressed, TooLong
from alertd.http.strict import Undecodable

M = TypeVar("M", bound=StrEnum)


async def read_body(accepted: type[M], *, max_bytes: int | None = None) -> tuple[bytes, M]:
    """Return the request's body and its content type, one of ``accepted``.

    Raises werkzeug's exceptions for 408, 413 and 415, and ``Undecodable`` for a body that is not
    what its ``Content-Encoding`` says. A client that goes away meanwhile cancels the caller.
    """
    body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    body = await _inflated(body, max_bytes or current_app.config["MAX_CONTENT_LENGTH"])
    if max_bytes is not None and len(body) > max_bytes:
        raise RequestEntityTooLarge(
            f"the body has {len(body)} bytes; at most {max_bytes} are taken here"
        )
    try:
        return body, accepted(request.mimetype)
    except ValueError:
        raise UnsupportedMediaType(_remedy(accepted)) from None


async def _inflated(body: bytes, max_bytes: int) -> bytes:
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity":
        return body
    inflate = INFLATE.get(encoding)
    if inflate is None:
        taken = " or ".join(INFLATE)
        raise UnsupportedMediaType(
            f"the body is encoded as {encoding[:40]!r}; send {taken}, or send it as it is"
        )
    try:
        return await trio.to_thread.run_sync(inflate, body, max_bytes)
    except TooLong:
        raise RequestEntityTooLarge(
            f"the body has more than {max_bytes} bytes when it is inflated; send less at once or "
            "raise server.max_body_bytes"
        ) from None
    except NotCompressed as error:
        raise Undecodable(f"the body is not {encoding}: {error}") from error


def _remedy(accepted: type[StrEnum]) -> str:
    names = [media_type.value for media_type in accepted]
    given = f"is {request.mimetype[:100]!r}" if request.mimetype else "is missing"
    return (
        f"the content type {given}; send {' or '.join(names)}, with curl: "
        f"-H 'Content-Type: {names[0]}'"
    )
