"""Looking back at incidents: queries, pages, and what an item of them holds.

Owns the reading side of the tables ``incidents`` and ``notifications``. Pages run from the
newest to the oldest by (detected, seq), so that what is detected meanwhile shifts no page.
Leaves redaction of endpoints to whoever shows them, and writing to ``incidents.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import apsw
import msgspec
from msgspec import Struct

from alertd.model import DetectedBy, EndReason, Incident, Labels, Operator, Severity
from alertd.outbound import DeliveryStatus, Told
from alertd.store import cursor, timeline
from alertd.store.timeline import TimelineEntry

T = TypeVar("T")

INCIDENT_COLUMNS: Final = (
    *("id", "rule_id", "rule_name", "rule_version", "severity", "threshold", "operator"),
    *("group_labels", "started_us", "fired_us", "ended_us", "detected_us", "value", "peak_value"),
    *("window_start_us", "window_end_us", "event_time_us", "late_by_us", "detected_by"),
    *("end_reason", "continues", "merged_into", "summary"),
)
"""The engine's columns of an incident, in the order in which they are read and written."""

_NOTIFICATIONS: Final = """
    SELECT i.id, n.id, n.kind, n.channel, n.endpoint, m.id, m.status, m.attempts,
           n.created_us, m.next_attempt_us, m.last_error, m.settled_us
    FROM incidents i
    JOIN notifications n INDEXED BY notifications_of_incident ON n.incident_seq = i.seq
    JOIN messages m ON m.seq = n.message_seq
    WHERE i.id IN (SELECT value FROM json_each(?)) ORDER BY n.seq"""

_COLUMNS: Final = ", ".join(INCIDENT_COLUMNS)
_SELECT: Final = f"SELECT {_COLUMNS} FROM incidents"  # noqa: S608  # constants

_BEST_FIRST: Final = {
    DeliveryStatus.SUCCESS: Told.DELIVERED,
    DeliveryStatus.RETRY_PENDING: Told.PENDING,
    DeliveryStatus.FAILED: Told.FAILED,
}

_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


class IncidentState(StrEnum):
    """Whether an incident is still on."""

    FIRING = "firing"
    RESOLVED = "resolved"


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """Which incidents to list. Times are compared with the moment of detection."""

    rule_id: str | None = None
    from_us: int | None = None
    """Detected at or after."""
    to_us: int | None = None
    """Detected before."""
    status: DeliveryStatus | None = None
    state: IncidentState | None = None
    limit: int = 100
    """1 to ``MAX_PAGE_ITEMS``."""
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class Page(Struct, Generic[T], frozen=True):
    """Some items of a list, and the way to the next ones; no cursor means that there are none."""

    items: tuple[T, ...]
    next_cursor: str | None


class NotificationItem(Struct, frozen=True, kw_only=True):
    """One notification of an incident. ``endpoint`` is not redacted: it may hold a secret."""

    id: str
    kind: str
    channel: str
    endpoint: str | None
    message_id: str
    """The message that tells it, whose are the status and the times that follow."""
    status: DeliveryStatus
    attempts: int
    created_us: int
    next_attempt_us: int
    last_error: str | None
    settled_us: int | None


class HistoryItem(Struct, frozen=True, kw_only=True):
    """An incident with its rule as it then was, and how telling people went."""

    incident: Incident
    rule_name: str
    severity: Severity
    threshold: float
    operator: Operator
    summary: str
    status: DeliveryStatus
    """The worst of its notifications; SUCCESS where it has none."""
    told: Told
    """Whether there was one, and anybody knows."""
    notifications: tuple[NotificationItem, ...]


class IncidentDetail(Struct, frozen=True):
    """One incident with everything that happened to it, the oldest first."""

    item: HistoryItem
    timeline: tuple[TimelineEntry, ...]
    acked_us: int | None = None
    """When somebody said that they had seen it."""
    acked_by: str | None = None


def check_query(query: HistoryQuery) -> None:
    """Raise ``InvalidParameters`` for a limit out of range or a cursor that is not one of ours."""
    cursor.check_limit(query.limit)
    if query.cursor is not None:
        cursor.integers(query.cursor, 2)


