"""The outbox of ``delivery/dispatch.py`` in memory, with the same contract as the one on disk."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

import msgspec
import trio
from msgspec import Struct
from sortedcontainers import SortedList

from alertd.errors import StoreUnavailable
from alertd.model import Target
from alertd.outbound import DeliveryStatus, Outgoing, Settlement

PENDING = DeliveryStatus.RETRY_PENDING


class Row(Struct, frozen=True, kw_only=True):
    """A message about one incident, and how far it has come."""

    outgoing: Outgoing
    incident_id: str
    status: DeliveryStatus = PENDING
    last_error: str | None = None

    @property
    def id(self) -> str:
        return self.outgoing.id

    @property
    def attempts(self) -> int:
        return self.outgoing.attempts

    @property
    def key(self) -> tuple[int, str]:
        """Its place in the queue."""
        return self.outgoing.next_attempt_us, self.outgoing.id


class MemoryOutbox:
    """Messages by id. ``unavailable_writes`` and ``…_reads`` fail that many times.

    ``_siblings`` holds the pending ids of each incident and target in order of arrival,
    ``_queue`` the first of each by the time at which it is due.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.settlements: list[Settlement] = []
        self.settle_sizes: list[int] = []
        self.unavailable_writes = 0
        self.unavailable_reads = 0
        self._siblings: defaultdict[tuple[str, Target], deque[str]] = defaultdict(deque)
        self._queue: SortedList[tuple[int, str]] = SortedList()

    def add(self, *rows: Row) -> None:
        """Record messages; one that is there already is ignored."""
        for row in rows:
            if row.id in self.rows:
                continue
            self.rows[row.id] = row
            siblings = self._siblings[row.incident_id, row.outgoing.target]
            siblings.append(row.id)
            if len(siblings) == 1:
                self._queue.add(row.key)

    async def take_up(self) -> None:
        """Nothing is left by another process."""
        await trio.lowlevel.checkpoint()

    async def claim(
        self,
        now_us: int,
        *,
        limit: int,
        exclude: Collection[str],
        exclude_targets: Collection[Target],
    ) -> Sequence[Outgoing]:
        """Return what is due; the younger of two siblings waits."""
        await trio.lowlevel.checkpoint()
        if self.unavailable_reads:
            self.unavailable_reads -= 1
            raise StoreUnavailable("the disk is on holiday")
        found: list[Outgoing] = []
        for next_attempt_us, message_id in self._queue:
            outgoing = self.rows[message_id].outgoing
            if next_attempt_us > now_us or len(found) == limit:
                break
            if outgoing.id not in exclude and outgoing.target not in exclude_targets:
                found.append(outgoing)
        return found

    async def next_due_us(self) -> int | None:
        """Return the least due time."""
        await trio.lowlevel.checkpoint()
        return self._queue[0][0] if self._queue else None

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Apply settlements to messages that are still pending."""
        await trio.lowlevel.checkpoint()
        if self.unavailable_writes:
            self.unavailable_writes -= 1
            raise StoreUnavailable("the disk is full")
        self.settle_sizes.append(len(settlements))
        for settlement in settlements:
            self._settle(settlement)

    def _settle(self, settlement: Settlement) -> None:
        row = self.rows[settlement.id]
        assert row.status is PENDING, "a message that has ended is settled again"
        self.settlements.append(settlement)
        outgoing = msgspec.structs.replace(
            row.outgoing,
            attempts=settlement.attempts,
            next_attempt_us=settlement.next_attempt_us,
        )
        self.rows[row.id] = msgspec.structs.replace(
            row, outgoing=outgoing, status=settlement.status, last_error=settlement.last_error
        )
        self._queue.remove(row.key)
        siblings = self._siblings[row.incident_id, row.outgoing.target]
        if settlement.status is not PENDING:
            siblings.popleft()
        if siblings:
            self._queue.add(self.rows[siblings[0]].key)
