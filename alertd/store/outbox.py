"""Messages on their way: what is to be sent now, and what became of it.

Owns the table ``messages`` once a row is in it, and ``attempts``, one row for each. Invariants: of
one group the messages are offered one at a time, in the order in which they were recorded, so
nobody is told of an end before the beginning; one that keeps failing holds up only those that tell
of the same incidents. A message that has been offered takes nothing more in, and what a receiver
may have taken of it stays in it: each notification reaches a receiver under one key, and each key
with one content. One that has ended is never offered again, unless somebody asks for it. Leaves
making messages to ``posting.py``, retry times to ``delivery/attempt.py``, and sending to
``delivery/dispatch.py``.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Final

import apsw
import msgspec

from alertd.model import NAMESPACE, Target
from alertd.outbound import DeliveryStatus, Outgoing, Settlement
from alertd.store import timeline
from alertd.store.deliveries import (
    Delivery,
    DeliveryQuery,
    check_delivery_query,
    read_deliveries,
)
from alertd.store.history import Page
from alertd.store.hurry import NEXT_HASTE, hurry
from alertd.store.readers import Readers
from alertd.store.receipts import note_receipt, read_earlier
from alertd.store.requeue import Requeued, requeue
from alertd.store.timeline import TimelineEntry, TimelineEvent
from alertd.store.told import Place, Told, read_told
from alertd.store.writer import Writer

# A message holds up its whole group for 8 attempts: some four minutes with the defaults.
_TURN: Final = """
    NOT EXISTS (
        SELECT 1 FROM messages elder INDEXED BY messages_waiting
        WHERE elder.channel = m.channel AND elder.endpoint IS m.endpoint
          AND elder.group_key = m.group_key AND elder.seq < m.seq
          AND elder.status = 'RETRY_PENDING'
          AND (elder.attempts < 8 OR EXISTS (
              SELECT 1 FROM notifications mine
              JOIN notifications theirs INDEXED BY notifications_of_incident
                ON theirs.incident_seq = mine.incident_seq AND theirs.message_seq = elder.seq
              WHERE mine.message_seq = m.seq
          ))
    )"""

DUE: Final = f"""
    SELECT seq, id, group_key, is_open, collapses AND NOT may_have_arrived, begun_us, attempts,
           next_attempt_us
    FROM messages m INDEXED BY messages_due
    WHERE status = 'RETRY_PENDING' AND channel = ? AND coalesce(endpoint, '') = ?
      AND next_attempt_us <= ? AND id NOT IN (SELECT value FROM json_each(?)) AND {_TURN}
    ORDER BY next_attempt_us, seq
    LIMIT ?"""  # noqa: S608  # constants
"""What is due for one receiver, the longest due first."""

NEXT_ENDPOINT: Final = """
    SELECT endpoint, next_attempt_us FROM messages INDEXED BY messages_due
    WHERE status = 'RETRY_PENDING' AND channel = ? AND coalesce(endpoint, '') > ?
    ORDER BY coalesce(endpoint, ''), next_attempt_us LIMIT 1"""
NEXT_CHANNEL: Final = """
    SELECT channel, endpoint, next_attempt_us FROM messages INDEXED BY messages_due
    WHERE status = 'RETRY_PENDING' AND channel > ?
    ORDER BY channel, coalesce(endpoint, ''), next_attempt_us LIMIT 1"""
"""The receiver behind another one of those for whom anything waits, with what is due first for
it: one look at the index."""

_NEXT_DUE: Final = f"""
    SELECT next_attempt_us FROM messages m
    WHERE status = 'RETRY_PENDING' AND {_TURN}
    ORDER BY next_attempt_us
    LIMIT 1"""  # noqa: S608  # constants


_BEHIND_KIND: Final = b"\x1f"
_BETWEEN_PARTS: Final = b"\x1e"
"""No JSON has such a character in it (RFC 8259, section 7)."""
# In one step, in which others have the interpreter: a thousand rows one by one let go of it and ask
# for it again a thousand times, and commits took five times as long meanwhile.
_PARTS: Final = f"""
    SELECT CAST(group_concat(part, x'{_BETWEEN_PARTS.hex()}') AS BLOB) FROM (
        SELECT kind || x'{_BEHIND_KIND.hex()}' || view AS part
        FROM notifications WHERE message_seq = ? ORDER BY seq
    )"""  # noqa: S608  # constants


class _Claim(msgspec.Struct, frozen=True):
    """What is asked for."""

    now_us: int
    exclude: str
    """JSON array of message ids."""
    exclude_targets: frozenset[Target]
    limit: int


class Outbox:
    """The durable queue of messages. The table is the queue: a restart loses nothing."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def claim(
        self,
        now_us: int,
        *,
        limit: int,
        exclude: Collection[str] = (),
        exclude_targets: Collection[Target] = (),
    ) -> list[Outgoing]:
        """Return up to ``limit`` messages to send now, the longest due of each receiver first.

        Leaves out those whose id is in ``exclude``, whose target is in ``exclude_targets``, or
        that must wait for an elder one of their group. What is returned is closed, and no loss of
        power can take it any more. Costs a transaction only where a message has to be closed, or
        may be collapsed, first; and a look at an index for each receiver for whom anything waits,
        however much that is. What is in the messages is read beside the writer.
        """
        claim = _Claim(now_us, _json(list(exclude)), frozenset(exclude_targets), limit)
        ready = await self._readers.run("read the outbox", partial(_ready, claim))
        if ready is not None:
            return ready
        closed = await self._writer.run("close messages", partial(_close, claim), must_go_on=True)
        return await self._readers.run("read the outbox", partial(_read, closed))

    async def take_up(self) -> None:
        """Take up what another process left.

        Nobody knows what became of the attempts that it was making, so those may have arrived.
        """
        await self._writer.run("take up the outbox", _take_up, must_go_on=True)

    async def next_due_us(self) -> int | None:
        """Return when the next message is due; None if none is left to deliver.

        It counts what is being sent now, but not what waits for an elder one.
        """
        return await self._readers.run("read the outbox", _next_due_us)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record what became of attempts; a success makes due what waits for the same receiver.

        Doing it twice is harmless: a message that has ended stays as it ended.
        """
        await self._writer.run("settle messages", partial(_settle, settlements), must_go_on=True)

    async def requeue(self, message_id: str, now_us: int) -> Requeued | None:
        """Have a message that ended as FAILED sent again as if it were new, one that waits now.

        Returns what it was before, None if there is none of that id.
        """
        return await self._writer.run(
            "requeue a notification", partial(requeue, message_id, now_us)
        )

    async def page(self, query: DeliveryQuery) -> Page[Delivery]:
        """Return a page of messages, the newest first. Raises ``InvalidParameters``."""
        check_delivery_query(query)
        return await self._readers.run("list notifications", partial(read_deliveries, query))

    async def told(self, channel: str, place: Place) -> Told:
        """Return a page of what ``channel`` was told of and is on, or has ended lately."""
        return await self._readers.run("read what was told", partial(read_told, channel, place))

    async def counts(self) -> dict[DeliveryStatus, int]:
        """Return how many messages there are of each status, all of them named."""
        return await self._readers.run("count the notifications", _counts)

    async def waiting_for(self, targets: Sequence[Target]) -> dict[Target, int]:
        """Return how many messages wait for each of ``targets``. O(what waits for them)."""
        return await self._readers.run("count what waits", partial(_waiting_for, targets))


class _Due(msgspec.Struct, frozen=True):
    """A message that is due, but for what is in it: its receiver, and the columns of ``DUE``."""

    target: Target
    seq: int
    id: str
    group_key: str
    is_open: int
    collapses: int
    begun_us: int
    attempts: int
    next_attempt_us: int

    @property
    def may_collapse(self) -> bool:
        """Whether what has ended may leave it: it was refused, so nobody has seen it."""
        return bool(self.collapses) and self.attempts > 0

    @property
    def is_ready(self) -> bool:
        """Whether it can be sent just as it is."""
        return not self.is_open and not self.may_collapse


def _due(claim: _Claim, connection: apsw.Connection) -> list[_Due]:
    receivers = sorted(
        (due_us, target.channel, target.endpoint or "", target)
        for target, due_us in _receivers(connection)
        if due_us <= claim.now_us and target not in claim.exclude_targets
    )
    found: list[_Due] = []
    for _, channel, endpoint, target in receivers:
        bindings = (channel, endpoint, claim.now_us, claim.exclude, claim.limit)
        found += [_Due(target, *row) for row in connection.execute(DUE, bindings)]
        if len(found) >= claim.limit:
            break
    found.sort(key=attrgetter("next_attempt_us", "seq"))
    return found[: claim.limit]


def _receivers(connection: apsw.Connection) -> Iterator[tuple[Target, int]]:
    """Yield those for whom anything waits, each with when the first of it is due."""
    channel = ""
    while row := connection.execute(NEXT_CHANNEL, (channel,)).fetchone():
        channel, endpoint, due_us = row
        yield Target(channel, endpoint), due_us
        while row := connection.execute(NEXT_ENDPOINT, (channel, endpoint or "")).fetchone():
            endpoint, due_us = row
            yield Target(channel, endpoint), due_us


def _ready(claim: _Claim, connection: apsw.Connection) -> list[Outgoing] | None:
    """Return what to send; None if something of it has to be closed first."""
    found = _due(claim, connection)
    return _read(found, connection) if all(message.is_ready for message in found) else None


def _read(found: Sequence[_Due], connection: apsw.Connection) -> list[Outgoing]:
    return [
        Outgoing(
            id=message.id,
            target=message.target,
            group_key=message.group_key,
            parts=_parts(connection, message.seq),
            begun_us=message.begun_us,
            attempts=message.attempts,
            next_attempt_us=message.next_attempt_us,
            earlier=None
            if message.target.endpoint
            else read_earlier(connection, message.seq, message.target.channel),
        )
        for message in found
    ]


def _parts(connection: apsw.Connection, seq: int) -> tuple[tuple[str, bytes], ...]:
    joined: bytes = connection.execute(_PARTS, (seq,)).get or b""
    parts = (part.partition(_BEHIND_KIND) for part in joined.split(_BETWEEN_PARTS) if part)
    return tuple((kind.decode(), view) for kind, _, view in parts)


def _close(claim: _Claim, connection: apsw.Connection) -> list[_Due]:
    found = _due(claim, connection)
    refused = [message for message in found if message.may_collapse]
    for message in refused:
        _collapse(connection, message, claim.now_us)
    if refused:
        found = _due(claim, connection)  # others than before: a collapse ends whole messages
    connection.executemany(
        "UPDATE messages SET is_open = 0, is_offered = 1 WHERE seq = ?",
        [(message.seq,) for message in found if not message.is_ready],
    )
    return found


def _take_up(connection: apsw.Connection) -> None:
    # The first attempt at a message that was never open leaves no trace of its beginning.
    connection.execute(
        "UPDATE messages SET may_have_arrived = 1, is_offered = 0 "
        "WHERE status = 'RETRY_PENDING' AND (is_offered OR (NOT is_open AND attempts = 0))"
    )


# Of an end that is told again the newest counts: an elder one may be on its way.
_ENDS_OF: Final = """
    SELECT begun.seq, begun.id, i.id, max(ended.message_seq)
    FROM notifications begun
    JOIN incidents i ON i.seq = begun.incident_seq
    JOIN notifications ended INDEXED BY notifications_of_incident
      ON ended.incident_seq = begun.incident_seq AND ended.seq > begun.seq
     AND ended.kind = 'resolved' AND ended.channel = begun.channel
     AND ended.endpoint IS begun.endpoint
    JOIN messages later ON later.seq = ended.message_seq
    WHERE begun.message_seq = ? AND later.seq > begun.message_seq AND later.attempts = 0
      AND later.status = 'RETRY_PENDING'
    GROUP BY begun.seq"""


def _collapse(connection: apsw.Connection, message: _Due, now_us: int) -> None:
    """Have incidents that ended while ``message`` was refused be told by the message of their end.

    Nobody has seen either: this one was refused, that one was never offered. So no beginning is
    told under two keys. What is left of this one gets a new key: a key stands for one content,
    also for a receiver that remembers what it refuses.
    """
    moved = list(connection.execute(_ENDS_OF, (message.seq,)))
    for notification_seq, notification_id, incident_id, later_seq in moved:
        connection.execute(
            "UPDATE notifications SET message_seq = ? WHERE seq = ?", (later_seq, notification_seq)
        )
        connection.execute(
            "UPDATE messages SET parts = parts + 1, next_attempt_us = min(next_attempt_us, ?) "
            "WHERE seq = ?",
            (now_us, later_seq),
        )
        line = TimelineEntry(
            at_us=now_us,
            what=TimelineEvent.COLLAPSED,
            detail=f"{message.target.channel}: told together with its end, after "
            f"{message.attempts} attempts",
            notification_id=notification_id,
        )
        timeline.write(connection, [(incident_id, line)])
        timeline.keep_attempts(connection, incident_id, notification_id, message.seq)
    if not moved:
        return
    rest_id = str(uuid.uuid5(NAMESPACE, f"rest\x1d{message.id}\x1d{message.attempts}"))
    connection.execute(
        "UPDATE messages SET parts = parts - ?, id = ? WHERE seq = ?",
        (len(moved), rest_id, message.seq),
    )
    connection.execute("DELETE FROM messages WHERE seq = ? AND parts = 0", (message.seq,))


def _next_due_us(connection: apsw.Connection) -> int | None:
    next_us: int | None = connection.execute(_NEXT_DUE).get
    return next_us


_SETTLE: Final = f"""
    UPDATE messages SET status = ?, attempts = ?, next_attempt_us = ?, last_error = ?,
        settled_us = ?, is_offered = 0, may_have_arrived = may_have_arrived OR ?,
        haste = {NEXT_HASTE}
    WHERE id = ? AND status = 'RETRY_PENDING'
    RETURNING seq, channel, endpoint"""  # noqa: S608  # constants


def _settle(settlements: Sequence[Settlement], connection: apsw.Connection) -> None:
    taken: dict[tuple[str, str | None], int] = {}
    for settlement in settlements:
        settled_us = None if settlement.status is DeliveryStatus.RETRY_PENDING else settlement.at_us
        row = connection.execute(
            _SETTLE,
            (
                settlement.status.value,
                settlement.attempts,
                settlement.next_attempt_us,
                settlement.last_error,
                settled_us,
                settlement.may_have_arrived,
                settlement.must_wait,
                settlement.id,
            ),
        ).fetchone()
        if row is not None:
            seq, channel, endpoint = row
            if settlement.status is DeliveryStatus.SUCCESS:
                taken[channel, endpoint] = settlement.at_us
            if settlement.receipt:
                note_receipt(connection, seq, settlement.receipt)
            detail = settlement.last_error or settlement.note
            connection.execute(
                "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?)",
                (seq, settlement.at_us, settlement.status.value, detail),
            )
    for (channel, endpoint), at_us in taken.items():
        hurry(connection, channel, endpoint, at_us)


def _counts(connection: apsw.Connection) -> dict[DeliveryStatus, int]:
    """Count by way of the small indexes: a table of messages would be slow to scan."""
    pending: int
    failed: int
    total: int
    pending, failed, total = connection.execute(
        "SELECT (SELECT count(*) FROM messages WHERE status = 'RETRY_PENDING'), "
        "(SELECT count(*) FROM messages WHERE status = 'FAILED'), "
        "(SELECT count(*) FROM messages)"
    ).get
    return {
        DeliveryStatus.FAILED: failed,
        DeliveryStatus.RETRY_PENDING: pending,
        DeliveryStatus.SUCCESS: total - pending - failed,
    }


def _waiting_for(targets: Sequence[Target], connection: apsw.Connection) -> dict[Target, int]:
    count = (
        "SELECT count(*) FROM messages INDEXED BY messages_due "
        "WHERE status = 'RETRY_PENDING' AND channel = ? AND coalesce(endpoint, '') = ?"
    )
    return {
        target: connection.execute(count, (target.channel, target.endpoint or "")).get
        for target in targets
    }


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
