"""The contract between dispatch and a channel.

A channel makes one attempt and says how it went. It never retries, never raises for a failure
of the receiver or the network, and never logs an endpoint or a secret.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from alertd.channels.message import IncidentView, Message
from alertd.errors import AlertdError
from alertd.outbound import Earlier


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has taken the message."""

    fault: str = ""
    """Why it was told in other words than the configuration has for it, if it was."""
    receipt: str = ""
    """What the receiver calls the message, so that what follows can be told to belong to it."""


@dataclass(frozen=True, slots=True)
class Retryable:
    """It may work later. ``wait_s`` is what the receiver asked for (Retry-After), if it did."""

    reason: str
    wait_s: float | None = None
    was_refused: bool = False
    """Whether it is certain that the receiver has not taken the message: it was not reached, or
    said so itself. Without an answer it may have taken it all the same."""
    said: str = field(default="", compare=False, repr=False)
    """The receiver's own words, for who tries the channel; neither stored nor logged."""


@dataclass(frozen=True, slots=True)
class Permanent:
    """It will not work as it is: the message becomes a dead letter at once."""

    reason: str
    said: str = field(default="", compare=False, repr=False)
    """The receiver's own words, for who tries the channel; neither stored nor logged."""


class UnknownChannel(AlertdError):
    """A target means no channel; the message says what to configure."""


class BadEndpoint(UnknownChannel):
    """A target that no configuration would make a channel of."""


Outcome = Delivered | Retryable | Permanent


@dataclass(frozen=True, slots=True)
class SendingLimits:
    """What may be sent to one receiver. None: as ``[notify]`` says, or without a limit."""

    concurrency: int | None = None
    """Attempts at a time."""
    per_minute: int | None = None
    """Attempts begun within any 60 seconds."""


class Channel(Protocol):
    """A way to tell people. Safe to call from several tasks at once."""

    @property
    def redacted_endpoint(self) -> str:
        """Where it leads, fit for logs and replies: no path, query, password or token."""

    async def send(self, message: Message) -> Outcome:
        """Make one attempt, within the channel's own deadline."""

    async def aclose(self) -> None:
        """Release connections. No ``send`` may be under way or follow."""


@runtime_checkable
class FollowsUp(Protocol):
    """A channel that can show what belongs to an earlier message with that message."""

    async def follow_up(self, message: Message, earlier: Earlier) -> Outcome:
        """Make one attempt, as ``send`` does, at a place that ``earlier`` decides."""


ReadPages = Callable[[], AsyncGenerator[Sequence[IncidentView], None]]
"""Begins to read, page by page, what a channel was told of and is on or has ended lately."""


@runtime_checkable
class Addressable(Protocol):
    """A channel whose way leads to others than its own receivers as well."""

    def to(self, address: str) -> Channel:
        """Return a channel that tells ``address`` the same way."""


@runtime_checkable
class Forgetful(Protocol):
    """A channel whose receiver forgets: what is on has to be told again and again."""

    @property
    def resend_interval_s(self) -> float:
        """How often, in seconds."""

    def succeed(self, former: Forgetful) -> None:
        """Take the place of ``former``, of the same name, before anything is sent.

        What that still sends must not overtake what this one sends.
        """

    async def resend(self, read: ReadPages) -> Outcome:
        """Tell again what ``read`` yields, what has ended first, until a page is not taken."""
