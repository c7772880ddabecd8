"""Notifications on their way: what is due, and what became of it.

Owns the table ``notifications`` once a row is in it. Invariant: of one incident the
notifications to one target are offered one at a time, in the order in which they were recorded,
so nobody is told of an end before the beginning. A settled row is never offered again. Leaves
inserting to ``incidents.py``, and retry times and sending to ``dispatch.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import apsw
import msgspec

from alertd.model import DeliveryStatus, Notification, Settlement, Target
from alertd.store import timeline
from alertd.store.readers import Readers
from alertd.store.timeline import TimelineEntry, TimelineEvent
from alertd.store.writer import Writer

_HEAD: Final = """
    NOT EXISTS (
        SELECT 1 FROM notifications elder INDEXED BY notifications_of_incident
        WHERE elder.incident_id = n.incident_id AND elder.seq < n.seq
          AND elder.channel = n.channel AND elder.endpoint IS n.endpoint
          AND elder.status = 'RETRY_PENDING'
    )"""

_DUE: Final = f"""
    SELECT id, incident_id, rule_id, kind, channel, endpoint, message, created_us, attempts,
           next_attempt_us, last_error
    FROM notifications n
    WHERE status = 'RETRY_PENDING' AND next_attempt_us <= ?
      AND id NOT IN (SELECT value FROM json_each(?))
      AND NOT EXISTS (
          SELECT 1 FROM json_each(?)
          WHERE value ->> 0 = n.channel AND value ->> 1 IS n.endpoint
      )
      AND {_HEAD}
    ORDER BY next_attempt_us, seq
    LIMIT ?"""  # noqa: S608  # constants

_NEXT_DUE: Final = f"""
    SELECT next_attempt_us FROM notifications n
    WHERE status = 'RETRY_PENDING' AND {_HEAD}
    ORDER BY next_attempt_us
    LIMIT 1"""  # noqa: S608  # constants

_LINE_OF: Final = {
    DeliveryStatus.SUCCESS: TimelineEvent.SENT,
    DeliveryStatus.RETRY_PENDING: TimelineEvent.RETRY,
    DeliveryStatus.FAILED: TimelineEvent.FAILED,
}


class Outbox:
    """The durable queue of notifications. The table is the queue: a restart loses nothing."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def due(
        self,
        now_us: int,
        *,
        limit: int,
        exclude: Collection[str] = (),
        exclude_targets: Collection[Target] = (),
    ) -> list[Notification]:
        """Return up to ``limit`` notifications to send now, the longest due first.

        Leaves out those whose id is in ``exclude``, whose target is in ``exclude_targets``, or
        whose elder sibling (same incident and target) is still to be delivered.
        """
        ids = msgspec.json.encode(list(exclude)).decode()
        targets = [(target.channel, target.endpoint) for target in exclude_targets]
        bindings = (now_us, ids, msgspec.json.encode(targets).decode(), limit)
        return await self._readers.run("read the outbox", partial(_due, bindings))

    async def next_due_us(self) -> int | None:
        """Return when the next notification is due; None if none is left to deliver.

        It counts what is being sent now, but not what waits for its elder sibling.
        """
        return await self._readers.run("read the outbox", _next_due_us)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record what became of attempts, with a line in each incident's timeline.

        Doing it twice is harmless: a notification that has ended stays as it ended.
        """
        await self._writer.run(
            "settle notifications", partial(_settle, settlements), must_go_on=True
        )

    async def counts(self) -> dict[DeliveryStatus, int]:
        """Return how many notifications there are of each status, all of them named."""
        return await self._readers.run("count the notifications", _counts)


def _due(bindings: tuple[int, str, str, int], connection: apsw.Connection) -> list[Notification]:
    return [
        Notification(
            id=notification_id,
            incident_id=incident_id,
            rule_id=rule_id,
            kind=kind,
            target=Target(channel, endpoint),
            message=message.encode(),
            created_us=created_us,
            attempts=attempts,
            next_attempt_us=next_attempt_us,
            last_error=last_error,
        )
        for (
            notification_id,
            incident_id,
            rule_id,
            kind,
            channel,
            endpoint,
            message,
            created_us,
            attempts,
            next_attempt_us,
            last_error,
        ) in connection.execute(_DUE, bindings)
    ]


def _next_due_us(connection: apsw.Connection) -> int | None:
    next_us: int | None = connection.execute(_NEXT_DUE).get
    return next_us


def _settle(settlements: Sequence[Settlement], connection: apsw.Connection) -> None:
    for settlement in settlements:
        settled_us = None if settlement.status is DeliveryStatus.RETRY_PENDING else settlement.at_us
        row = connection.execute(
            "UPDATE notifications SET status = ?, attempts = ?, next_attempt_us = ?, "
            "last_error = ?, settled_us = ? WHERE id = ? AND status = 'RETRY_PENDING' "
            "RETURNING incident_id, channel",
            (
                settlement.status.value,
                settlement.attempts,
                settlement.next_attempt_us,
                settlement.last_error,
                settled_us,
                settlement.id,
            ),
        ).fetchone()
        if row is not None:
            incident_id, channel = row
            timeline.write(connection, [(incident_id, _line(settlement, channel))])


def _line(settlement: Settlement, channel: str) -> TimelineEntry:
    reason = settlement.last_error
    return TimelineEntry(
        at_us=settlement.at_us,
        what=_LINE_OF[settlement.status],
        detail=channel if reason is None else f"{channel}: {reason}",
        notification_id=settlement.id,
    )


def _counts(connection: apsw.Connection) -> dict[DeliveryStatus, int]:
    """Count by way of the small indexes: a table of messages would be slow to scan."""
    pending: int
    failed: int
    total: int
    pending, failed, total = connection.execute(
        "SELECT (SELECT count(*) FROM notifications WHERE status = 'RETRY_PENDING'), "
        "(SELECT count(*) FROM notifications WHERE status = 'FAILED'), "
        "(SELECT count(*) FROM notifications)"
    ).get
    return {
        DeliveryStatus.FAILED: failed,
        DeliveryStatus.RETRY_PENDING: pending,
        DeliveryStatus.SUCCESS: total - pending - failed,
    }
