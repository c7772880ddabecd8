"""Places at receivers: how many attempts each may have at a time, and how many a minute.

Owns which message has a place where. Receivers do not wait for each other: one whose places are
taken, whose rate is used up, or that asked to be left alone, is *full*, and the others go on.
Endpoints that rules name have, together, a bound of their own, so that however many of them stall,
configured channels go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

from alertd.channels.protocol import SendingLimits
from alertd.channels.rates import Rates
from alertd.model import Target
from alertd.outbound import Outgoing

MAX_ENDPOINT_ATTEMPTS: Final = 256
"""Attempts under way to endpoints that rules name, all together."""


class Places:
    """The places at every receiver.

    ``limits`` says what may be sent to a target, ``now_us`` is the daemon's clock.
    """

    def __init__(
        self,
        limits: Callable[[Target], SendingLimits],
        now_us: Callable[[], int],
        concurrency: int,
    ) -> None:
        self.concurrency = concurrency
        """Attempts at a time at a receiver for which nothing else is configured."""
        self._limits = limits
        self._now_us = now_us
        self._rates = Rates()
        self._holders: dict[str, Target] = {}
        self._taken: Counter[Target] = Counter()
        self._rests: dict[Target, int] = {}
        """Until when receivers asked to be left alone."""
        self._endpoint_attempts = 0

    @property
    def holders(self) -> Collection[str]:
        """The ids of the messages that have a place."""
        return self._holders.keys()

    def full(self) -> set[Target]:
        """Return the receivers of which it is known that they have no place left."""
        return {
            target
            for target in {*self._taken, *self._rates.targets(), *self._rests}
            if not self.has_room(target)
        }

    def has_room(self, target: Target) -> bool:
        """Return whether an attempt may begin there now."""
        if target.endpoint is not None and self._endpoint_attempts >= MAX_ENDPOINT_ATTEMPTS:
            return False
        if self._rests.get(target, 0) > self._now_us():
            return False
        self._rests.pop(target, None)
        limits = self._limits(target)
        if self._taken[target] >= (limits.concurrency or self.concurrency):
            return False
        return self._rates.wait_us(target, limits.per_minute, self._now_us()) == 0

    def rest(self, target: Target, until_us: int) -> None:
        """Begin no attempt there before ``until_us``."""
        self._rests[target] = max(until_us, self._rests.get(target, 0))

    def end_rest(self, target: Target) -> None:
        """Begin attempts there again, whatever it asked for."""
        self._rests.pop(target, None)

    def end_all_rests(self) -> None:
        """Begin attempts again everywhere: who is meant may be another receiver now."""
        self._rests.clear()

    def take(self, outgoing: Outgoing) -> None:
        """Give a message the place of an attempt that begins now."""
        target = outgoing.target
        self._holders[outgoing.id] = target
        self._taken[target] += 1
        self._endpoint_attempts += target.endpoint is not None
        if self._limits(target).per_minute is not None:
            self._rates.note(target, self._now_us())

    def free(self, message_id: str) -> None:
        """Take the place of a message back."""
        target = self._holders.pop(message_id)
        self._endpoint_attempts -= target.endpoint is not None
        self._taken[target] -= 1
        if not self._taken[target]:
            del self._taken[target]
