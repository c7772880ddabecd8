"""What brings an attempt forward: a success at the same receiver, or somebody who asks for it.

Owns the column ``haste``. Invariants: what a receiver asked to wait for is hurried by people only;
a success hurries a message once, and not again before it has waited out a back-off of its own. So
a receiver that is back gets at once what it missed, the oldest first, and one that takes some
messages and refuses others is asked about these at most twice as often as without. A hurried
message keeps its turn, counts its attempts, and waits for a place as any other.
"""

from __future__ import annotations

from typing import Final

import apsw
from msgspec import structs

from alertd.outbound import DeliveryStatus
from alertd.store import timeline
from alertd.store.timeline import TimelineEntry, TimelineEvent

HURRIED_BY_A_SUCCESS: Final = 64
"""Messages at a time, so that no transaction is long; the success of each hurries as many more."""

# haste: 0 a success may hurry it, 1 it is hurried, 2 it waits for its time.
NEXT_HASTE: Final = "CASE WHEN haste = 1 OR ? THEN 2 ELSE 0 END"
"""What it is after another attempt; the parameter says whether the receiver asked to wait."""

TO_HURRY: Final = """
    SELECT seq FROM messages INDEXED BY messages_to_hurry
    WHERE status = 'RETRY_PENDING' AND attempts > 0 AND haste = 0
      AND channel = ? AND coalesce(endpoint, '') = ?
    ORDER BY seq LIMIT ?"""
_HURRY: Final = f"""
    UPDATE messages SET haste = 1, next_attempt_us = min(next_attempt_us, ?)
    WHERE seq IN ({TO_HURRY})"""  # noqa: S608  # constants


def hurry(connection: apsw.Connection, channel: str, endpoint: str | None, now_us: int) -> None:
    """Make due at ``now_us`` what was refused by a receiver that takes messages again.

    Costs one look at an index where there is nothing.
    """
    bindings = (now_us, channel, endpoint or "", HURRIED_BY_A_SUCCESS)
    connection.execute(_HURRY, bindings)


def requeue(message_id: str, now_us: int, connection: apsw.Connection) -> DeliveryStatus | None:
    """Have a message sent at ``now_us``; return its status before, None if there is none.

    One that was given up begins anew. One that waits keeps its count of attempts, and what must be
    sent before it is sent now, too. One that was delivered stays as it is.
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
    return before


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
