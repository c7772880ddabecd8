"""What people have sent again, or now.

Owns what becomes of a message that somebody asks for. Invariant: also then nobody hears of a
beginning last that has ended: an end that was told already is told again behind it, by a message
of its own, so that each key goes on standing for one content; one that was given up as well is
requeued with it, and one that was laid to rest because nobody heard of the beginning is looked at.
"""

from __future__ import annotations

import uuid
from typing import Final, NamedTuple

import apsw
from msgspec import structs

from alertd.model import NAMESPACE, Target
from alertd.notify.review import RESOLVED
from alertd.outbound import DeliveryStatus, Notification
from alertd.store import timeline
from alertd.store.posting import post
from alertd.store.timeline import TimelineEntry, TimelineEvent


class Requeued(NamedTuple):
    """A message that somebody asked for."""

    target: Target
    before: DeliveryStatus
    """What it was then; what was delivered stays so."""


def requeue(message_id: str, now_us: int, connection: apsw.Connection) -> Requeued | None:
    """Have a message sent at ``now_us``; return what it was before, None if there is none.

    One that was given up begins anew, and what its receiver is to know of ends follows it. One
    that waits keeps its count of attempts, and what must be sent before it is sent now, too. One
    that was delivered stays as it is.
    """
    row = connection.execute(
        "SELECT seq, status, channel, endpoint, group_key, next_attempt_us FROM messages "
        "WHERE id = ?",
        (message_id,),
    ).fetchone()
    if row is None:
        return None
    seq, status, channel, endpoint, group_key, next_attempt_us = row
    before = DeliveryStatus(status)
    match before:
        case DeliveryStatus.FAILED:
            connection.execute(
                "UPDATE messages SET status = 'RETRY_PENDING', attempts = 0, haste = 0, "
                "begun_us = ?, next_attempt_us = ?, settled_us = NULL WHERE seq = ?",
                (now_us, now_us, seq),
            )
            post(connection, _heard_ends(connection, seq, now_us))
            _tell_untold_ends(connection, seq, now_us)
        case DeliveryStatus.RETRY_PENDING:
            connection.execute(
                "UPDATE messages INDEXED BY messages_waiting SET haste = 1, next_attempt_us = ? "
                "WHERE status = 'RETRY_PENDING' AND channel = ? AND endpoint IS ? "
                "AND group_key = ? AND seq <= ? AND next_attempt_us > ?",
                (now_us, channel, endpoint, group_key, seq, now_us),
            )
    if before is DeliveryStatus.FAILED or (
        before is DeliveryStatus.RETRY_PENDING and next_attempt_us > now_us
    ):
        _note(connection, seq, TimelineEntry(now_us, TimelineEvent.REQUEUED, channel))
    return Requeued(Target(channel, endpoint), before)


# An end that is being sent may arrive before what is requeued; one that waits longer cannot.
_HEARD_ENDS: Final = """
    SELECT i.id, ended.id, ended.rule_id, ended.group_key, ended.view, ended.channel,
           ended.endpoint
    FROM notifications begun
    JOIN incidents i ON i.seq = begun.incident_seq
    JOIN notifications ended INDEXED BY notifications_of_incident
      ON ended.incident_seq = begun.incident_seq AND ended.kind = 'resolved'
     AND ended.channel = begun.channel AND ended.endpoint IS begun.endpoint
    JOIN messages m ON m.seq = ended.message_seq
    WHERE begun.message_seq = ?1 AND begun.kind != 'resolved' AND m.seq != ?1
      AND (m.status = 'SUCCESS'
           OR (m.status = 'RETRY_PENDING' AND NOT m.is_open AND m.next_attempt_us <= ?2))
      AND NOT EXISTS (SELECT 1 FROM notifications own INDEXED BY notifications_of_incident
                      WHERE own.incident_seq = i.seq AND own.message_seq = ?1
                        AND own.kind = 'resolved')
    ORDER BY ended.seq"""


def _heard_ends(connection: apsw.Connection, seq: int, now_us: int) -> list[Notification]:
    """Return what tells again of the ends that a message, sent now, would come too late for.

    Else its receiver would take for on what is over.
    """
    ends = {
        incident_id: Notification(
            id=str(uuid.uuid5(NAMESPACE, f"again\x1d{ended_id}\x1d{now_us}")),
            incident_id=incident_id,
            rule_id=rule_id,
            kind=RESOLVED,
            target=Target(channel, endpoint),
            group_key=group_key,
            view=view.encode(),
            created_us=now_us,
        )
        for incident_id, ended_id, rule_id, group_key, view, channel, endpoint in list(
            connection.execute(_HEARD_ENDS, (seq, now_us))
        )
    }
    return list(ends.values())


# Of an incident of which one end was told, or waits, no other is.
_UNTOLD_ENDS: Final = """
    SELECT max(ended.seq), m.id
    FROM notifications begun
    JOIN notifications ended INDEXED BY notifications_of_incident
      ON ended.incident_seq = begun.incident_seq AND ended.kind = 'resolved'
     AND ended.channel = begun.channel AND ended.endpoint IS begun.endpoint
    LEFT JOIN messages m ON m.seq = ended.message_seq
    WHERE begun.message_seq = ?1 AND begun.kind != 'resolved'
      AND (m.status = 'FAILED' OR (m.seq IS NULL AND ended.look_us IS NULL))
      AND NOT EXISTS (SELECT 1 FROM notifications other INDEXED BY notifications_of_incident
                      LEFT JOIN messages o ON o.seq = other.message_seq
                      WHERE other.incident_seq = ended.incident_seq AND other.kind = 'resolved'
                        AND other.channel = ended.channel AND other.endpoint IS ended.endpoint
                        AND (o.status != 'FAILED'
                             OR (o.seq IS NULL AND other.look_us IS NOT NULL)))
    GROUP BY ended.incident_seq ORDER BY ended.seq"""


def _tell_untold_ends(connection: apsw.Connection, seq: int, now_us: int) -> None:
    """Have ends told that nobody was to hear of, or that were given up, as the beginning was."""
    for ended_seq, message_id in list(connection.execute(_UNTOLD_ENDS, (seq,))):
        if message_id is None:
            connection.execute(
                "UPDATE notifications SET look_us = ? WHERE seq = ?", (now_us, ended_seq)
            )
        else:
            requeue(message_id, now_us, connection)


def _note(connection: apsw.Connection, seq: int, line: TimelineEntry) -> None:
    """Write ``line`` on the timelines of all that the message tells of."""
    told = list(
        connection.execute(
            "SELECT i.id, n.id FROM notifications n JOIN incidents i ON i.seq = n.incident_seq "
            "WHERE n.message_seq = ?",
            (seq,),
        )
    )
    lines = [(incident_id, structs.replace(line, notification_id=one)) for incident_id, one in told]
    timeline.write(connection, lines)
