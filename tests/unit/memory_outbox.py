"""The outbox of ``dispatch.py`` in memory, with the same contract as the one on disk."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

import msgspec
import trio
from sortedcontainers import SortedList

from alertd.errors import StoreUnavailable
from alertd.model import DeliveryStatus, Notification, Settlement, Target

PENDING = DeliveryStatus.RETRY_PENDING


class MemoryOutbox:
    """Notifications by id. ``unavailable_writes`` and ``…_reads`` fail that many times.

    ``_siblings`` holds the pending ids of each incident and target in order of arrival,
    ``_queue`` the first of each by the time at which it is due.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Notification] = {}
        self.settlements: list[Settlement] = []
        self.settle_sizes: list[int] = []
        self.unavailable_writes = 0
        self.unavailable_reads = 0
        self._siblings: defaultdict[tuple[str, Target], deque[str]] = defaultdict(deque)
        self._queue: SortedList[tuple[int, str]] = SortedList()

    def add(self, *notifications: Notification) -> None:
        """Record notifications; one that is there already is ignored."""
        for notification in notifications:
            if notification.id in self.rows:
                continue
            self.rows[notification.id] = notification
            siblings = self._siblings[notification.incident_id, notification.target]
            siblings.append(notification.id)
            if len(siblings) == 1:
                self._queue.add((notification.next_attempt_us, notification.id))

    async def due(
        self,
        now_us: int,
        *,
        limit: int,
        exclude: Collection[str],
        exclude_targets: Collection[Target],
    ) -> Sequence[Notification]:
        """Return what is due; the younger of two siblings waits."""
        await trio.lowlevel.checkpoint()
        if self.unavailable_reads:
            self.unavailable_reads -= 1
            raise StoreUnavailable("the disk is on holiday")
        found: list[Notification] = []
        for next_attempt_us, notification_id in self._queue:
            row = self.rows[notification_id]
            if next_attempt_us > now_us or len(found) == limit:
                break
            if row.id not in exclude and row.target not in exclude_targets:
                found.append(row)
        return found

    async def next_due_us(self) -> int | None:
        """Return the least due time."""
        await trio.lowlevel.checkpoint()
        return self._queue[0][0] if self._queue else None

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Apply settlements to notifications that are still pending."""
        await trio.lowlevel.checkpoint()
        if self.unavailable_writes:
            self.unavailable_writes -= 1
            raise StoreUnavailable("the disk is full")
        self.settle_sizes.append(len(settlements))
        for settlement in settlements:
            self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        row = self.rows[settlement.id]
        assert row.status is PENDING, "a notification that has ended is settled again"
        self.settlements.append(settlement)
        self.rows[row.id] = msgspec.structs.replace(
            row,
            status=settlement.status,
            attempts=settlement.attempts,
            next_attempt_us=settlement.next_attempt_us,
            last_error=settlement.last_error,
        )
        self._queue.remove((row.next_attempt_us, row.id))
        siblings = self._siblings[row.incident_id, row.target]
        if settlement.status is not PENDING:
            siblings.popleft()
        if siblings:
            head = self.rows[siblings[0]]
            self._queue.add((head.next_attempt_us, head.id))
