"""Compressed replies, for clients that ask for them with ``Accept-Encoding``.

Owns which replies are worth it, and which encoding is better than another (RFC 9110, 12.5.3).
Blocks for some 10 ms a megabyte, so larger replies are done beside the loop. Receipts of events
are too short to gain anything.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from typing import Final

import trio
import zstandard

from alertd.http.reply import Reply

MIN_BYTES: Final = 1_000
"""A shorter reply fits a packet as it is."""
VARIES_BY: Final = "Accept-Encoding"
AS_IT_IS: Final = "identity"
"""The encoding that is none."""

_BESIDE_THE_LOOP_BYTES: Final = 64 << 10
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 5


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, _GZIP_LEVEL, mtime=0)


def _zstd(data: bytes) -> bytes:
    return zstandard.compress(data, _ZSTD_LEVEL)


_DEFLATE: Final[Mapping[str, Callable[[bytes], bytes]]] = {"zstd": _zstd, "gzip": _gzip}
ENCODINGS: Final = (*_DEFLATE, AS_IT_IS)
"""Every ``Content-Encoding`` that there is, the better first."""


def best_of(codings: Collection[str]) -> str:
    """Return the best encoding for a client that likes all of ``codings`` alike."""
    return next((encoding for encoding in _DEFLATE if encoding in codings), AS_IT_IS)


async def deflated(body: bytes, encoding: str) -> bytes | None:
    """Return ``body`` in one of ``ENCODINGS``, None if it is to stay as it is."""
    deflate = _DEFLATE.get(encoding)
    if deflate is None or len(body) < MIN_BYTES:
        return None
    if len(body) < _BESIDE_THE_LOOP_BYTES:
        return deflate(body)
    return await trio.to_thread.run_sync(deflate, body)


async def compressed(reply: Reply, encoding: str) -> Reply:
    """Return ``reply`` to GET or HEAD for a client that likes ``encoding`` best."""
    if reply.status is not HTTPStatus.OK:
        return reply
    headers = {**reply.headers, "Vary": VARIES_BY}
    body = await deflated(reply.body, encoding)
    if body is None:
        return reply._replace(headers=headers)
    return reply._replace(body=body, headers={**headers, "Content-Encoding": encoding})
