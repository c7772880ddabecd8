"""Where a list goes on: the opaque text between two pages.

A cursor is the sort key of the last item that was shown, so that what comes or goes between two
pages shows no item twice and hides none. Clients hand it back as it is; the text is unpadded
base64url of the key's parts with colons between them.
"""

from __future__ import annotations

import base64
from typing import Final

from alertd.errors import InvalidParameters, Problem
from alertd.limits import MAX_PAGE_ITEMS

NOT_A_CURSOR: Final = Problem("/cursor", "is not a cursor; use nextCursor of a reply as it is")

MAX_CHARS: Final = 2000


def encode(*parts: int | str) -> str:
    """Return the cursor for a sort key; only the last part may have a colon in it."""
    text = ":".join(map(str, parts))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, count: int) -> list[str]:
    """Return the ``count`` parts of a key. Raises ``InvalidParameters`` for what is no cursor."""
    try:
        if len(cursor) <= MAX_CHARS:
            padded = cursor + "=" * (-len(cursor) % 4)
            text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
            parts = text.split(":", count - 1)
            if len(parts) == count:
                return parts
    except ValueError:
        pass
    raise InvalidParameters([NOT_A_CURSOR])


def integer(part: str) -> int:
    """Return a part that is a number of 64 bits, as SQLite has. Raises ``InvalidParameters``."""
    try:
        number = int(part)
    except ValueError:
        raise InvalidParameters([NOT_A_CURSOR]) from None
    if not -(2**63) <= number < 2**63:
        raise InvalidParameters([NOT_A_CURSOR])
    return number


def check_limit(limit: int) -> None:
    """Raise ``InvalidParameters`` unless a page may have so many items."""
    if not 1 <= limit <= MAX_PAGE_ITEMS:
        raise InvalidParameters([Problem("/limit", f"must be a number from 1 to {MAX_PAGE_ITEMS}")])


def time_and_id(cursor: str) -> tuple[int, str]:
    """Return a key that is a time and an id. Raises ``InvalidParameters``."""
    time_us, id_ = decode(cursor, 2)
    return integer(time_us), id_


def integers(cursor: str, count: int) -> list[int]:
    """Return a key of ``count`` numbers. Raises ``InvalidParameters``."""
    return [integer(part) for part in decode(cursor, count)]
