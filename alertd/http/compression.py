"""Compressed replies, for clients that ask for them with ``Accept-Encoding``.

Owns which replies are worth it and which encoding a client likes best (RFC 9110, 12.5.3). Blocks
for some 10 ms a megabyte, so larger replies are done beside the loop. The express lane's receipts
are too short to gain anything.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from typing import Final

import trio
import zstandard
from quart import Quart, Response, request

MIN_BYTES: Final = 1_000
"""A shorter reply fits a packet as it is."""
_BESIDE_THE_LOOP_BYTES: Final = 64 << 10
_AS_IT_IS: Final = "identity"
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 5


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, _GZIP_LEVEL, mtime=0)


def _zstd(data: bytes) -> bytes:
    return zstandard.compress(data, _ZSTD_LEVEL)


DEFLATE: Final[Mapping[str, Callable[[bytes], bytes]]] = {"zstd": _zstd, "gzip": _gzip}
"""What makes each ``Content-Encoding``, the better first."""


def register(app: Quart) -> None:
    """Make ``app`` compress what it answers."""
    app.after_request(_compress)


async def _compress(response: Response) -> Response:
    if request.method not in ("GET", "HEAD") or response.status_code != 200:
        return response
    response.vary.add("Accept-Encoding")
    deflate = DEFLATE.get(encoding := _best_encoding())
    body = await response.get_data(as_text=False)
    if deflate is None or len(body) < MIN_BYTES:
        return response
    if len(body) < _BESIDE_THE_LOOP_BYTES:
        compressed = deflate(body)
    else:
        compressed = await trio.to_thread.run_sync(deflate, body)
    response.set_data(compressed)
    response.headers["Content-Encoding"] = encoding
    if "ETag" in response.headers:  # a strong one stands for these very bytes
        response.headers["ETag"] = f"W/{response.headers['ETag']}"
    return response


def _best_encoding() -> str:
    """Return the encoding that the client likes best; one that it does not name is not liked."""
    return request.accept_encodings.best_match([*DEFLATE, _AS_IT_IS], default=_AS_IT_IS)
