"""What is replied to a request, whichever way it came.

Owns the form of a reply on the wire, for those that are written without a library (RFC 9112). What
the web framework sends is made of the same replies in ``responses.py``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

JSON: Final = "application/json"
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Reply(NamedTuple):
    """Status, body and headers."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = _NONE
    """Others than those that follow from the body."""

    def written(self, *, is_last: bool = False, has_body: bool = True) -> bytes:
        """Return it in one piece, so that one packet can carry it.

        ``is_last`` announces the end of the connection. To HEAD it has no body.
        """
        others = "".join(f"{name.lower()}: {value}\r\n" for name, value in self.headers.items())
        ending = "connection: close\r\n" if is_last else ""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"content-type: {self.content_type}\r\ncontent-length: {len(self.body)}\r\n"
            f"{others}date: {_date(int(time.time()))}\r\n{ending}\r\n"
        ).encode()
        return head + self.body if has_body else head


@lru_cache(1)
def _date(now_s: int) -> str:
    """Return the time as HTTP's ``Date`` header has it (RFC 9110, 5.6.7)."""
    return formatdate(now_s, usegmt=True)
