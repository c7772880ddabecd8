"""A message as Alertmanager's webhook sends it, for what was made to receive that.

Owns the body of its version 4: field for field, in its order, escaped and with its alerts sorted
as the real one does it. https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from alertd.channels import wording
from alertd.channels.alert import alert_annotations, alert_labels, fingerprint, go_time
from alertd.channels.message import IncidentView, Message

NEVER: Final = "0001-01-01T00:00:00Z"
"""Go's zero time: the end of what has not ended."""

_ESCAPES: Final = (
    ("&", "\\u0026"),
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)
"""As Go's encoder writes them; they occur in strings only."""
_RENAMED: Final = {"ruleName": "alertname"}
_GO_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


class Alert(Struct, frozen=True, kw_only=True, rename="camel"):
    """One incident as Alertmanager has it."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    generator_url: str = msgspec.field(name="generatorURL")
    fingerprint: str


class Body(Struct, frozen=True, kw_only=True, rename="camel"):
    """The whole body. The order of the fields is the wire's."""

    receiver: str
    status: str
    alerts: tuple[Alert, ...]
    group_labels: dict[str, str]
    common_labels: dict[str, str]
    common_annotations: dict[str, str]
    external_url: str = msgspec.field(name="externalURL")
    version: str = "4"
    group_key: str
    truncated_alerts: int = 0


def encode(message: Message, receiver: str) -> bytes:
    """Return the body of ``message``; ``receiver`` is the name of the channel."""
    alerts = sorted(map(_alert, wording.latest(message)), key=_place)
    group_labels = _group_labels(message)
    shown = ", ".join(f"{name}={go_quote(value)}" for name, value in group_labels.items())
    body = Body(
        receiver=receiver,
        status="firing" if any(alert.status == "firing" for alert in alerts) else "resolved",
        alerts=tuple(alerts),
        group_labels=group_labels,
        common_labels=_common([alert.labels for alert in alerts]),
        common_annotations=_common([alert.annotations for alert in alerts]),
        external_url=message.list_url.partition("/api/")[0],
        group_key=f"{{}}:{{{shown}}}",
    )
    encoded = msgspec.json.encode(body).decode()
    for character, escape in _ESCAPES:
        encoded = encoded.replace(character, escape)
    return encoded.encode() + b"\n"


def _group_labels(message: Message) -> dict[str, str]:
    named = {_RENAMED.get(name, name): value for name, value in message.group_labels.items()}
    return dict(sorted(named.items()))


def go_quote(text: str) -> str:
    """Return ``text`` as Go's ``strconv.Quote`` writes it."""
    return '"' + "".join(map(_go_escape, text)) + '"'


def _go_escape(character: str) -> str:
    if escape := _GO_ESCAPES.get(character):
        return escape
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _alert(incident: IncidentView) -> Alert:
    labels = alert_labels(incident)
    return Alert(
        status="resolved" if incident.state == "resolved" else "firing",
        labels=labels,
        annotations=alert_annotations(incident),
        starts_at=go_time(incident.started_at),
        ends_at=NEVER if incident.ended_at is None else go_time(incident.ended_at),
        generator_url=incident.history_url,
        fingerprint=fingerprint(labels),
    )


def _place(alert: Alert) -> tuple[object, ...]:
    """Alertmanager sorts by job, instance, the number of labels, then the labels."""
    labels = alert.labels
    return labels.get("job", ""), labels.get("instance", ""), len(labels), sorted(labels.items())


def _common(sets: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return what all of ``sets`` have, with the same value."""
    if not sets:
        return {}
    first, *others = sets
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }
