"""Messages on their way: what is to be sent now, and what became of it.

Owns the table ``messages`` once a row is in it, and ``attempts``, one row for each. Invariants: of
one group the messages are offered one at a time, in the order in which they were recorded, so
nobody is told of an end before the beginning; one that keeps failing holds up only those that
tell of the same incidents. A message that has been offered takes nothing more in. One that has
ended is never offered again, unless somebody asks for it. Leaves making messages to
``posting.py``, and retry times and sending to ``delivery/dispatch.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec

from alertd.model import DeliveryStatus, Outgoing, Settlement, Target
from alertd.store import timeline
from alertd.store.deliveries import (
    Delivery,
    DeliveryQuery,
    check_delivery_query,
    read_deliveries,
)
from alertd.store.history import Page
from alertd.store.readers import Readers
from alertd.store.receipts import note_receipt, read_earlier
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
                ON theirs.incident_id = mine.incident_id AND theirs.message_seq = elder.seq
              WHERE mine.message_seq = m.seq
          ))
    )"""

_DUE: Final = f"""
    SELECT seq, id, channel, endpoint, group_key, is_open, collapses, begun_us, attempts,
           next_attempt_us
    FROM messages m
    WHERE status = 'RETRY_PENDING' AND next_attempt_us <= ?
      AND id NOT IN (SELECT value FROM json_each(?))
      AND NOT EXISTS (
          SELECT 1 FROM json_each(?)
          WHERE value ->> 0 = m.channel AND value ->> 1 IS m.endpoint
      )
      AND {_TURN}
    ORDER BY next_attempt_us, seq
    LIMIT ?"""  # noqa: S608  # constants

_NEXT_DUE: Final = f"""
    SELECT next_attempt_us FROM messages m
    WHERE status = 'RETRY_PENDING' AND {_TURN}
    ORDER BY next_attempt_us
    LIMIT 1"""  # noqa: S608  # constants

_Bindings = tuple[int, str, str, int]


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
        """Return up to ``limit`` messages to send now, the longest due first.

        Leaves out those whose id is in ``exclude``, whose target is in ``exclude_targets``, or
        that must wait for an elder one of their group. What is returned is closed. Costs a
        transaction only where a message has to be closed, or may be collapsed, first.
        """
        targets = [(target.channel, target.endpoint) for target in exclude_targets]
        bindings = (now_us, _json(list(exclude)), _json(targets), limit)
        found = await self._readers.run("read the outbox", partial(_due, bindings))
        if all(message.is_ready for message in found):
            return [message.outgoing for message in found]
        return await self._writer.run(
            "close messages", partial(_close_and_read, bindings), must_go_on=True
        )

    async def next_due_us(self) -> int | None:
        """Return when the next message is due; None if none is left to deliver.

        It counts what is being sent now, but not what waits for an elder one.
        """
        return await self._readers.run("read the outbox", _next_due_us)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record what became of attempts.

        Doing it twice is harmless: a message that has ended stays as it ended.
        """
        await self._writer.run("settle messages", partial(_settle, settlements), must_go_on=True)

    async def requeue(self, message_id: str, now_us: int) -> DeliveryStatus | None:
        """Have a message that ended as FAILED sent again, at once, as if it were new.

        Returns its status before, None if there is none of that id; only FAILED is changed.
        """
        return await self._writer.run(
            "requeue a notification", partial(_requeue, message_id, now_us)
        )

    async def page(self, query: DeliveryQuery) -> Page[Delivery]:
        """Return a page of messages, the newest first. Raises ``InvalidInput``."""
        check_delivery_query(query)
        return await self._readers.run("list notifications", partial(read_deliveries, query))

    async def told(self, channel: str, place: Place) -> Told:
        """Return a page of what ``channel`` was told of and is on, or has ended lately."""
        return await self._readers.run("read what was told", partial(read_told, channel, place))

    async def counts(self) -> dict[DeliveryStatus, int]:
        """Return how many messages there are of each status, all of them named."""
        return await self._readers.run("count the notifications", _counts)


class _Due(msgspec.Struct, frozen=True):
    seq: int
    is_open: bool
    collapses: bool
    outgoing: Outgoing

    @property
    def is_ready(self) -> bool:
        """Whether it can be sent just as it is."""
        return not self.is_open and not (self.collapses and self.outgoing.attempts)


def _due(bindings: _Bindings, connection: apsw.Connection) -> list[_Due]:
    return [
        _Due(
            seq,
            bool(is_open),
            bool(collapses),
            Outgoing(
                id=message_id,
                target=Target(channel, endpoint),
                group_key=group_key,
                parts=_parts(connection, seq),
                begun_us=begun_us,
                attempts=attempts,
                next_attempt_us=next_attempt_us,
                earlier=None if endpoint else read_earlier(connection, seq, channel),
            ),
        )
        for (
            seq,
            message_id,
            channel,
            endpoint,
            group_key,
            is_open,
            collapses,
            begun_us,
            attempts,
            next_attempt_us,
        ) in list(connection.execute(_DUE, bindings))
    ]


def _parts(connection: apsw.Connection, seq: int) -> tuple[tuple[str, bytes], ...]:
    rows = connection.execute(
        "SELECT kind, view FROM notifications WHERE message_seq = ? ORDER BY seq", (seq,)
    )
    return tuple((kind, view.encode()) for kind, view in rows)


def _close_and_read(bindings: _Bindings, connection: apsw.Connection) -> list[Outgoing]:
    for message in _due(bindings, connection):
        if message.collapses and message.outgoing.attempts:
            _collapse(connection, message, bindings[0])
    found = _due(bindings, connection)  # others than before: a collapse ends whole messages
    connection.executemany(
        "UPDATE messages SET is_open = 0 WHERE seq = ?",
        [(message.seq,) for message in found if message.is_open],
    )
    return [message.outgoing for message in found]


_ENDS_OF: Final = """
    SELECT begun.seq, begun.id, begun.incident_id, ended.message_seq
    FROM notifications begun
    JOIN notifications ended INDEXED BY notifications_of_incident
      ON ended.incident_id = begun.incident_id AND ended.seq > begun.seq
     AND ended.kind = 'resolved' AND ended.channel = begun.channel
     AND ended.endpoint IS begun.endpoint
    JOIN messages later ON later.seq = ended.message_seq
    WHERE begun.message_seq = ? AND later.seq > begun.message_seq AND later.attempts = 0
      AND later.status = 'RETRY_PENDING'"""


def _collapse(connection: apsw.Connection, message: _Due, now_us: int) -> None:
    """Have incidents that ended while ``message`` failed be told by the message of their end.

    That one was never offered, so its content is still free; and this one's key may be missing
    some content at its next attempt, but never has any that the receiver has not seen under it.
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
            detail=f"{message.outgoing.target.channel}: told together with its end, after "
            f"{message.outgoing.attempts} attempts",
            notification_id=notification_id,
        )
        timeline.write(connection, [(incident_id, line)])
        timeline.keep_attempts(connection, incident_id, notification_id, message.seq)
    connection.execute(
        "UPDATE messages SET parts = parts - ? WHERE seq = ?", (len(moved), message.seq)
    )
    connection.execute("DELETE FROM messages WHERE seq = ? AND parts = 0", (message.seq,))


