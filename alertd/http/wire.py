"""What replies look like: API.md's field names over the nouns of the model.

Owns the structs that are encoded and their making. Times are RFC 3339 in UTC, durations
seconds, endpoints redacted: only their owner knows the rest of a webhook's address, because
that is the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec
from msgspec import Struct
from quart import Response

from alertd.channels.redact import redact_target
from alertd.clock import format_us
from alertd.errors import Problem
from alertd.model import US_PER_S, DeliveryStatus, IncidentSeries, Target
from alertd.rules import RuleRecord, RuleSpec
from alertd.store.deliveries import Delivery
from alertd.store.history import HistoryItem, IncidentDetail, NotificationItem, Page
from alertd.store.quarantine import QuarantinedEvent

MAX_ERRORS: Final = 100
"""Problems that one reply lists."""

ELLIPSIS: Final = "…"
"""Stands for what a redacted endpoint does not show."""

encode = msgspec.json.Encoder().encode
"""Returns a struct or plain data as JSON."""


class ErrorItem(Struct, frozen=True):
    """One thing that is wrong with the input."""

    path: str
    message: str


class EventReceipt(Struct, frozen=True, kw_only=True, rename="camel"):
    """The reply to accepted events."""

    accepted: int
    duplicates: int
    rejected: int
    errors: tuple[ErrorItem, ...]
    errors_truncated: bool


class QuarantineReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One event that was refused."""

    id: int
    received_at: str
    reason: str
    """``malformed``, ``future``, ``too_old`` or ``series_limit``."""
    path: str
    """Where in its request the first mistake was."""
    message: str
    event: str
    """The event as JSON; one of more than 2 KiB is cut and ends with an ellipsis."""


class QuarantineList(Struct, frozen=True, rename="camel"):
    """A page of refused events, the newest first."""

    items: tuple[QuarantineReply, ...]
    next_cursor: str | None


class RuleReply(RuleSpec, frozen=True, kw_only=True, rename="camel"):
    """A rule: what its author wrote, and what alertd knows about it."""

    id: str
    version: int
    source: str
    created_at: str
    updated_at: str
    state: Mapping[str, int]
    """Groups by ``GroupState``."""


class RuleList(Struct, frozen=True, rename="camel"):
    """A page of rules, by name."""

    items: tuple[RuleReply, ...]
    next_cursor: str | None


class NotificationReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """How one notification went."""

    id: str
    kind: str
    channel: str
    endpoint: str | None
    message_id: str
    """The message that tells it, perhaps with others: the id in ``/api/notifications``."""
    status: str
    attempts: int
    last_error: str | None
    created_at: str
    delivered_at: str | None
    """When it ended as SUCCESS."""


class DeliveryReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One message and how far it has come."""

    id: str
    channel: str
    endpoint: str | None
    group_key: str
    kinds: tuple[str, ...]
    status: str
    attempts: int
    last_error: str | None
    created_at: str
    next_attempt_at: str | None
    """None once it has ended."""
    delivered_at: str | None
    failed_at: str | None
    incident_count: int
    incidents: tuple[str, ...]
    """Ids of the first 100."""


class DeliveryList(Struct, frozen=True, rename="camel"):
    """A page of messages, the newest first."""

    items: tuple[DeliveryReply, ...]
    next_cursor: str | None


class IncidentDetails(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an incident comes from and what became of it."""

    rule_version: int
    continues: str | None
    merged_into: str | None


class HistoryReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One incident as the history lists it."""

    id: str
    alert_id: str
    rule_name: str
    severity: str
    state: str
    status: str
    triggered_at: str
    """When alertd knew of it, by its own clock."""
    event_time: str
    started_at: str
    fired_at: str
    ended_at: str | None
    reason: str | None
    """Why it ended."""
    flapping: bool
    """Whether its rule and group change state so often now that only that is told."""
    current_value: float | None
    """The value at which it fired."""
    peak_value: float | None
    threshold: float
    operator: str
    window_start: str
    window_end: str
    late_by: float
    """Seconds."""
    detected_by: str
    group_labels: dict[str, str]
    message: str
    notifications: tuple[NotificationReply, ...]
    details: IncidentDetails


class HistoryList(Struct, frozen=True, rename="camel"):
    """A page of incidents, the newest first."""

    items: tuple[HistoryReply, ...]
    next_cursor: str | None


class TimelineReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One line of an incident's timeline."""

    at: str
    what: str
    detail: str
    notification_id: str | None


