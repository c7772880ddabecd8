"""What an incident looks like, with its notifications and its timeline."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct

from alertd.clock import Timestamp, format_us, optional_time
from alertd.http.wire import shown_endpoint
from alertd.model import (
    US_PER_S,
    DetectedBy,
    EndReason,
    IncidentSeries,
    Operator,
    Severity,
    Target,
)
from alertd.outbound import DeliveryStatus, Told
from alertd.store.history import HistoryItem, IncidentDetail, NotificationItem, Page
from alertd.store.incident_query import IncidentState
from alertd.store.timeline import TimelineEvent


class NotificationReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """How one notification went."""

    id: str
    """The same for every attempt."""
    kind: str
    """``firing``, ``resolved``, ``repeat`` or ``flapping``."""
    channel: str
    """Name of a configured channel, or the type of one that the rule names by its endpoint."""
    endpoint: str | None
    """Without its secret part, for which an ellipsis stands; null for a configured channel."""
    message_id: str
    """The message that tells it, perhaps with others: the id in ``/api/notifications``."""
    status: DeliveryStatus
    """Of the message."""
    attempts: int
    """That ended."""
    last_error: str | None
    """Why the last attempt that failed did so."""
    created_at: Timestamp
    """When it was decided."""
    delivered_at: Timestamp | None
    """When it ended as SUCCESS."""


class IncidentDetails(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an incident comes from and what became of it."""

    rule_version: int
    """Of the rule that found it."""
    continues: str | None
    """Id of an earlier incident that late data showed to be the beginning of this one."""
    merged_into: str | None
    """Id of the incident that late data showed this one to be a part of."""


class HistoryReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One incident as the history lists it."""

    id: str
    """UUID; it follows from the rule, as it was then, the group and the start."""
    alert_id: str
    """The rule's id."""
    rule_name: str
    """As it was then; so are severity, threshold and operator."""
    severity: Severity
    """How bad it is."""
    state: IncidentState
    """Whether it is still on."""
    status: DeliveryStatus
    """The worst of its notifications; SUCCESS where it has none, as ``told`` says."""
    told: Told
    """Whether anybody knows: ``delivered`` to somebody, ``pending``, ``failed``, ``held_back``, or
    ``nobody`` was named."""
    triggered_at: Timestamp
    """When alertd knew of it, by its own clock."""
    event_time: Timestamp
    """Time of the newest event in the window that fired it."""
    started_at: Timestamp
    """When the condition turned true."""
    fired_at: Timestamp
    """When it had held for ``forSecs``."""
    ended_at: Timestamp | None
    """When it was over; null while it is on."""
    reason: EndReason | None
    """Why it ended."""
    flapping: bool
    """Whether its rule and group change state so often now that only that is told."""
    acknowledged_at: Timestamp | None
    """When somebody had seen it; null if nobody has."""
    acknowledged_by: str | None
    """Who; empty if nobody said."""
    current_value: float | None
    """The value at which it fired; null if the window had none."""
    peak_value: float | None
    """The value furthest beyond the threshold so far."""
    threshold: float
    """What the value was compared with."""
    operator: Operator
    """How."""
    window_start: Timestamp
    """Beginning of the window that fired it."""
    window_end: Timestamp
    """Its end."""
    late_by: float
    """Seconds by which the event that revealed it came late: behind what had been judged of its
    group. The first of a group, and a backlog in order, are not late, however old they are."""
    detected_by: DetectedBy
    """Which look at the data found it."""
    group_labels: dict[str, str]
    """The labels of the rule's ``groupBy``."""
    message: str
    """The whole in one line."""
    notifications: tuple[NotificationReply, ...]
    """Whom it was told, in the order of telling."""
    details: IncidentDetails
    """Where it comes from and what became of it."""


class HistoryList(Struct, frozen=True, rename="camel"):
    """A page of incidents, the newest first; a filter may leave few of it, or none."""

    items: tuple[HistoryReply, ...]
    """The incidents."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class TimelineReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of an incident's timeline."""

    at: Timestamp
    """Event time for what became of the incident itself, else by alertd's clock."""
    what: TimelineEvent
    """What was decided or happened."""
    detail: str
    """Why, or with what."""
    notification_id: str | None
    """The notification that it is about; null for the incident itself."""


class IncidentReply(HistoryReply, frozen=True, kw_only=True, rename="camel"):
    """One incident with its timeline, the oldest line first."""

    timeline: tuple[TimelineReply, ...]
    """What happened, the oldest first."""


Flaps = Callable[[IncidentSeries], bool]
"""Whether a series flaps now."""


def history_list(page: Page[HistoryItem], flaps: Flaps) -> HistoryList:
    """Return a page of incidents as it is shown."""
    return HistoryList(tuple(history_reply(item, flaps) for item in page.items), page.next_cursor)


def history_reply(item: HistoryItem, flaps: Flaps) -> HistoryReply:
    """Return an incident as the history shows it."""
    incident = item.incident
    return HistoryReply(
        id=incident.id,
        alert_id=incident.rule_id,
        rule_name=item.rule_name,
        severity=item.severity,
        state=IncidentState.FIRING if incident.ended_us is None else IncidentState.RESOLVED,
        status=item.status,
        told=item.told,
        triggered_at=format_us(incident.detected_us),
        event_time=format_us(incident.event_time_us),
        started_at=format_us(incident.started_us),
        fired_at=format_us(incident.fired_us),
        ended_at=optional_time(incident.ended_us),
        reason=incident.end_reason,
        flapping=flaps(incident.series),
        acknowledged_at=optional_time(item.acked_us),
        acknowledged_by=item.acked_by,
        current_value=incident.value,
        peak_value=incident.peak_value,
        threshold=item.threshold,
        operator=item.operator,
        window_start=format_us(incident.window_start_us),
        window_end=format_us(incident.window_end_us),
        late_by=incident.late_by_us / US_PER_S,
        detected_by=incident.detected_by,
        group_labels=dict(incident.group),
        message=item.summary,
        notifications=tuple(_notification(notification) for notification in item.notifications),
        details=IncidentDetails(
            rule_version=incident.rule_version,
            continues=incident.continues,
            merged_into=incident.merged_into,
        ),
    )


def incident_reply(detail: IncidentDetail, flaps: Flaps) -> IncidentReply:
    """Return an incident with its timeline."""
    return IncidentReply(
        **msgspec.structs.asdict(history_reply(detail.item, flaps)),
        timeline=tuple(
            TimelineReply(
                at=format_us(entry.at_us),
                what=entry.what,
                detail=entry.detail,
                notification_id=entry.notification_id,
            )
            for entry in detail.timeline
        ),
    )


def _notification(item: NotificationItem) -> NotificationReply:
    is_delivered = item.status is DeliveryStatus.SUCCESS
    return NotificationReply(
        id=item.id,
        kind=item.kind,
        channel=item.channel,
        endpoint=shown_endpoint(Target(item.channel, item.endpoint)),
        message_id=item.message_id,
        status=item.status,
        attempts=item.attempts,
        last_error=item.last_error,
        created_at=format_us(item.created_us),
        delivered_at=optional_time(item.settled_us) if is_delivered else None,
    )
