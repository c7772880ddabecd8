"""Which receivers fail now, since when and why: for those who ask how the daemon is doing.

Owns what the last outcome at each receiver was, since the start. A receiver fails from its first
refusal on until it takes a message; one for which nothing waits any more is forgotten when
somebody looks. What waits for whom is in the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from alertd.model import Target
from alertd.outbound import DeliveryStatus, Outgoing, Settlement

MAX_REMEMBERED: Final = 1000
"""Receivers; of more, those that began to fail later are not remembered."""
MAX_SHOWN: Final = 20


class FailingReceiver(Struct, frozen=True):
    """A receiver that has refused since it last took a message."""

    target: Target
    since_us: int
    """Of the first refusal; of a message that an earlier process tried, when it was begun."""
    last_error: str


class FailingReceivers:
    """What became of the last attempt at each receiver."""

    def __init__(self) -> None:
        self._failing: dict[Target, FailingReceiver] = {}

    def note(self, outgoing: Outgoing, settlement: Settlement) -> None:
        """Take note of an outcome. One message that is refused for good says nothing of others."""
        target = outgoing.target
        if settlement.status is DeliveryStatus.SUCCESS:
            self._failing.pop(target, None)
        elif settlement.status is DeliveryStatus.RETRY_PENDING:
            known = self._failing.get(target)
            if known is None and len(self._failing) >= MAX_REMEMBERED:
                return
            first_us = outgoing.begun_us if outgoing.attempts else settlement.at_us
            since_us = first_us if known is None else known.since_us
            self._failing[target] = FailingReceiver(target, since_us, settlement.last_error or "")

    def longest(self) -> list[FailingReceiver]:
        """Return those that have failed for longest, at most ``MAX_SHOWN``."""
        return sorted(self._failing.values(), key=lambda one: one.since_us)[:MAX_SHOWN]

    def forget_idle(self, waiting: Mapping[Target, int]) -> None:
        """Forget those of ``waiting``, which says how many messages wait, for whom none does."""
        for target, count in waiting.items():
            if not count:
                self._failing.pop(target, None)
