"""Plain requests: those whose heads leave nothing to interpret.

A head is plain if it has come in one piece, asks for one of the few routes that are asked all the
time (``routes.PLAIN``), without parameters, and every line of it is well-formed ASCII that asks for
nothing else: no ``Transfer-Encoding``, ``Expect``, ``Upgrade``, ``Content-Encoding``, of encodings
of the reply only names, no ``Connection`` but keep-alive and close. What such a head says is what
any HTTP library would read in it; a property test holds h11 against it.

Owns which requests are plain. What is not is no mistake, but the library's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from alertd.http.acceptance import KEY_HEADER, is_key
from alertd.http.compression import best_of
from alertd.http.decode import MediaType
from alertd.http.gate import Ask
from alertd.http.routes import PLAIN, WITH_BODY, Route

_MAX_HEAD_BYTES: Final = 4_096
_REMEMBERED_HEADS: Final = 512
_MAX_LENGTH_DIGITS: Final = 12

_ASKED: Final = {
    f"{method} {route.path} HTTP/1.1".encode(): (method, route)
    for route in PLAIN
    for method in ((route.method, "HEAD") if route.method == "GET" else (route.method,))
}
"""What each request line asks for."""
_LONGEST_LINE_BYTES: Final = max(map(len, _ASKED)) + len(b"\r\n")

# What is possessive (*+) gives nothing back: else a line of spaces would be tried at each of them.
_HEADER_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+((?:[!-~](?:[ -~\t]*[!-~])?)?)[ \t]*"
)
_NAMES = re.compile(r"(?:[a-z-]+(?:, *[a-z-]+)*)?")
_OBSERVED: Final = frozenset(
    {
        "host",
        "content-length",
        "content-type",
        "authorization",
        "accept-encoding",
        "connection",
        KEY_HEADER.lower(),
    }
)
"""Headers that mean something here, so that being there twice means something too."""
_NOT_PLAIN: Final = frozenset(
    {
        "transfer-encoding",
        "expect",
        "upgrade",
        "content-encoding",
        "te",
        "trailer",
        "http2-settings",
        "origin",
        "sec-fetch-site",
    }
)
_MEDIA_TYPES: Final = {
    media_type.value + parameter: media_type
    for media_type in MediaType
    for parameter in ("", ";charset=utf-8", "; charset=utf-8")
}


class PlainRequest(NamedTuple):
    """The head of a plain request."""

    route: Route
    ask: Ask
    """What the gate wants to know."""
    head_bytes: int
    """Up to and with the empty line."""
    body_bytes: int
    media_type: MediaType | None
    """Of the body; None where the method has none."""
    key: str | None
    """Its Idempotency-Key."""
    encoding: str
    """The ``Content-Encoding`` that it likes best; of GET and HEAD: nothing else is compressed."""
    is_last: bool
    """Whether it is to be the last on its connection."""


def read_plain(data: bytes) -> PlainRequest | None:
    """Return the head that ``data`` begins with if it is all there and plain, else None."""
    if data[:_LONGEST_LINE_BYTES].partition(b"\r\n")[0] not in _ASKED:
        return None
    end = data.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
    return _read_head(data[: end + 4]) if end != -1 else None


@lru_cache(_REMEMBERED_HEADS)
def _read_head(head: bytes) -> PlainRequest | None:
    """Return what a head says; a client repeats itself, so heads are remembered."""
    line, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, route = _ASKED[line]
    has_body = method in WITH_BODY
    fields = _observed(lines)
    if fields is None or not _is_plain(fields, has_body=has_body):
        return None
    return PlainRequest(
        route,
        Ask(method, fields["host"], fields.get("authorization")),
        head_bytes=len(head),
        body_bytes=int(fields.get("content-length", "0")),
        media_type=_media_type(fields) if has_body else None,
        key=fields.get(KEY_HEADER.lower()),
        encoding=best_of(_encodings(fields).replace(" ", "").split(",")),
        is_last=_connection(fields) == "close",
    )


def _observed(lines: list[bytes]) -> dict[str, str] | None:
    """Return the headers that mean something; None if one is odd, or asks for anything else."""
    fields: dict[str, str] = {}
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            return None
        name = match[1].decode().lower()
        if name in _NOT_PLAIN or name in fields:
            return None
        if name in _OBSERVED:
            fields[name] = match[2].decode()
    return fields


def _is_plain(fields: dict[str, str], *, has_body: bool) -> bool:
    """Return whether there is what must be, and nothing that would have to be interpreted."""
    length = fields.get("content-length", "" if has_body else "0")
    key = fields.get(KEY_HEADER.lower())
    is_plain = (
        "host" in fields
        and length.isdecimal()
        and len(length) <= _MAX_LENGTH_DIGITS
        and (key is None or is_key(key))
        and _connection(fields) in ("keep-alive", "close")
    )
    if has_body:
        return is_plain and _media_type(fields) is not None
    return is_plain and int(length) == 0 and _NAMES.fullmatch(_encodings(fields)) is not None


def _connection(fields: dict[str, str]) -> str:
    return fields.get("connection", "keep-alive").lower()


def _encodings(fields: dict[str, str]) -> str:
    return fields.get("accept-encoding", "").lower()


def _media_type(fields: dict[str, str]) -> MediaType | None:
    return _MEDIA_TYPES.get(fields.get("content-type", "").lower())
