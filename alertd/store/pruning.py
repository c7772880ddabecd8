"""Forgetting incidents that ended long ago, with all that was told of them.

An incident goes with its timeline and its notifications, and with every message that tells of
nothing else, attempts included, in one small transaction: what is left of one half would be in the
way if the incident is found again. Invariant: nothing goes that is open, or of which anybody is
still to be told.
"""

from __future__ import annotations

import json
from typing import Final

import apsw

STEP_INCIDENTS: Final = 50
"""So many go in one transaction, a few milliseconds of the writer."""

_OLD: Final = """
    SELECT seq FROM incidents INDEXED BY incidents_ended
    WHERE ended_us < ?1 AND detected_us < ?1
      AND NOT EXISTS (
          SELECT 1 FROM notifications n LEFT JOIN messages m ON m.seq = n.message_seq
          WHERE n.incident_seq = incidents.seq
            AND (m.status = 'RETRY_PENDING' OR (m.seq IS NULL AND n.look_us IS NOT NULL))
      )
    ORDER BY ended_us LIMIT ?2"""

_MESSAGES: Final = """
    SELECT DISTINCT message_seq FROM notifications
    WHERE incident_seq IN (SELECT value FROM json_each(?)) AND message_seq IS NOT NULL"""


def prune_incidents(before_us: int, connection: apsw.Connection) -> int:
    """Delete some incidents that ended, and were detected, before ``before_us``.

    Returns how many: call it again while that is ``STEP_INCIDENTS``.
    """
    old = json.dumps(_column(connection.execute(_OLD, (before_us, STEP_INCIDENTS))))
    messages = json.dumps(_column(connection.execute(_MESSAGES, (old,))))
    connection.execute(
        "DELETE FROM incidents WHERE seq IN (SELECT value FROM json_each(?))", (old,)
    )
    pruned = connection.changes()
    connection.execute(
        "DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?)) "
        "AND NOT EXISTS (SELECT 1 FROM notifications WHERE message_seq = messages.seq)",
        (messages,),
    )
    return pruned


def _column(rows: apsw.Cursor) -> list[object]:
    return [value for (value,) in rows]
