"""Receivers with a mood: they take messages, refuse them, take long, or take them and say no.

A receiver keeps what it got, in the order in which it got it; the checkers read that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import Final, NamedTuple

import trio

from alertd.channels.message import Message
from alertd.channels.protocol import (
    Channel,
    Delivered,
    Forgetful,
    Outcome,
    Permanent,
    Retryable,
    SendingLimits,
    UnknownChannel,
)
from alertd.model import Target

NAMES: Final = ("pager", "wall")
PLACES: Final = 2
"""Attempts at a time at each."""


class Mood(Enum):
    """How a receiver behaves."""

    GOOD = auto()
    SLOW = auto()
    """Takes each message, after seconds."""
    DOWN = auto()
    FLAPPING = auto()
    """Anything, by chance."""
    DEAF = auto()
    """Hangs until the attempt's deadline."""
    FORGETFUL = auto()
    """Takes each message, and its answer is lost."""
    OFFENDED = auto()
    """Refuses for good what it gets."""


class Delivery(NamedTuple):
    """A message that arrived."""

    at_us: int
    """By the daemon's clock."""
    life: int
    channel: str
    message: Message


class Attempt(NamedTuple):
    """An attempt that ended."""

    begun_us: int
    ended_us: int
    life: int
    channel: str
    key: str
    outcome: Outcome


@dataclass
class Receivers:
    """All of them, over all lives of the daemon."""

    random: Random
    is_dead: Callable[[], bool]
    """Whether the daemon has died: then nothing arrives any more."""
    note: Callable[..., None]
    moods: dict[str, Mood] = field(default_factory=lambda: dict.fromkeys(NAMES, Mood.GOOD))
    life: int = 0
    now_us: Callable[[], int] = lambda: 0
    """The daemon's clock."""
    deliveries: list[Delivery] = field(default_factory=list)
    refusals: list[Delivery] = field(default_factory=list)
    """What was refused for good."""
    attempts: list[Attempt] = field(default_factory=list)
    """In the order in which they ended."""
    forgotten: int = 0
    """Messages that arrived and were answered as if they had not."""
    under_way: Counter[str] = field(default_factory=Counter)
    most_under_way: int = 0

    def names(self) -> frozenset[str]:
        """Return what a rule may name."""
        return frozenset(NAMES)

    def for_target(self, target: Target) -> Channel:
        """Return the channel that leads to a receiver."""
        if target.channel not in NAMES:
            raise UnknownChannel(f"there is no channel {target.channel!r}")
        return _Line(self, target.channel)

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``: as much as to any."""
        return SendingLimits()

    def forgetful(self) -> dict[str, Forgetful]:
        """Return none: these receivers forget nothing."""
        return {}

    async def take(self, name: str, message: Message) -> Outcome:
        """Make of one attempt what the receiver's mood makes of it."""
        begun_us, key = self.now_us(), message.idempotency_key
        self.under_way[name] += 1
        self.most_under_way = max(self.most_under_way, self.under_way[name])
        try:
            outcome = await self._take(name, message)
        finally:
            self.under_way[name] -= 1
        ended = Attempt(begun_us, self.now_us(), self.life, name, key, outcome)
        self.attempts.append(ended)
        return outcome

    async def _take(self, name: str, message: Message) -> Outcome:
        mood = self.moods[name]
        if mood is Mood.FLAPPING:
            mood = self.random.choice(list(Mood)[:-1])
        await trio.sleep(self.random.choice((0.0, 0.01, 0.3)))
        match mood:
            case Mood.DOWN:
                return Retryable("connection refused", was_refused=True)
            case Mood.DEAF:
                await trio.sleep(10)
                return Retryable("no answer within 10 s")
            case Mood.OFFENDED:
                self.refusals.append(Delivery(self.now_us(), self.life, name, message))
                return Permanent("410 Gone")
            case Mood.SLOW:
                await trio.sleep(self.random.choice((1.0, 4.0)))
            case _:
                pass
        if self.is_dead():
            return Retryable("the sender is dead")
        self.deliveries.append(Delivery(self.now_us(), self.life, name, message))
        self.note("delivered", name, message.kind.value, message.idempotency_key)
        if mood is Mood.FORGETFUL:
            self.forgotten += 1
            return Retryable("the answer was lost")
        return Delivered()


class _Line:
    """A ``Channel`` to one receiver."""

    def __init__(self, receivers: Receivers, name: str) -> None:
        self.redacted_endpoint = name
        self._receivers = receivers
        self._name = name

    async def send(self, message: Message) -> Outcome:
        """Make one attempt."""
        return await self._receivers.take(self._name, message)

    async def aclose(self) -> None:
        """There is nothing to release."""
