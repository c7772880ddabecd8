r"""What is said on a connection that sends events as lines. Pure: bytes to lines, and answers.

The client writes events, each a line of JSON as ``POST /api/events`` takes it, and need not wait
for answers. alertd writes lines of JSON too:

    {"acknowledged": 120}       the first 120 lines of this connection need not be sent again
    {"refused": 17, "reason": "malformed", "path": "/value", "message": "…"}
                                line 17 was not taken; it is acknowledged with the others
    {"paused": "store", "message": "…"}
                                nothing is read for the moment; it goes on by itself
    {"closed": "paused", "message": "…", "retryAfterSecs": 5}
                                the last line; what is not acknowledged is to be sent again

Lines are counted from 1. A line is acknowledged when it is durable (committed and fsynced), or
when it was refused and that has been said; so every line before the position is one or the other.
What one read brings is one batch, made durable at once, with one acknowledgement.

Blank lines are no lines: they are not counted, and a client that has nothing to send may keep a
connection with them. A last line without a line break counts when the client ends its side. A
client that has to show a token (TCP, where tokens are configured) sends ``{"token": "…"}`` as its
first line, which is not counted and answered ``{"acknowledged": 0}``. The first line must be an
object: whatever else speaks here, a web page that reached the port for instance, is let go before
anything it says is taken.

Owns the cutting of lines, with a bound on what is kept of a long one, and the form of the
answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from alertd.model import Refused

_BLANKS: Final = b" \t\r"


class Pause(StrEnum):
    """What a connection waits for before it is read again."""

    QUEUE = "queue"
    """Too many events wait for their commit."""
    STORE = "store"
    """The store cannot write."""
    ALLOWANCE = "allowance"
    """The token's allowance is used up."""


class End(StrEnum):
    """Why a connection ended; ``reason`` in ``alertd_lines_closed_total``."""

    LEFT = "left"
    """The client ended it, or broke off."""
    CONNECTIONS = "connections"
    """Too many were open."""
    HANDSHAKE = "handshake"
    """TLS was not agreed on."""
    NOT_LINES = "not_lines"
    """The first line was no object."""
    DENIED = "denied"
    """No token, or not one that may send events."""
    IDLE = "idle"
    """No whole line came in time."""
    PAUSED = "paused"
    """A pause took too long."""
    NOT_READ = "not_read"
    """The client did not take the answers in time."""
    STOPPING = "stopping"
    """alertd stops."""
    FAILED = "failed"
    """By an unexpected error."""


class Greeting(Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a client with a token."""

    token: str


class Acknowledged(Struct, frozen=True):
    """So many lines, from the first of the connection on, need not be sent again."""

    acknowledged: int


class RefusedLine(Struct, frozen=True):
    """A line that was not taken, and why."""

    refused: int
    reason: str
    path: str
    message: str


class Paused(Struct, frozen=True):
    """Nothing is read for the moment."""

    paused: Pause
    message: str


class Closed(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The last answer of a connection."""

    closed: End
    message: str
    retry_after_secs: int | None = None


Answer = Acknowledged | RefusedLine | Paused | Closed

_encoder = msgspec.json.Encoder()


def encode(answers: Iterable[Answer]) -> bytes:
    """Return ``answers`` as they are sent."""
    return b"".join(_encoder.encode(answer) + b"\n" for answer in answers)


def refusals(refused: Iterable[Refused], before: int) -> list[RefusedLine]:
    """Return what is said of the refused of a batch, ``before`` which so many lines came."""
    return [
        RefusedLine(before + each.index + 1, each.reason.value, each.path, each.message)
        for each in sorted(refused, key=lambda each: each.index)
    ]


def read_greeting(line: bytes) -> str | None:
    """Return the token that ``line`` shows, None if it is no greeting."""
    try:
        return msgspec.json.decode(line, type=Greeting).token
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def may_be_an_object(line: bytes) -> bool:
    """Return whether ``line`` begins as a JSON object does."""
    return line.lstrip(_BLANKS)[:1] == b"{"


class LineCutter:
    """Cuts what is received into lines. Of a line it keeps ``max_line_bytes`` and one more.

    So a line that is longer than ``max_line_bytes`` is too long, and costs no more than that.
    """

    def __init__(self, max_line_bytes: int) -> None:
        self._kept_bytes = max_line_bytes + 1
        self._begun = b""

    def take(self, data: bytes) -> list[bytes]:
        """Return the lines that end in ``data``, without their ends, but for the blank ones."""
        *ended, begun = data.split(b"\n")
        if ended:
            ended[0] = self._begun + ended[0]
            self._begun = b""
        self._begun = (self._begun + begun)[: self._kept_bytes]
        return [line[: self._kept_bytes] for line in ended if line.strip(_BLANKS)]

    def finish(self) -> list[bytes]:
        """Return the last line, if one was begun: nothing more will come."""
        return self.take(b"\n")
