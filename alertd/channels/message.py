"""What a notification says, apart from how a channel words it.

Owns ``Message``, which is also the body of the default webhook format (API.md, last section):
the field names are the wire's once camelCased. Times are RFC 3339 text here because nobody
computes with them any more.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import Struct


class MessageKind(StrEnum):
    """Why a message is sent."""

    FIRING = "firing"
    RESOLVED = "resolved"
    REPEAT = "repeat"
    FLAPPING = "flapping"
    TEST = "test"


class IncidentView(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One incident as a receiver sees it."""

    id: str
    alert_id: str
    rule_name: str
    severity: str
    state: str
    """``firing`` or ``resolved``."""
    reason: str | None
    group_labels: dict[str, str]
    value: float | None
    threshold: float
    operator: str
    started_at: str
    fired_at: str
    ended_at: str | None
    window_start: str
    window_end: str
    event_time: str
    late_by: float
    """Seconds."""
    detected_by: str
    message: str
    """One line for a person: what, where, value against threshold."""
    history_url: str
    runbook_url: str | None
    description: str = ""
    """What the rule's author has to say; left out of the body where there is nothing."""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    """The same in words that know the incident, by name; left out likewise."""
    escalated_after: float = 0
    """Seconds in which nobody acknowledged it, which is why this receiver is told; left out if it
    is told anyhow."""


class Message(Struct, frozen=True, kw_only=True, rename="camel"):
    """One message to one channel. ``idempotency_key`` is the same on every attempt."""

    version: int = 1
    notification_id: str
    idempotency_key: str
    kind: MessageKind
    sent_at: str
    incidents: tuple[IncidentView, ...]
    """What fires first, the worst first; an incident that began and ended since is in it twice."""
    group_labels: dict[str, str] = msgspec.field(default_factory=dict)
    """What the incidents have in common: the values of ``notify.group_by``."""
    list_url: str = ""
    """Where all incidents that are on are listed."""