def read_page(query: HistoryQuery, connection: apsw.Connection) -> Page[HistoryItem]:
    """Return the page that ``query``, which ``check_query`` passed, asks for: three SQL queries."""
    where, bindings = _conditions(query)
    rows = connection.execute(
        f"SELECT seq, {_COLUMNS} FROM incidents WHERE {where} "  # noqa: S608  # constants
        "ORDER BY detected_us DESC, seq DESC LIMIT ?",
        (*bindings, query.limit + 1),
    ).fetchall()
    items = _items(connection, [row[1:] for row in rows[: query.limit]])
    if len(rows) <= query.limit:
        return Page(items, None)
    last_seq: int = rows[query.limit - 1][0]  # type: ignore[assignment]
    return Page(items, cursor.encode(items[-1].incident.detected_us, last_seq))


def read_incident(incident_id: str, connection: apsw.Connection) -> IncidentDetail | None:
    """Return one incident with its timeline, or None if there is none of that id."""
    rows = connection.execute(f"{_SELECT} WHERE id = ?", (incident_id,)).fetchall()
    if not rows:
        return None
    (item,) = _items(connection, rows)
    acked = connection.execute(
        "SELECT acked_us, acked_by FROM incidents WHERE id = ?", (incident_id,)
    ).fetchone()
    acked_us, acked_by = msgspec.convert(acked, tuple[int | None, str | None])
    return IncidentDetail(item, timeline.read(connection, incident_id), acked_us, acked_by)


def group_text(group: Labels) -> str:
    """Return a group's labels as the table has them."""
    return msgspec.json.encode(dict(group)).decode()


def group_of(text: str) -> Labels:
    """Return the labels that ``group_text`` wrote."""
    return tuple(sorted(_decode_labels(text).items()))


def read_group(
    rule_id: str, labels: str, since_us: int, connection: apsw.Connection
) -> list[Incident]:
    """Return incidents of one group, by their start: see ``IncidentStore.of_group``."""
    rows = connection.execute(
        f"{_SELECT} WHERE rule_id = ? AND group_labels = ? "
        "AND (ended_us IS NULL OR ended_us >= ?) ORDER BY started_us, fired_us",
        (rule_id, labels, since_us),
    ).fetchall()
    return _incidents(rows)


def read_open(connection: apsw.Connection) -> list[Incident]:
    """Return every incident that is on, by its start."""
    rows = connection.execute(
        f"{_SELECT} WHERE ended_us IS NULL ORDER BY started_us, fired_us"
    ).fetchall()
    return _incidents(rows)


def read_recent(within_us: int, limit: int, connection: apsw.Connection) -> list[Incident]:
    """Return up to ``limit`` incidents that changed lately, the one detected first, first.

    That is in the last ``within_us`` before anything was recorded last.
    """
    told_us: int = connection.execute("SELECT value FROM meta WHERE key = 'told_us'").get or 0
    since_us = told_us - within_us
    rows = connection.execute(
        f"{_SELECT} WHERE seq IN (SELECT seq FROM incidents WHERE detected_us >= ? "  # noqa: S608  # constants
        "UNION SELECT seq FROM incidents WHERE ended_us >= ?) "
        "ORDER BY detected_us DESC LIMIT ?",
        (since_us, since_us, limit),
    ).fetchall()
    return [_incident(dict(zip(INCIDENT_COLUMNS, row, strict=True))) for row in reversed(rows)]


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
_OF_STATE: Final = {
    IncidentState.FIRING: "ended_us IS NULL",
    IncidentState.RESOLVED: "ended_us IS NOT NULL",
}


def _conditions(query: HistoryQuery) -> tuple[str, list[str | int]]:
    """Return a WHERE clause made of constants, and the values to bind to it."""
    clauses = ["TRUE"]
    bindings: list[str | int] = []
    for clause, value in (
        ("rule_id = ?", query.rule_id),
        ("detected_us >= ?", query.from_us),
        ("detected_us < ?", query.to_us),
    ):
        if value is not None:
            clauses.append(clause)
            bindings.append(value)
    if query.cursor is not None:
        clauses.append("(detected_us, seq) < (?, ?)")
        bindings.extend(cursor.integers(query.cursor, 2))
    if query.status is not None:
        clauses.append(_OF_STATUS[query.status])
    if query.state is not None:
        clauses.append(_OF_STATE[query.state])
    return " AND ".join(clauses), bindings