def _next_due_us(connection: apsw.Connection) -> int | None:
    next_us: int | None = connection.execute(_NEXT_DUE).get
    return next_us


def _settle(settlements: Sequence[Settlement], connection: apsw.Connection) -> None:
    for settlement in settlements:
        settled_us = None if settlement.status is DeliveryStatus.RETRY_PENDING else settlement.at_us
        seq = connection.execute(
            "UPDATE messages SET status = ?, attempts = ?, next_attempt_us = ?, "
            "last_error = ?, settled_us = ? WHERE id = ? AND status = 'RETRY_PENDING' "
            "RETURNING seq",
            (
                settlement.status.value,
                settlement.attempts,
                settlement.next_attempt_us,
                settlement.last_error,
                settled_us,
                settlement.id,
            ),
        ).get
        if seq is not None:
            if settlement.receipt:
                note_receipt(connection, seq, settlement.receipt)
            detail = settlement.last_error or settlement.note
            connection.execute(
                "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?)",
                (seq, settlement.at_us, settlement.status.value, detail),
            )


def _requeue(message_id: str, now_us: int, connection: apsw.Connection) -> DeliveryStatus | None:
    row = connection.execute(
        "SELECT seq, status, channel FROM messages WHERE id = ?", (message_id,)
    ).fetchone()
    if row is None:
        return None
    seq, status, channel = row
    if status == DeliveryStatus.FAILED.value:
        connection.execute(
            "UPDATE messages SET status = 'RETRY_PENDING', attempts = 0, begun_us = ?, "
            "next_attempt_us = ?, settled_us = NULL WHERE seq = ?",
            (now_us, now_us, seq),
        )
        told = list(
            connection.execute(
                "SELECT incident_id, id FROM notifications WHERE message_seq = ?", (seq,)
            )
        )
        timeline.write(
            connection,
            [
                (incident_id, TimelineEntry(now_us, TimelineEvent.REQUEUED, channel, notification))
                for incident_id, notification in told
            ],
        )
    return DeliveryStatus(status)


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


def _json(values: Sequence[object]) -> str:
    return msgspec.json.encode(values).decode()
