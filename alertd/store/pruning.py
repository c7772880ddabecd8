"""Forgetting incidents that ended long ago, with all that was told of them.

Owns the order of deletion: an incident goes with its timeline and its notifications, a message
when no notification is left of it, with its attempts. Invariant: nothing goes that is open, or of
which anybody is still to be told. Each call is one small transaction.
"""

from __future__ import annotations

from typing import Final

import apsw

STEP_INCIDENTS: Final = 50
STEP_MESSAGES: Final = 200
"""So many go in one transaction, a few milliseconds of the writer."""

_PRUNE_INCIDENTS: Final = """
    DELETE FROM incidents WHERE id IN (
        SELECT id FROM incidents INDEXED BY incidents_ended
        WHERE ended_us < ?1 AND detected_us < ?1
          AND NOT EXISTS (
              SELECT 1 FROM notifications n LEFT JOIN messages m ON m.seq = n.message_seq
              WHERE n.incident_id = incidents.id
                AND (m.status = 'RETRY_PENDING' OR (m.seq IS NULL AND n.look_us IS NOT NULL))
          )
        ORDER BY ended_us LIMIT ?2
    )"""

_PRUNE_MESSAGES: Final = """
    DELETE FROM messages WHERE seq IN (
        SELECT seq FROM messages
        WHERE status != 'RETRY_PENDING' AND settled_us < ?1
          AND NOT EXISTS (SELECT 1 FROM notifications WHERE message_seq = messages.seq)
        ORDER BY seq LIMIT ?2
    )"""


def prune_incidents(before_us: int, connection: apsw.Connection) -> int:
    """Delete some incidents that ended, and were detected, before ``before_us``.

    Returns how many: call it again while that is ``STEP_INCIDENTS``.
    """
    connection.execute(_PRUNE_INCIDENTS, (before_us, STEP_INCIDENTS))
    return connection.changes()


def prune_messages(before_us: int, connection: apsw.Connection) -> int:
    """Delete some messages that were settled before ``before_us`` and tell of nothing any more.

    Returns how many: call it again while that is ``STEP_MESSAGES``.
    """
    connection.execute(_PRUNE_MESSAGES, (before_us, STEP_MESSAGES))
    return connection.changes()
