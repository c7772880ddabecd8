"""What people may ask of notifications, and what follows from it.

Owns the refusals, the counting and the log lines, and wakes whoever sends. Leaves the rows to the
store and the sending to ``dispatch.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from alertd.errors import Conflict, NotFound
from alertd.metrics import Metrics
from alertd.model import DeliveryStatus

log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """The part of the outbox that is needed here."""

    async def requeue(self, message_id: str, now_us: int) -> DeliveryStatus | None:
        """Have a failed message sent again; return its status before, None if there is none."""
        ...


class Notifier:
    """Does what people ask, on the store, and lets dispatch know."""

    def __init__(
        self,
        outbox: Outbox,
        now_us: Callable[[], int],
        metrics: Metrics,
        wake: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._now_us = now_us
        self._metrics = metrics
        self._wake = wake

    async def requeue(self, message_id: str) -> None:
        """Send a message that ended as FAILED again, now. Raises ``NotFound`` and ``Conflict``."""
        before = await self._outbox.requeue(message_id, self._now_us())
        if before is None:
            raise NotFound(f"there is no notification with the id {message_id[:100]!r}")
        if before is not DeliveryStatus.FAILED:
            raise Conflict(
                f"the notification is {before.value}; only one that is FAILED can be sent again"
            )
        self._metrics.notifications_requeued.inc()
        log.info("notification requeued", notification=message_id)
        self._wake()
