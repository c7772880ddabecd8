"""Messages that nobody has sent: to try templates on, and for ``alertd notify test``.

Owns one made-up incident and the states of it that a template has to cope with.
"""

from __future__ import annotations

from typing import Any

from alertd.channels.message import IncidentView, Message, MessageKind
from alertd.clock import format_us
from alertd.model import US_PER_S

_BASE_URL = "http://127.0.0.1:9470"
_NOW_US = 1_751_295_600 * US_PER_S
_ID = "6f1c2d4e-0000-5000-8000-000000000001"


def sample_incident(
    base_url: str = _BASE_URL, now_us: int = _NOW_US, **changes: Any
) -> IncidentView:
    """Return an incident that fires at ``now_us``, with ``changes`` of its fields (so ``Any``)."""
    now, earlier = format_us(now_us), format_us(now_us - 300 * US_PER_S)
    own_id = changes.get("id", _ID)
    usual = {
        "id": own_id,
        "alert_id": own_id,
        "rule_name": "High Error Count",
        "severity": "critical",
        "state": "firing",
        "reason": None,
        "group_labels": {"service": "payment"},
        "value": 137.0,
        "threshold": 100.0,
        "operator": ">",
        "started_at": now,
        "fired_at": now,
        "ended_at": None,
        "window_start": earlier,
        "window_end": now,
        "event_time": now,
        "late_by": 0.0,
        "detected_by": "stream",
        "history_url": f"{base_url}/api/incidents/{own_id}",
        "message": "High Error Count for service=payment: count of error_count over the last 5 min "
        "was 137 (alert if > 100)",
        "runbook_url": "https://example.org/runbooks/errors",
    }
    return IncidentView(**{**usual, **changes})


def sample_message(
    base_url: str = _BASE_URL,
    now_us: int = _NOW_US,
    incidents: tuple[IncidentView, ...] = (),
    *,
    kind: MessageKind = MessageKind.FIRING,
) -> Message:
    """Return a message about ``incidents``, or about one that fires."""
    told = incidents or (sample_incident(base_url, now_us),)
    return Message(
        notification_id=told[0].id,
        idempotency_key=told[0].id,
        kind=kind,
        sent_at=format_us(now_us),
        incidents=told,
        group_labels={"ruleName": told[0].rule_name},
        list_url=f"{base_url}/api/incidents?state=firing",
    )


def sample_messages() -> list[Message]:
    """Return messages that differ in whatever a template may ask about."""
    ended_at = format_us(_NOW_US + 420 * US_PER_S)
    ended = sample_incident(state="resolved", reason="recovered", ended_at=ended_at)
    vanished = sample_incident(
        state="resolved",
        reason="no_data",
        ended_at=ended_at,
        value=None,
        group_labels={},
        runbook_url=None,
        late_by=90.0,
        detected_by="reconciler",
    )
    hostile = sample_incident(rule_name='<"&\\>', group_labels={"a": "\n\t\u2028'"})
    many = tuple(sample_incident(id=str(n), rule_name=f"rule {n}") for n in range(30))
    return [
        sample_message(),
        sample_message(incidents=(ended,), kind=MessageKind.RESOLVED),
        sample_message(incidents=(vanished,), kind=MessageKind.RESOLVED),
        sample_message(incidents=(hostile,), kind=MessageKind.REPEAT),
        sample_message(incidents=(*many, ended, vanished)),
    ]
