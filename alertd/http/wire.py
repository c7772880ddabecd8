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
from alertd.clock import Timestamp, format_us
from alertd.errors import Problem
from alertd.model import (
    US_PER_S,
    DetectedBy,
    EndReason,
    IncidentSeries,
    Operator,
    RefusalReason,
    Severity,
    Target,
)
from alertd.outbound import DeliveryStatus
from alertd.rules import TARGET_FIELDS, RuleRecord, RuleSpec, Source
from alertd.store.deliveries import Delivery
from alertd.store.history import (
    HistoryItem,
    IncidentDetail,
    IncidentState,
    NotificationItem,
    Page,
)
from alertd.store.quarantine import QuarantinedEvent
from alertd.store.timeline import TimelineEvent

MAX_ERRORS: Final = 100
"""Problems that one reply lists."""

ELLIPSIS: Final = "…"
"""Stands for what a redacted endpoint does not show."""

encode = msgspec.json.Encoder().encode
"""Returns a struct or plain data as JSON."""


class ErrorItem(Struct, frozen=True):
    """One thing that is wrong with the input."""

    path: str
    """JSON pointer (RFC 6901) into the request; for a parameter its name, for a mistake in the
    configuration ``FILE:LINE``."""
    message: str
    """What to mend."""


class EventReceipt(Struct, frozen=True, kw_only=True, rename="camel"):
    """The reply to accepted events."""

    accepted: int
    """Events that are durable now."""
    duplicates: int
    """Events whose ``id`` was accepted before; not stored again."""
    rejected: int
    """Events that were not taken."""
    errors: tuple[ErrorItem, ...]
    """Why not: the first 100 mistakes."""
    errors_truncated: bool
    """Whether there are more."""


class QuarantineReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One event that was refused."""

    id: int
    """Its number in the quarantine."""
    received_at: Timestamp
    """When it came."""
    reason: RefusalReason
    """Why it was refused."""
    path: str
    """Where in its request the first mistake was."""
    message: str
    """What was wrong there."""
    event: str
    """The event as JSON; one of more than 2 KiB is cut and ends with an ellipsis."""


class QuarantineList(Struct, frozen=True, rename="camel"):
    """A page of refused events, the newest first."""

    items: tuple[QuarantineReply, ...]
    """The refused events."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class GroupCounts(Struct, frozen=True):
    """How many groups of a rule are in each state."""

    ok: int
    """The condition does not hold."""
    pending: int
    """It holds, not yet for ``forSecs``."""
    firing: int
    """An incident is on."""
    no_data: int
    """The window has no value."""


class RuleReply(RuleSpec, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=False):
    """A rule: what its author wrote, and what alertd knows about it."""

    id: str
    """UUID; of a rule that stands in a file it follows from the name."""
    version: int
    """Grows by one with each edit; also in the header ``ETag``."""
    source: Source
    """``toml`` for a rule that stands in a file: it is edited there."""
    created_at: Timestamp
    """When it was made."""
    updated_at: Timestamp
    """When it was edited last."""
    state: GroupCounts
    """How its groups are."""


class RuleList(Struct, frozen=True, rename="camel"):
    """A page of rules, by name."""

    items: tuple[RuleReply, ...]
    """The rules."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


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


class DeliveryReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One message and how far it has come."""

    id: str
    """Also the ``Idempotency-Key`` that it is sent with."""
    channel: str
    """Name of a configured channel, or the type of one that a rule names by its endpoint."""
    endpoint: str | None
    """Without its secret part, for which an ellipsis stands; null for a configured channel."""
    group_key: str
    """What its incidents have in common, as a JSON object."""
    kinds: tuple[str, ...]
    """``firing``, ``resolved``, ``repeat``, ``flapping``: what is in it."""
    status: DeliveryStatus
    """How far it has come."""
    attempts: int
    """That ended."""
    last_error: str | None
    """Why the last attempt that failed did so."""
    created_at: Timestamp
    """When it was begun."""
    next_attempt_at: Timestamp | None
    """Null once it has ended."""
    delivered_at: Timestamp | None
    """When it ended as SUCCESS."""
    failed_at: Timestamp | None
    """When it was given up."""
    incident_count: int
    """How many incidents it tells of."""
    incidents: tuple[str, ...]
    """Ids of the first 100."""


