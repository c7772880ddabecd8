"""Messages for the channel tests."""

from __future__ import annotations

from typing import Any

from alertd.channels.message import IncidentView, Message, MessageKind

INCIDENT_ID = "6f1c2d4e-0000-5000-8000-000000000001"
KEY = "9a7b1c2d-0000-5000-8000-000000000002"


def incident(
    *,
    id: str = INCIDENT_ID,  # noqa: A002 - the field's name
    rule_name: str = "High Error Count",
    severity: str = "critical",
    state: str = "firing",
    reason: str | None = None,
    group_labels: dict[str, str] | None = None,
    value: float | None = 137.0,
    ended_at: str | None = None,
    late_by: float = 0.0,
    message: str = "High Error Count: service=payment has 137 > 100",
    description: str = "",
    runbook_url: str | None = "https://runbooks.example/errors?a=1&b=2",
) -> IncidentView:
    """Return an incident as a receiver sees it."""
    return IncidentView(
        id=id,
        alert_id="0e7a8b9c-0000-5000-8000-000000000003",
        rule_name=rule_name,
        severity=severity,
        state=state,
        reason=reason,
        group_labels={"service": "payment"} if group_labels is None else group_labels,
        value=value,
        threshold=100.0,
        operator=">",
        started_at="2025-06-30T15:00:00.000000Z",
        fired_at="2025-06-30T15:00:00.000000Z",
        ended_at=ended_at,
        window_start="2025-06-30T14:55:00.000000Z",
        window_end="2025-06-30T15:00:00.000000Z",
        event_time="2025-06-30T15:00:00.000000Z",
        late_by=late_by,
        detected_by="stream",
        message=message,
        history_url="http://127.0.0.1:9470/api/incidents/" + id,
        runbook_url=runbook_url,
        description=description,
    )


def message(
    *incidents: IncidentView, kind: MessageKind = MessageKind.FIRING, key: str = KEY
) -> Message:
    """Return a message about ``incidents``, or about one that fires."""
    return Message(
        notification_id=key,
        idempotency_key=key,
        kind=kind,
        sent_at="2025-06-30T15:00:00.100000Z",
        incidents=incidents or (incident(),),
    )


def resolved(reason: str = "recovered", **changes: Any) -> IncidentView:
    """Return an incident that has ended."""
    ended_at = "2025-06-30T15:07:00.000000Z"
    return incident(state="resolved", reason=reason, ended_at=ended_at, **changes)
