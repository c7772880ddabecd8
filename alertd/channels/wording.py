"""What a person is told: the words that Slack, e-mail and Apprise share.

Owns headlines, the list of facts, plain text and their formatting. It escapes nothing: the channel
that puts a text into mrkdwn or HTML does. Missing data is never worded as recovery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from alertd.channels.message import IncidentView, Message, MessageKind

MAX_INCIDENTS_SHOWN: Final = 10
"""Incidents spelled out in one message; the rest are counted."""

_UNKNOWN: Final = {
    "no_data": "ended without data{after}",
    "rule_changed": "ended{after} because the rule was changed",
    "rule_deleted": "ended{after} because the rule was deleted or disabled",
    "expired": "forgotten without events{after}",
}
"""Ends after which nobody knows whether the condition holds still."""

_COLOURS: Final = {
    "critical": "#d00000",
    "error": "#e8590c",
    "warning": "#f2c744",
    "info": "#3b82f6",
}
_RECOVERED_COLOUR: Final = "#2eb886"
NEUTRAL_COLOUR: Final = "#8d8d8d"


def colour(incident: IncidentView) -> str:
    """Return an HTML colour: by severity while it fires, green only for a known recovery."""
    if incident.state != "resolved":
        return _COLOURS.get(incident.severity, _COLOURS["warning"])
    return _RECOVERED_COLOUR if is_recovered(incident) else NEUTRAL_COLOUR


def is_recovered(incident: IncidentView) -> bool:
    """Return whether the incident ended because the condition is known to be false again."""
    return incident.state == "resolved" and incident.reason == "recovered"


def status_word(incident: IncidentView) -> str:
    """Return FIRING, RESOLVED, or ENDED where it ended without being known to have recovered."""
    if incident.state != "resolved":
        return "FIRING"
    return "RESOLVED" if is_recovered(incident) else "ENDED"


def latest(message: Message) -> list[IncidentView]:
    """Return what the message says of each incident in the end: one view for each, in its order.

    One that began and ended since stands where its end does: behind all that fires.
    """
    last = {view.id: view for view in message.incidents}
    return [view for view in message.incidents if view is last[view.id]]


def headline(incident: IncidentView) -> str:
    """Return state and rule: ``FIRING: High Error Count``."""
    return f"{status_word(incident)}: {incident.rule_name}"


def subject(message: Message) -> str:
    """Return one line for the whole message; of several rules it names that of the worst."""
    incidents = latest(message)
    prefix = {
        MessageKind.TEST: "[test] ",
        MessageKind.REPEAT: "[still] ",
        MessageKind.FLAPPING: "[flapping] ",
    }.get(message.kind, "")
    if not incidents:
        return f"{prefix}alertd: {message.kind.value}"
    first = incidents[0]
    if len(incidents) == 1:
        where = f" ({group_text(first)})" if first.group_labels else ""
        return f"{prefix}{headline(first)}{where}"
    firing = sum(incident.state != "resolved" for incident in incidents)
    counts = {"firing": firing, "ended": len(incidents) - firing}
    counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    others = len({incident.rule_name for incident in incidents}) - 1
    more = f" and {others} more" if others else ""
    return f"{prefix}{counted}: {first.rule_name}{more}"


def group_text(incident: IncidentView) -> str:
    """Return the group as ``service=payment, host=web-1``; ``everything`` for no groupBy."""
    pairs = incident.group_labels.items()
    return ", ".join(f"{name}={value}" for name, value in pairs) or "everything"


def facts(incident: IncidentView) -> list[tuple[str, str]]:
    """Return what is known of the incident as (label, text), the most telling first."""
    found = [("Severity", incident.severity)]
    if incident.group_labels:
        found.append(("Where", group_text(incident)))
    found.append(("Value", value_text(incident)))
    found.append(("Since", time_text(incident.started_at)))
    if incident.state == "resolved" and incident.ended_at is not None:
        found.append(("Until", f"{time_text(incident.ended_at)}, {ending(incident)}"))
    window = f"{time_text(incident.window_start)} to {time_text(incident.window_end)}"
    found.append(("Window", window))
    if incident.late_by > 0:
        found.append(("Late", f"the data came {duration_text(incident.late_by)} late"))
    if incident.detected_by != "stream":
        found.append(("Found by", incident.detected_by))
    return found


def remarks(incident: IncidentView) -> list[str]:
    """Return why it is told to somebody else now, and what the rule's author has to say of it."""
    length = escalated_text(incident)
    escalated = f"Nobody has acknowledged it in {length}." if length else ""
    annotations = [f"{name}: {text}" for name, text in incident.annotations.items()]
    return [*filter(None, [escalated, incident.description]), *annotations]


