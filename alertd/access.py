"""Who may do what: tokens, their scopes and what they may use up.

Owns how a token looks and how it is kept: as its SHA-256 only. A token is 256 bits of chance,
so one round of a fast hash protects it as well as a slow one would; what people think up
themselves must be as long as chance would make it (``MIN_TOKEN_CHARS``). Leaves where tokens
are configured to ``config/auth.py`` and asking for them to ``http/gate.py``.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from enum import StrEnum
from typing import Final

from msgspec import Struct

PREFIX: Final = "alertd_"
"""Begins every token that ``new_token`` makes, so that scanners for leaked secrets know one."""
MIN_TOKEN_CHARS: Final = 32
MAX_TOKEN_CHARS: Final = 1024
HASH_PREFIX: Final = "sha256:"

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1
_HASH = re.compile(HASH_PREFIX + r"([0-9a-f]{64})")
_RANDOM_BYTES: Final = 32


class Scope(StrEnum):
    """A part of the HTTP interface that a caller may be allowed."""

    INGEST = "ingest"
    """Push events."""
    READ = "read"
    """Look at everything: events, rules, incidents, metrics."""
    WRITE = "write"
    """Change rules, silences and what becomes of notifications."""
    ADMIN = "admin"
    """Run the daemon; whoever has this may do everything."""


class Token(Struct, frozen=True, kw_only=True):
    """One caller, as the daemon keeps it."""

    name: str
    scopes: frozenset[Scope]
    digest: bytes
    """SHA-256 of the token."""
    max_requests_per_sec: float | None = None
    max_events_per_sec: float | None = None
    max_events_per_day: float | None = None

    def allows(self, scope: Scope) -> bool:
        """Return whether whoever has this token may do what needs ``scope``."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def new_token() -> str:
    """Return a token that nobody can guess."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(token: bytes) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token).digest()


def written_hash(token: str) -> str:
    """Return the hash of a token as a configuration has it."""
    return HASH_PREFIX + digest_of(token.encode()).hex()


def read_digest(text: str) -> bytes:
    """Return the digest that ``text`` stands for: a token, or its ``sha256:`` hash.

    Raises ``ValueError`` that says what is expected, and repeats nothing of ``text``.
    """
    if text.startswith(HASH_PREFIX):
        match = _HASH.fullmatch(text)
        if match is None:
            raise ValueError("after sha256: there must be 64 hexadecimal digits in lower case")
        return bytes.fromhex(match[1])
    if not MIN_TOKEN_CHARS <= len(text) <= MAX_TOKEN_CHARS or not _TOKEN.fullmatch(text):
        raise ValueError(
            f"a token has {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits and . _ ~ + / -; "
            "`alertd token new` makes one"
        )
    return digest_of(text.encode())