# Any: a row as SQLite gives it; the tables are STRICT, so each column has its type.
def _items(connection: apsw.Connection, rows: Sequence[Sequence[Any]]) -> tuple[HistoryItem, ...]:
    notifications = _notifications(connection, [row[0] for row in rows])
    held = _held_back(connection, [row[0] for row in rows if row[0] not in notifications])
    return tuple(_item(row, notifications, held) for row in rows)


def _item(
    row: Sequence[Any],
    notifications: Mapping[str, Sequence[NotificationItem]],
    held: Collection[str],
) -> HistoryItem:
    column = dict(zip(INCIDENT_COLUMNS, row, strict=True))
    incident = _incident(column)
    told = tuple(notifications.get(incident.id, ()))
    return HistoryItem(
        incident=incident,
        rule_name=column["rule_name"],
        severity=Severity(column["severity"]),
        threshold=column["threshold"],
        operator=Operator(column["operator"]),
        summary=column["summary"],
        status=_worst(item.status for item in told),
        told=_told({item.status for item in told}, is_held=incident.id in held),
        notifications=told,
    )


def _incidents(rows: Iterable[Sequence[Any]]) -> list[Incident]:  # Any: as above
    return [_incident(dict(zip(INCIDENT_COLUMNS, row, strict=True))) for row in rows]


# Any: as above.
def _incident(column: Mapping[str, Any]) -> Incident:
    end_reason = column["end_reason"]
    return Incident(
        id=column["id"],
        rule_id=column["rule_id"],
        rule_version=column["rule_version"],
        group=group_of(column["group_labels"]),
        started_us=column["started_us"],
        fired_us=column["fired_us"],
        ended_us=column["ended_us"],
        value=column["value"],
        peak_value=column["peak_value"],
        window_start_us=column["window_start_us"],
        window_end_us=column["window_end_us"],
        event_time_us=column["event_time_us"],
        detected_us=column["detected_us"],
        late_by_us=column["late_by_us"],
        detected_by=DetectedBy(column["detected_by"]),
        end_reason=None if end_reason is None else EndReason(end_reason),
        continues=column["continues"],
        merged_into=column["merged_into"],
    )


def _worst(statuses: Iterable[DeliveryStatus]) -> DeliveryStatus:
    found = set(statuses)
    return next((status for status in DeliveryStatus if status in found), DeliveryStatus.SUCCESS)


def _told(found: Collection[DeliveryStatus], *, is_held: bool) -> Told:
    if found:
        return next(told for status, told in _BEST_FIRST.items() if status in found)
    return Told.HELD_BACK if is_held else Told.NOBODY


def _held_back(connection: apsw.Connection, incident_ids: Sequence[str]) -> frozenset[str]:
    """Return those of incidents of which something was held back."""
    return frozenset(
        incident_id
        for (incident_id,) in connection.execute(
            "SELECT DISTINCT i.id FROM incidents i "
            "JOIN notifications n INDEXED BY notifications_of_incident ON n.incident_seq = i.seq "
            "WHERE n.message_seq IS NULL AND n.held_by IS NOT NULL "
            "AND i.id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(incident_ids).decode(),),
        )
    )


def _notifications(
    connection: apsw.Connection, incident_ids: Sequence[str]
) -> Mapping[str, Sequence[NotificationItem]]:
    """Return the notifications of incidents, by incident, in the order of telling."""
    found: defaultdict[str, list[NotificationItem]] = defaultdict(list)
    for incident_id, *fields in connection.execute(
        _NOTIFICATIONS, (msgspec.json.encode(incident_ids).decode(),)
    ):
        item = dict(zip(NotificationItem.__struct_fields__, fields, strict=True))
        item["status"] = DeliveryStatus(item["status"])
        found[incident_id].append(NotificationItem(**item))
    return found