class IncidentReply(HistoryReply, frozen=True, kw_only=True, rename="camel"):
    """One incident with its timeline, the oldest line first."""

    acknowledged_at: str | None
    acknowledged_by: str | None
    timeline: tuple[TimelineReply, ...]


def json_response(
    body: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Return ``body``, a struct or plain data, as a JSON response."""
    return Response(encode(body), status.value, headers=headers, content_type="application/json")


def error_items(problems: Sequence[Problem]) -> tuple[ErrorItem, ...]:
    """Return the first ``MAX_ERRORS`` problems."""
    return tuple(ErrorItem(path, message) for path, message in problems[:MAX_ERRORS])


def shown_endpoint(target: Target) -> str | None:
    """Return the endpoint of ``target`` without its secret part, for which an ellipsis stands."""
    shown = redact_target(target)
    if shown is None or ELLIPSIS in shown or shown == target.endpoint:
        return shown
    return f"{shown}/{ELLIPSIS}"


def rule_reply(record: RuleRecord, state: Mapping[str, int]) -> RuleReply:
    """Return a rule as it is shown."""
    members = msgspec.structs.asdict(record.spec)
    members["notifications"] = tuple(
        Target(target.channel, shown_endpoint(target)) for target in record.spec.notifications
    )
    return RuleReply(
        **members,
        id=record.id,
        version=record.version,
        source=record.source.value,
        created_at=format_us(record.created_us),
        updated_at=format_us(record.updated_us),
        state=state,
    )


def quarantine_list(page: Page[QuarantinedEvent]) -> QuarantineList:
    """Return a page of refused events as it is shown."""
    items = tuple(
        QuarantineReply(
            id=item.id,
            received_at=format_us(item.received_us),
            reason=item.reason.value,
            path=item.path,
            message=item.message,
            event=item.event,
        )
        for item in page.items
    )
    return QuarantineList(items, page.next_cursor)


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
        severity=item.severity.value,
        state="firing" if incident.ended_us is None else "resolved",
        status=item.status.value,
        triggered_at=format_us(incident.detected_us),
        event_time=format_us(incident.event_time_us),
        started_at=format_us(incident.started_us),
        fired_at=format_us(incident.fired_us),
        ended_at=_optional_time(incident.ended_us),
        reason=None if incident.end_reason is None else incident.end_reason.value,
        flapping=flaps(incident.series),
        current_value=incident.value,
        peak_value=incident.peak_value,
        threshold=item.threshold,
        operator=item.operator.value,
        window_start=format_us(incident.window_start_us),
        window_end=format_us(incident.window_end_us),
        late_by=incident.late_by_us / US_PER_S,
        detected_by=incident.detected_by.value,
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
        acknowledged_at=_optional_time(detail.acked_us),
        acknowledged_by=detail.acked_by,
        timeline=tuple(
            TimelineReply(
                at=format_us(entry.at_us),
                what=entry.what.value,
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
        status=item.status.value,
        attempts=item.attempts,
        last_error=item.last_error,
        created_at=format_us(item.created_us),
        delivered_at=_optional_time(item.settled_us) if is_delivered else None,
    )


def delivery_list(page: Page[Delivery]) -> DeliveryList:
    """Return a page of messages as it is shown."""
    return DeliveryList(tuple(_delivery(item) for item in page.items), page.next_cursor)


def _delivery(item: Delivery) -> DeliveryReply:
    status, ended_at = item.status, _optional_time(item.settled_us)
    return DeliveryReply(
        id=item.id,
        channel=item.target.channel,
        endpoint=shown_endpoint(item.target),
        group_key=item.group_key,
        kinds=item.kinds,
        status=status.value,
        attempts=item.attempts,
        last_error=item.last_error,
        created_at=format_us(item.created_us),
        next_attempt_at=(
            format_us(item.next_attempt_us) if status is DeliveryStatus.RETRY_PENDING else None
        ),
        delivered_at=ended_at if status is DeliveryStatus.SUCCESS else None,
        failed_at=ended_at if status is DeliveryStatus.FAILED else None,
        incident_count=item.incident_count,
        incidents=item.incidents,
    )


def _optional_time(instant_us: int | None) -> str | None:
    return None if instant_us is None else format_us(instant_us)