class DeliveryList(Struct, frozen=True, rename="camel"):
    """A page of messages, the newest first."""

    items: tuple[DeliveryReply, ...]
    """The messages."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


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
    """UUID; it follows from the rule, the group and the start."""
    alert_id: str
    """The rule's id."""
    rule_name: str
    """As it was then; so are severity, threshold and operator."""
    severity: Severity
    """How bad it is."""
    state: IncidentState
    """Whether it is still on."""
    status: DeliveryStatus
    """The worst of its notifications; SUCCESS where it has none."""
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
    """Seconds by which the event that revealed it came late."""
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
    """A page of incidents, the newest first."""

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

    acknowledged_at: Timestamp | None
    """When somebody had seen it; null if nobody has."""
    acknowledged_by: str | None
    """Who; empty if nobody said."""
    timeline: tuple[TimelineReply, ...]
    """What happened, the oldest first."""


class RequeueReply(Struct, frozen=True, rename="camel"):
    """A message that will be sent again."""

    id: str
    """The message's."""
    status: DeliveryStatus
    """Its new one."""


class HealthReply(Struct, frozen=True):
    """A sign of life."""

    status: str
    """``ok`` or ``ready``."""


def json_response(
    body: object, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """Return ``body``, a struct or plain data, as a JSON response."""
    return Response(encode(body), status.value, headers=headers, content_type="application/json")


def error_items(problems: Sequence[Problem]) -> tuple[ErrorItem, ...]:
    """Return the first ``MAX_ERRORS`` problems."""
    return tuple(ErrorItem(each.path, each.message) for each in problems[:MAX_ERRORS])


def shown_endpoint(target: Target) -> str | None:
    """Return the endpoint of ``target`` without its secret part, for which an ellipsis stands."""
    shown = redact_target(target)
    if shown is None or ELLIPSIS in shown or shown == target.endpoint:
        return shown
    return f"{shown}/{ELLIPSIS}"


def rule_reply(record: RuleRecord, state: Mapping[str, int]) -> RuleReply:
    """Return a rule as it is shown."""
    members = msgspec.structs.asdict(record.spec)
    for name in TARGET_FIELDS:
        members[name] = tuple(
            Target(target.channel, shown_endpoint(target)) for target in members[name]
        )
    return RuleReply(
        **members,
        id=record.id,
        version=record.version,
        source=record.source,
        created_at=format_us(record.created_us),
        updated_at=format_us(record.updated_us),
        state=GroupCounts(**state),
    )


def quarantine_list(page: Page[QuarantinedEvent]) -> QuarantineList:
    """Return a page of refused events as it is shown."""
    items = tuple(
        QuarantineReply(
            id=item.id,
            received_at=format_us(item.received_us),
            reason=item.reason,
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
        severity=item.severity,
        state=IncidentState.FIRING if incident.ended_us is None else IncidentState.RESOLVED,
        status=item.status,
        triggered_at=format_us(incident.detected_us),
        event_time=format_us(incident.event_time_us),
        started_at=format_us(incident.started_us),
        fired_at=format_us(incident.fired_us),
        ended_at=_optional_time(incident.ended_us),
        reason=incident.end_reason,
        flapping=flaps(incident.series),
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
        acknowledged_at=_optional_time(detail.acked_us),
        acknowledged_by=detail.acked_by,
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
        status=status,
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


def _optional_time(instant_us: int | None) -> Timestamp | None:
    return None if instant_us is None else format_us(instant_us)
