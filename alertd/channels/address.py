"""E-mail addresses as people write them: ``ops@example.org`` or ``Ops <ops@example.org>``.

Owns the one reading of them, strict on purpose: where ``email.utils.parseaddr`` finds an
address in almost anything, a second recipient or a header could hide in what it skips.
"""

from __future__ import annotations

import re
from typing import Final

# RFC 5321 limits; dot-atoms of RFC 5322, no quoted local parts, no domain literals.
_BARE: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})"
_MAILBOX: Final = re.compile(
    rf'({_BARE})|(?:[^<>@,;:\\"()\[\]]{{0,200}}|"[^"\\]{{0,200}}"\s?)<({_BARE})>'
)


def bare_address(mailbox: str) -> str | None:
    """Return the address in ``mailbox`` without its display name; None if it is not exactly one.

    Only ASCII addresses without line breaks or control characters are taken.
    """
    match = _MAILBOX.fullmatch(mailbox) if mailbox.isprintable() else None
    return (match[1] or match[2]) if match else None
