"""Looking back at incidents: queries, pages, and what an item of them holds.

Owns the reading side of the tables ``incidents`` and ``notifications``. Leaves to
``incident_query.py`` which incidents a page has, redaction of endpoints to those who show them, and
writing to ``incidents.py``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import apsw
import msgspec
from msgspec import Struct

from alertd.model import DetectedBy, EndReason, Incident, Labels, Operator, Severity
from alertd.outbound import DeliveryStatus, Told
from alertd.store import cursor, timeline
from alertd.store.incident_query import (
    TOLD,
    WORST_FIRST,
    HistoryQuery,
    conditions,
    cut,
    stretch_of,
)
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
_SELECT_ITEMS: Final = f"SELECT seq, {TOLD}, acked_us, acked_by, {_COLUMNS} FROM incidents"  # noqa: S608  # constants

_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


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
    acked_us: int | None = None
    """When somebody said that they had seen it."""
    acked_by: str | None = None
    notifications: tuple[NotificationItem, ...]


class IncidentDetail(Struct, frozen=True):
    """One incident with everything that happened to it, the oldest first."""

    item: HistoryItem
    timeline: tuple[TimelineEntry, ...]


def read_page(query: HistoryQuery, connection: apsw.Connection) -> Page[HistoryItem]:
    """Return the page that ``query``, which ``check_query`` passed, asks for.

    Cost: three SQL queries, and a look at up to ``MAX_LOOKED_AT`` incidents.
    """
    stretch, rest_end = stretch_of(query), None
    only = list(conditions(query, stretch))
    if only:
        stretch, rest_end = cut(stretch, connection)
    rows = connection.execute(
        f"{_SELECT_ITEMS} INDEXED BY {stretch.index} WHERE {' AND '.join((stretch.where, *only))} "
        "ORDER BY detected_us DESC, seq DESC LIMIT ?",
        (*stretch.bindings, query.limit + 1),
    ).fetchall()
    items = _items(connection, rows[: query.limit])
    if len(rows) > query.limit:
        last_seq: int = rows[query.limit - 1][0]  # type: ignore[assignment]
        rest_end = items[-1].incident.detected_us, last_seq
    return Page(items, None if rest_end is None else cursor.encode(*rest_end))


def read_incident(incident_id: str, connection: apsw.Connection) -> IncidentDetail | None:
    """Return one incident with its timeline, or None if there is none of that id."""
    rows = connection.execute(f"{_SELECT_ITEMS} WHERE id = ?", (incident_id,)).fetchall()
    if not rows:
        return None
    (item,) = _items(connection, rows)
    return IncidentDetail(item, timeline.read(connection, incident_id))


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


# Any: a row as SQLite gives it; the tables are STRICT, so each column has its type.
def _items(connection: apsw.Connection, rows: Sequence[Sequence[Any]]) -> tuple[HistoryItem, ...]:
    """Return what ``_SELECT_ITEMS`` has found."""
    found = [
        dict(zip(("seq", "told", "acked_us", "acked_by", *INCIDENT_COLUMNS), row, strict=True))
        for row in rows
    ]
    notifications = _notifications(connection, [column["id"] for column in found])
    return tuple(_item(column, notifications) for column in found)


# Any: as above.
def _item(
    column: Mapping[str, Any], notifications: Mapping[str, Sequence[NotificationItem]]
) -> HistoryItem:
    incident = _incident(column)
    of_it = tuple(notifications.get(incident.id, ()))
    return HistoryItem(
        incident=incident,
        rule_name=column["rule_name"],
        severity=Severity(column["severity"]),
        threshold=column["threshold"],
        operator=Operator(column["operator"]),
        summary=column["summary"],
        status=_worst(item.status for item in of_it),
        told=WORST_FIRST[column["told"]],
        acked_us=column["acked_us"],
        acked_by=column["acked_by"],
        notifications=of_it,
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
