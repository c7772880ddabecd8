"""What a channel was told of and is still so, for receivers that forget.

Owns the query: incidents whose message was delivered over a channel and that are on, or have ended
lately. Pages run from what has ended to what is on, so what is told last is the present.
"""

from __future__ import annotations

from typing import Final

import apsw
from msgspec import Struct

PAGE_INCIDENTS: Final = 500
"""Incidents that one page looks at."""

# The newest word on the incident that the receiver has taken.
_VIEW: Final = """
    SELECT n.view FROM notifications n INDEXED BY notifications_of_incident
    JOIN messages m ON m.seq = n.message_seq
    WHERE n.incident_seq = i.seq AND n.channel = ?1 AND n.endpoint IS NULL
      AND m.status = 'SUCCESS' AND (n.kind = 'resolved') = (i.ended_us IS NOT NULL)
    ORDER BY n.seq DESC LIMIT 1"""
_ENDED: Final = f"""
    SELECT i.ended_us, i.seq, ({_VIEW}) FROM incidents i
    WHERE i.ended_us IS NOT NULL AND i.ended_us >= ?2 AND (i.ended_us, i.seq) > (?2, ?3)
    ORDER BY i.ended_us, i.seq LIMIT ?4"""  # noqa: S608  # constants
_ON: Final = f"""
    SELECT i.detected_us, i.seq, ({_VIEW}) FROM incidents i
    WHERE i.ended_us IS NULL AND (i.detected_us, i.seq) > (?2, ?3)
    ORDER BY i.detected_us, i.seq LIMIT ?4"""  # noqa: S608  # constants


class Place(Struct, frozen=True):
    """Where a page begins: behind the incident ``seq``, whose time is ``time_us``."""

    time_us: int
    """When it ended, or when it was detected if it is on."""
    seq: int = 0
    is_on: bool = False


class Told(Struct, frozen=True):
    """One page."""

    views: tuple[bytes, ...]
    """Of the incidents, as they are stored."""
    next_place: Place | None
    """Where the next page begins; None after the last."""


def read_told(channel: str, place: Place, connection: apsw.Connection) -> Told:
    """Return the page at ``place``; the first is ``Place(since_us)``, ends at or after that."""
    rows = list(
        connection.execute(
            _ON if place.is_on else _ENDED,
            (channel, place.time_us, place.seq, PAGE_INCIDENTS),
        )
    )
    views = tuple(view.encode() for _, _, view in rows if view is not None)
    if len(rows) == PAGE_INCIDENTS:
        time_us, seq, _ = rows[-1]
        return Told(views, Place(time_us, seq, place.is_on))
    return Told(views, None if place.is_on else Place(-(2**63), is_on=True))
