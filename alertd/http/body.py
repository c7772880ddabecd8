"""The body of a request: which content types are taken, and how much of them.

The body is read before anything is refused, up to ``server.max_body_bytes``, so that the client
has sent all of it and gets to read why.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from quart import request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

M = TypeVar("M", bound=StrEnum)


async def read_body(accepted: type[M], *, max_bytes: int | None = None) -> tuple[bytes, M]:
    """Return the request's body and its content type, one of ``accepted``.

    Raises werkzeug's exceptions for 408, 413 and 415. A client that goes away meanwhile cancels
    the caller.
    """
    body = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    if max_bytes is not None and len(body) > max_bytes:
        raise RequestEntityTooLarge(
            f"the body has {len(body)} bytes; at most {max_bytes} are taken"
        )
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnsupportedMediaType(f"the body is encoded as {encoding[:40]!r}; send it as it is")
    try:
        return body, accepted(request.mimetype)
    except ValueError:
        raise UnsupportedMediaType(_remedy(accepted)) from None


def _remedy(accepted: type[StrEnum]) -> str:
    names = [media_type.value for media_type in accepted]
    given = f"is {request.mimetype[:100]!r}" if request.mimetype else "is missing"
    return (
        f"the content type {given}; send {' or '.join(names)}, with curl: "
        f"-H 'Content-Type: {names[0]}'"
    )
