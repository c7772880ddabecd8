"""What happened to an incident, line by line.

Owns the table ``timeline``. Invariant: a line's key is made of what happened, so recording it again
is harmless. What became of the incident itself stands at its event time, which a replay reproduces;
what became of its notifications stands at wall time. Attempts are not written here: they are a
message's, which may tell of a thousand incidents, and are read from ``attempts``. Only those of a
message that an incident has left, to be told in that of its end, are copied here.

Of one instant, lines are read in the order in which such things come about: what became of the
incident, what was decided about each of its notifications, and how their attempts went.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import apsw
from msgspec import Struct


class TimelineEvent(StrEnum):
    """What happened."""

    PENDING = "pending"
    FIRED = "fired"
    RESOLVED = "resolved"
    CORRECTED = "corrected"
    """Late data has made it longer, or joined it to another."""
    INHIBITED = "inhibited"
    SILENCED = "silenced"
    MUTED = "muted"
    FLAPPING = "flapping"
    ESCALATES = "escalates"
    """Held back; the detail says by what. It is told when that is over, if it is still true."""
    WITHHELD = "withheld"
    """Held back for good: what it would have told was over before."""
    ACKNOWLEDGED = "acknowledged"
    QUEUED = "queued"
    """A notification is in a message; the detail says when that leaves, and why then."""
    COLLAPSED = "collapsed"
    """A beginning that could not be told in time is told with its end."""
    SENT = "sent"
    RETRY = "retry"
    FAILED = "failed"
    REQUEUED = "requeued"
    """Somebody had a notification that had failed sent again."""


class TimelineEntry(Struct, frozen=True):
    """One line of an incident's timeline."""

    at_us: int
    what: TimelineEvent
    detail: str
    notification_id: str | None = None
    """The notification that it is about; None where it is about the incident itself."""


_SEQ = "(SELECT seq FROM incidents WHERE id = ?1)"
_READ = f"""
    SELECT t.at_us, t.what, t.detail, t.notification_id, ifnull(n.seq, 0)
    FROM timeline t
    LEFT JOIN notifications n ON n.id = t.notification_id
    WHERE t.incident_seq = {_SEQ}
    UNION ALL
    SELECT a.at_us,
           CASE a.status WHEN 'SUCCESS' THEN 'sent' WHEN 'FAILED' THEN 'failed' ELSE 'retry' END,
           m.channel || iif(a.detail = '', '', ': ' || a.detail),
           n.id,
           n.seq
    FROM notifications n
    JOIN messages m ON m.seq = n.message_seq
    JOIN attempts a ON a.message_seq = m.seq
    WHERE n.incident_seq = {_SEQ}"""  # noqa: S608  # constants

_Row = tuple[int, str, str, str, int]
"""A line as it is stored, and the place of its notification among all; 0 where there is none."""

_OF_AN_INSTANT = (
    (TimelineEvent.PENDING,),
    (TimelineEvent.FIRED,),
    (TimelineEvent.RESOLVED,),
    (TimelineEvent.CORRECTED,),
    (TimelineEvent.ACKNOWLEDGED,),
    (
        *(TimelineEvent.INHIBITED, TimelineEvent.SILENCED, TimelineEvent.MUTED),
        *(TimelineEvent.FLAPPING, TimelineEvent.ESCALATES),
        *(TimelineEvent.WITHHELD, TimelineEvent.QUEUED),
    ),
    (
        *(TimelineEvent.RETRY, TimelineEvent.COLLAPSED, TimelineEvent.FAILED),
        *(TimelineEvent.REQUEUED, TimelineEvent.SENT),
    ),
)
"""What comes before what at one instant; of one step, by notification and then as it stands."""

_PLACES = {
    what.value: (step, place)
    for step, events in enumerate(_OF_AN_INSTANT)
    for place, what in enumerate(events)
}


def write(connection: apsw.Connection, entries: Iterable[tuple[str, TimelineEntry]]) -> None:
    """Add lines, each with the id of its incident, in the caller's transaction."""
    connection.executemany(
        f"INSERT INTO timeline VALUES ({_SEQ}, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",  # noqa: S608  # constants
        [
            (incident_id, entry.at_us, entry.what.value, entry.notification_id or "", entry.detail)
            for incident_id, entry in entries
        ],
    )


def keep_attempts(
    connection: apsw.Connection, incident_id: str, notification_id: str, message_seq: int
) -> None:
    """Write down the attempts of a message that tells the notification no longer."""
    connection.execute(
        f"INSERT OR IGNORE INTO timeline SELECT {_SEQ}, a.at_us, 'retry', ?2, "  # noqa: S608  # constants
        "m.channel || iif(a.detail = '', '', ': ' || a.detail) "
        "FROM attempts a JOIN messages m ON m.seq = a.message_seq WHERE a.message_seq = ?3",
        (incident_id, notification_id, message_seq),
    )


def read(connection: apsw.Connection, incident_id: str) -> tuple[TimelineEntry, ...]:
    """Return the timeline of an incident, the oldest first."""
    rows = sorted(connection.execute(_READ, (incident_id,)), key=_order)
    return tuple(
        TimelineEntry(at_us, TimelineEvent(what), detail, notification_id or None)
        for at_us, what, detail, notification_id, _ in rows
    )


def _order(row: _Row) -> tuple[int, int, int, int]:
    at_us, what, _, _, notification_seq = row
    step, place = _PLACES[what]
    return at_us, step, notification_seq, place
