"""Which incidents a page of a list is made of: its filters, and how far it looks for them.

Lists run from the newest to the oldest by (detected, seq). Invariant: a page looks at no more than
``MAX_LOOKED_AT`` incidents, to which an index leads it, however many there are and however few of
them are meant: then it ends there, perhaps short, and the next one goes on. Leaves reading them to
``history.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

import apsw
import msgspec
from msgspec import Struct

from alertd.outbound import DeliveryStatus, Told
from alertd.store import cursor

MAX_LOOKED_AT: Final = 50_000
"""Each costs a look at its notifications and their messages, 1 us or so where they are cached."""

WORST_FIRST: Final = (Told.NOBODY, Told.HELD_BACK, Told.FAILED, Told.PENDING, Told.DELIVERED)
TOLD: Final = """
    coalesce((
        SELECT max(CASE m.status WHEN 'SUCCESS' THEN 4 WHEN 'RETRY_PENDING' THEN 3
                   WHEN 'FAILED' THEN 2 ELSE n.message_seq IS NULL AND n.held_by IS NOT NULL END)
        FROM notifications n INDEXED BY notifications_of_incident
        LEFT JOIN messages m ON m.seq = n.message_seq WHERE n.incident_seq = incidents.seq
    ), 0)"""
"""Whether anybody knows of an incident, by its place in ``WORST_FIRST``: the best counts."""

_HAS: Final = (
    "EXISTS (SELECT 1 FROM notifications n JOIN messages m ON m.seq = n.message_seq "
    "WHERE n.incident_seq = incidents.seq AND m.status = '{}')"
)
_OF_STATUS: Final = {
    DeliveryStatus.FAILED: _HAS.format("FAILED"),
    DeliveryStatus.RETRY_PENDING: (
        f"{_HAS.format('RETRY_PENDING')} AND NOT {_HAS.format('FAILED')}"
    ),
    DeliveryStatus.SUCCESS: (f"NOT {_HAS.format('RETRY_PENDING')} AND NOT {_HAS.format('FAILED')}"),
}


class IncidentState(StrEnum):
    """Whether an incident is still on."""

    FIRING = "firing"
    RESOLVED = "resolved"


_OF_STATE: Final = {
    IncidentState.FIRING: "ended_us IS NULL",
    IncidentState.RESOLVED: "ended_us IS NOT NULL",
}

_OPEN: Final = "incidents_open"
"""The index of those that are on."""

Place = tuple[int, int]
"""Of an incident in the lists: when it was detected, and its ``seq``."""


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """Which incidents to list. Times are compared with the moment of detection."""

    rule_id: str | None = None
    from_us: int | None = None
    """Detected at or after."""
    to_us: int | None = None
    """Detected before."""
    status: DeliveryStatus | None = None
    told: Told | None = None
    state: IncidentState | None = None
    limit: int = 100
    """1 to ``MAX_PAGE_ITEMS``."""
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class Stretch(Struct, frozen=True):
    """Neighbours in an index: what it knows of the incidents that are meant."""

    index: str
    rule_id: str | None
    first: Place
    end: Place
    """Behind the last one."""

    @property
    def where(self) -> str:
        """A WHERE clause made of constants."""
        clauses = ["(detected_us, seq) >= (?, ?)", "(detected_us, seq) < (?, ?)"]
        if self.rule_id is not None:
            clauses.insert(0, "rule_id = ?")
        if self.index == _OPEN:
            clauses.append(_OF_STATE[IncidentState.FIRING])
        return " AND ".join(clauses)

    @property
    def bindings(self) -> tuple[str | int, ...]:
        """The values to bind to it."""
        rule = () if self.rule_id is None else (self.rule_id,)
        return (*rule, *self.first, *self.end)


def check_query(query: HistoryQuery) -> None:
    """Raise ``InvalidParameters`` for a limit out of range or a cursor that is not one of ours."""
    cursor.check_limit(query.limit)
    if query.cursor is not None:
        cursor.integers(query.cursor, 2)


def stretch_of(query: HistoryQuery) -> Stretch:
    """Return where the incidents of a page are; ``conditions`` say which of those are meant."""
    index = "incidents_by_time" if query.rule_id is None else "incidents_by_rule"
    if query.rule_id is None and query.state is IncidentState.FIRING:
        index = _OPEN
    first = (-(2**63) if query.from_us is None else query.from_us, 0)
    end = (2**63 - 1 if query.to_us is None else query.to_us, 0)
    if query.cursor is not None:
        detected_us, seq = cursor.integers(query.cursor, 2)
        end = min(end, (detected_us, seq))
    return Stretch(index, query.rule_id, first, end)


def conditions(query: HistoryQuery, stretch: Stretch) -> Iterator[str]:
    """Yield conditions, made of constants, that have to be looked at incident by incident."""
    if query.status is not None:
        yield _OF_STATUS[query.status]
    if query.told is not None:
        yield f"{TOLD} = {WORST_FIRST.index(query.told)}"
    if query.state is not None and stretch.index != _OPEN:
        yield _OF_STATE[query.state]


def cut(stretch: Stretch, connection: apsw.Connection) -> tuple[Stretch, Place | None]:
    """Return as much of a stretch as a page may look at, and where the rest of it ends.

    That is None if it is the whole. Cost: a walk in the index, 50 ns an incident.
    """
    row = connection.execute(
        f"SELECT detected_us, seq + 1 FROM incidents INDEXED BY {stretch.index} "  # noqa: S608  # constants
        f"WHERE {stretch.where} ORDER BY detected_us DESC, seq DESC LIMIT 1 OFFSET ?",
        (*stretch.bindings, MAX_LOOKED_AT),
    ).fetchone()
    if row is None:
        return stretch, None
    rest_end = msgspec.convert(row, Place)
    return msgspec.structs.replace(stretch, first=rest_end), rest_end
