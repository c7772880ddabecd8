"""An incident as Prometheus and Alertmanager know alerts: labels that identify it, annotations.

Owns the translation that the webhook of Alertmanager's format and the channel that feeds an
Alertmanager share: names of labels, which of them win, times, fingerprints. The fingerprint is
``prometheus/common``'s, 64-bit FNV-1a over the sorted labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from alertd.channels.message import IncidentView

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")
_FNV_OFFSET: Final = 0xCBF29CE484222325
_FNV_PRIME: Final = 0x100000001B3
_SEPARATOR: Final = b"\xff"


def alert_labels(incident: IncidentView) -> dict[str, str]:
    """Return the label set that identifies the alert, sorted by name.

    In a name that Prometheus would not take other characters become ``_``; one that is taken by
    then, by ``alertname`` or ``severity`` for example, gets ``exported_`` in front, as Prometheus
    does it. A label with an empty value is none.
    """
    labels = {"alertname": incident.rule_name, "severity": incident.severity}
    for name, value in sorted(incident.group_labels.items()):
        known = _label_name(name)
        while known in labels:
            known = f"exported_{known}"
        labels[known] = value
    return {name: value for name, value in sorted(labels.items()) if value}


def alert_annotations(incident: IncidentView) -> dict[str, str]:
    """Return what is said of the alert beside what identifies it, sorted by name.

    What the rule annotates wins over alertd's own words.
    """
    annotations = {"summary": incident.message}
    if incident.description:
        annotations["description"] = incident.description
    if incident.reason:
        annotations["reason"] = incident.reason
    if incident.runbook_url:
        annotations["runbook_url"] = incident.runbook_url
    return dict(sorted((annotations | incident.annotations).items()))


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the 16 hexadecimal digits that stand for a label set."""
    digest = _FNV_OFFSET
    for name, value in sorted(labels.items()):
        for byte in name.encode() + _SEPARATOR + value.encode() + _SEPARATOR:
            digest = (digest ^ byte) * _FNV_PRIME % 2**64
    return f"{digest:016x}"


def go_time(rfc3339: str) -> str:
    """Return the time as Go writes it: without zeros at the end of the fraction."""
    whole, _, fraction = rfc3339.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _label_name(name: str) -> str:
    known = _NOT_IN_NAMES.sub("_", name)
    return f"_{known}" if not known or known[0].isdigit() else known
