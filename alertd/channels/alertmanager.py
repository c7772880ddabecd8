"""A message as Alertmanager's webhook sends it, for what was made to receive that.

Owns the translation to the body of its version 4: field for field, in its order, with its times
and fingerprints. https://prometheus.io/docs/alerting/latest/configuration/#webhook_config; the
fingerprint is ``prometheus/common``'s, 64-bit FNV-1a over the sorted labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from alertd.channels import wording
from alertd.channels.message import IncidentView, Message

NEVER: Final = "0001-01-01T00:00:00Z"
"""Go's zero time: the end of what has not ended."""

_ESCAPES: Final = ((b"&", b"\\u0026"), (b"<", b"\\u003c"), (b">", b"\\u003e"))
"""As Go's encoder writes them; they occur in strings only."""
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_SEPARATOR: Final = b"\xff"


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
    alerts = [_alert(incident) for incident in wording.latest(message)]
    group_labels = dict(sorted(message.group_labels.items()))
    shown = ", ".join(f'{name}="{value}"' for name, value in group_labels.items())
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
    encoded = msgspec.json.encode(body)
    for character, escape in _ESCAPES:
        encoded = encoded.replace(character, escape)
    return encoded + b"\n"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the 16 hexadecimal digits that stand for a label set."""
    digest = _FNV_OFFSET
    for name, value in sorted(labels.items()):
        for byte in name.encode() + _SEPARATOR + value.encode() + _SEPARATOR:
            digest = (digest ^ byte) * _FNV_PRIME % 2**64
    return f"{digest:016x}"


def _alert(incident: IncidentView) -> Alert:
    labels = {
        **incident.group_labels,
        "alertname": incident.rule_name,
        "severity": incident.severity,
    }
    annotations = {"summary": incident.message}
    if incident.runbook_url:
        annotations["runbook_url"] = incident.runbook_url
    if incident.reason:
        annotations["reason"] = incident.reason
    return Alert(
        status="resolved" if incident.state == "resolved" else "firing",
        labels=dict(sorted(labels.items())),
        annotations=dict(sorted(annotations.items())),
        starts_at=_time(incident.started_at),
        ends_at=NEVER if incident.ended_at is None else _time(incident.ended_at),
        generator_url=incident.history_url,
        fingerprint=fingerprint(labels),
    )


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


def _time(rfc3339: str) -> str:
    """Return the time as Go writes it: without zeros at the end of the fraction."""
    whole, _, fraction = rfc3339.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"
