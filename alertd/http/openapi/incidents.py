"""Operations on what fired."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec

from alertd.http.incident_replies import (
    HistoryList,
    HistoryReply,
    IncidentDetails,
    IncidentReply,
    NotificationReply,
    TimelineReply,
)
from alertd.http.incidents import AckBody, AckMedia
from alertd.http.openapi.operation import (
    OF_PARAMETERS,
    PAGE,
    Body,
    Content,
    Links,
    Operation,
    choice,
    instant,
    path_parameter,
    reply,
)
from alertd.http.openapi.rules import RULE
from alertd.model import DetectedBy, EndReason, Operator, Severity
from alertd.outbound import DeliveryStatus, Told
from alertd.store.incident_query import IncidentState
from alertd.store.timeline import TimelineEvent

_TAG: Final = "incidents"

_TOLD: Final = NotificationReply(
    id="6f9d3c80-8d5b-5d53-9d3f-4f7f0a4b9c01",
    kind="firing",
    channel="ops",
    endpoint=None,
    message_id="6f9d3c80-8d5b-5d53-9d3f-4f7f0a4b9c01",
    status=DeliveryStatus.SUCCESS,
    attempts=2,
    last_error="HTTP 503",
    created_at="2025-06-30T15:00:00.040000Z",
    delivered_at="2025-06-30T15:00:01.210000Z",
)
_INCIDENT: Final = HistoryReply(
    id="4a1c7a3e-52a7-5f6f-8f9d-2b1d3c0d6e02",
    alert_id=RULE.id,
    rule_name=RULE.name,
    severity=Severity.CRITICAL,
    state=IncidentState.RESOLVED,
    status=DeliveryStatus.SUCCESS,
    told=Told.DELIVERED,
    triggered_at="2025-06-30T15:00:00.035000Z",
    event_time="2025-06-30T15:00:00.000000Z",
    started_at="2025-06-30T15:00:00.000000Z",
    fired_at="2025-06-30T15:00:00.000000Z",
    ended_at="2025-06-30T15:07:30.000000Z",
    reason=EndReason.RECOVERED,
    flapping=False,
    acknowledged_at="2025-06-30T15:02:00.000000Z",
    acknowledged_by="ann",
    current_value=101.0,
    peak_value=240.0,
    threshold=100.0,
    operator=Operator.GT,
    window_start="2025-06-30T14:55:00.000000Z",
    window_end="2025-06-30T15:00:00.000000Z",
    late_by=0.0,
    detected_by=DetectedBy.STREAM,
    group_labels={"service": "payment"},
    message="Payment errors for service=payment: count of error_count over the last 5 min was 101 "
    "(alert if > 100)",
    notifications=(_TOLD,),
    details=IncidentDetails(rule_version=1, continues=None, merged_into=None),
)
_WITH_TIMELINE: Final = IncidentReply(
    **msgspec.structs.asdict(_INCIDENT),
    timeline=(
        TimelineReply(
            at="2025-06-30T15:00:00.000000Z",
            what=TimelineEvent.FIRED,
            detail=_INCIDENT.message,
            notification_id=None,
        ),
        TimelineReply(
            at="2025-06-30T15:00:00.120000Z",
            what=TimelineEvent.RETRY,
            detail="ops: HTTP 503",
            notification_id=_TOLD.id,
        ),
        TimelineReply(
            at="2025-06-30T15:00:01.210000Z",
            what=TimelineEvent.SENT,
            detail="ops",
            notification_id=_TOLD.id,
        ),
        TimelineReply(
            at="2025-06-30T15:02:00.000000Z",
            what=TimelineEvent.ACKNOWLEDGED,
            detail="ann",
            notification_id=None,
        ),
        TimelineReply(
            at="2025-06-30T15:07:30.000000Z",
            what=TimelineEvent.RESOLVED,
            detail="recovered",
            notification_id=None,
        ),
    ),
)

_ID: Final = path_parameter("incident_id", "The incident's id.")
_FILTERS: Final = (
    instant("from", "Only incidents that were detected at this time or later."),
    instant("to", "Only incidents that were detected before this time."),
    choice(
        "status",
        DeliveryStatus,
        "Only incidents whose notifications went like this: the worst of them counts, and where "
        "there is none it is `SUCCESS`.",
    ),
    choice(
        "told",
        Told,
        "Only incidents of which somebody knows (`delivered`), or nobody: yet (`pending`), because "
        "it was given up (`failed`), because it is or was `held_back`, or because `nobody` was "
        "named.",
    ),
    choice("state", IncidentState, "Only incidents that are on (`firing`) or over (`resolved`)."),
    *PAGE,
)
_PAGE: Final = reply(
    HistoryList,
    HistoryList((_INCIDENT,), None),
    "A page of incidents, the newest first. Where `status`, `told` or `state` leave out nearly all "
    "it may have fewer than `limit`, or none: `nextCursor` says whether there are more.",
    links=Links("/items/0/id", "incident_id", ("getIncident", "acknowledgeIncident")),
)

OPERATIONS: Final = (
    Operation(
        name="listHistory",
        tag=_TAG,
        summary="List the incidents of all rules",
        parameters=_FILTERS,
        replies=(_PAGE,),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="listHistoryOfRule",
        tag=_TAG,
        summary="List the incidents of a rule",
        note="Of a deleted rule too, as long as there are any.",
        parameters=(path_parameter("rule_id", "The rule's id."), *_FILTERS),
        replies=(_PAGE,),
        refusals={**OF_PARAMETERS, HTTPStatus.NOT_FOUND: ""},
    ),
    Operation(
        name="listIncidents",
        tag=_TAG,
        summary="List incidents",
        note="The same as `/api/history`; `state=firing` is what is on now.",
        parameters=_FILTERS,
        replies=(_PAGE,),
        refusals=OF_PARAMETERS,
    ),
    Operation(
        name="getIncident",
        tag=_TAG,
        summary="Show an incident with its timeline",
        note="Every decision with its time and reason, the oldest first.",
        parameters=(_ID,),
        replies=(reply(IncidentReply, _WITH_TIMELINE, "The incident."),),
        refusals={**OF_PARAMETERS, HTTPStatus.NOT_FOUND: ""},
    ),
    Operation(
        name="acknowledgeIncident",
        tag=_TAG,
        summary="Say that somebody has seen an incident",
        note="It is not repeated any more, and nobody else is told of it, until it ends. Doing it "
        "again changes nothing.",
        parameters=(_ID,),
        body=Body(
            (Content((AckBody,), {"Who has seen it": AckBody(by="ann")}, AckMedia.JSON.value),),
            is_required=False,
        ),
        replies=(reply(IncidentReply, _WITH_TIMELINE, "The incident, acknowledged."),),
        refusals={
            **OF_PARAMETERS,
            HTTPStatus.NOT_FOUND: "",
            HTTPStatus.CONFLICT: "The incident has ended.",
        },
    ),
)