def escalated_text(incident: IncidentView) -> str | None:
    """Return how long nobody acknowledged it; None if that is not why it is told."""
    return duration_text(incident.escalated_after) if incident.escalated_after else None


def ending(incident: IncidentView) -> str | None:
    """Return why it ended, in words; None while it fires."""
    if incident.state != "resolved":
        return None
    return "recovered" if is_recovered(incident) else _unknown(incident.reason)


def closing(reason: str, lasted_s: float, value: float | None) -> str:
    """Return what the sentence on an incident says of its end: ``over after 2 min, at 3 then``.

    ``value`` is the one at its end. Only a known recovery is called over.
    """
    lasted = f" after {duration_text(lasted_s)}"
    if reason != "recovered":
        return _unknown(reason, lasted)
    return f"over{lasted}" + ("" if value is None else f", at {number_text(value)} then")


def _unknown(reason: str | None, after: str = "") -> str:
    how = _UNKNOWN.get(reason or "", "ended{after}").format(after=after)
    return f"{how}, recovery is not known"


def lasted_text(incident: IncidentView) -> str | None:
    """Return how long it lasted; None while it fires."""
    if incident.ended_at is None:
        return None
    began, ended = map(datetime.fromisoformat, (incident.started_at, incident.ended_at))
    return duration_text((ended - began).total_seconds())


def links(incident: IncidentView) -> list[tuple[str, str]]:
    """Return (label, URL) of what to open next; only http and https addresses."""
    candidates = [("History", incident.history_url), ("Runbook", incident.runbook_url or "")]
    return [(label, url) for label, url in candidates if url.startswith(("http://", "https://"))]


def plain_text(message: Message) -> str:
    """Return all that is told, in lines."""
    lines: list[str] = []
    for incident in latest(message)[:MAX_INCIDENTS_SHOWN]:
        lines += [one_line(headline(incident)), one_line(incident.message)]
        lines += [*map(one_line, remarks(incident)), ""]
        lines += [f"{label}: {one_line(text)}" for label, text in facts(incident)]
        lines += [f"{label}: {one_line(url)}" for label, url in links(incident)]
        lines.append("")
    if hidden := hidden_text(message):
        lines.append(hidden)
    return "\n".join(lines or [one_line(subject(message))]) + "\n"


def one_line(text: str) -> str:
    """Return ``text`` without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def hidden_text(message: Message) -> str | None:
    """Return what stands for the incidents beyond ``MAX_INCIDENTS_SHOWN``, None if all are."""
    hidden = latest(message)[MAX_INCIDENTS_SHOWN:]
    if not hidden:
        return None
    where = f": {message.list_url}" if message.list_url else ""
    return f"and {len(hidden)} more ({_severities(hidden)}); the history has them all{where}"


def _severities(incidents: Sequence[IncidentView]) -> str:
    """Return how many there are of each severity, the worst first: ``2 critical, 1 warning``."""
    counts = Counter(incident.severity for incident in incidents)
    ranked = sorted(counts, key=lambda severity: list(_COLOURS).index(severity))
    return ", ".join(f"{counts[severity]} {severity}" for severity in ranked)


def value_text(incident: IncidentView) -> str:
    """Return the value against the threshold: ``137, alert if > 100``."""
    value = "no data" if incident.value is None else number_text(incident.value)
    return f"{value}, alert if {incident.operator} {number_text(incident.threshold)}"


def number_text(number: float) -> str:
    """Return a number as people write it: ten digits at most, no ``.0``."""
    return format(number, ".10g")


def time_text(rfc3339: str) -> str:
    """Return ``2025-06-30 15:00:00 UTC`` for ``2025-06-30T15:00:00.000000Z``."""
    if not rfc3339.endswith("Z"):
        return rfc3339
    return f"{rfc3339[:19].replace('T', ' ')} UTC"


def duration_text(seconds: float) -> str:
    """Return a length of time in its two largest units, without zeros: ``2 min 5 s``, ``1 h``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    units = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    unit_s, unit, part_s, part = next(scale for scale in units if whole >= scale[0])
    parts = whole % unit_s // part_s
    return f"{whole // unit_s} {unit}" + (f" {parts} {part}" if parts else "")


def clip(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` characters, with an ellipsis where it was cut."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
