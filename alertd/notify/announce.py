"""From a transition to what is said about it, and to whom.

Owns the wording of one incident in one line, the view of it that receivers get, and the ids of
notifications. It observes the engine's transitions on behalf of the channels; it sends nothing.

Invariant: the same transition always gives the same notifications, ids included, so that recording
it twice is harmless. What holds them back is decided when they are first recorded.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

import msgspec

from alertd.channels.message import IncidentView, MessageKind
from alertd.channels.wording import duration_text, number_text
from alertd.clock import format_us
from alertd.model import (
    NAMESPACE,
    US_PER_S,
    Announcement,
    Hold,
    Incident,
    Notification,
    Rule,
    RuleType,
    Target,
    Timing,
    Transition,
    TransitionKind,
)
from alertd.notify.policy import Policy, subject_labels

_TOLD = {
    TransitionKind.FIRING: MessageKind.FIRING,
    TransitionKind.RESOLVED: MessageKind.RESOLVED,
}


DEFAULT_GROUP_BY: Final = ("ruleName",)


class Announcer:
    """Words transitions. ``public_url`` is where receivers find this server's API."""

    def __init__(
        self,
        public_url: str,
        *,
        group_by: Sequence[str] = DEFAULT_GROUP_BY,
        timing: Timing = Timing(),  # noqa: B008  # immutable
        policy: Policy | None = None,
    ) -> None:
        """``group_by`` names what the notifications of one message have in common.

        These are labels of the incident, ``ruleName`` and ``severity``.
        """
        self._public_url = public_url.rstrip("/")
        self._group_by = tuple(group_by)
        self._timing = timing
        self.policy = Policy() if policy is None else policy
        """What holds notifications back now."""

    def announce(self, transition: Transition) -> Announcement | None:
        """Return what to record and whom to tell of ``transition``; None without an incident."""
        kind, incident, rule = _TOLD.get(transition.kind), transition.incident, transition.rule
        if incident is None:
            return None
        if kind is None:
            return Announcement(transition=transition, summary=summarise(rule, incident))
        view = msgspec.json.encode(self._view(rule, incident, transition.value))
        group_key = _group_key(self._group_by, rule, incident)
        hold = self._hold(kind, rule, incident, transition.detected_us)
        return Announcement(
            transition=transition,
            summary=summarise(rule, incident),
            notifications=tuple(
                Notification(
                    id=notification_id(incident.id, kind, target),
                    incident_id=incident.id,
                    rule_id=rule.id,
                    kind=kind.value,
                    target=target,
                    group_key=group_key,
                    timing=self._timing,
                    view=view,
                    created_us=transition.detected_us,
                    repeat_us=rule.repeat_interval_us,
                    hold=hold,
                )
                for target in rule.targets
            ),
        )

    def _hold(self, kind: MessageKind, rule: Rule, incident: Incident, now_us: int) -> Hold | None:
        """Return what holds this transition back; it may hold others back from now on."""
        labels = subject_labels(rule.name, rule.severity.value, dict(incident.group))
        if kind is MessageKind.FIRING:
            self.policy.sources.begin(incident.id, labels)
        else:
            self.policy.sources.end(incident.id, labels)
        return self.policy.hold(incident.id, labels, now_us)

    def _view(self, rule: Rule, incident: Incident, value: float | None) -> IncidentView:
        ended_us = incident.ended_us
        summary = summarise(rule, incident)
        if ended_us is not None:
            lasted = duration_text((ended_us - incident.started_us) / US_PER_S)
            summary = f"{summary}; over after {lasted}"
        return IncidentView(
            id=incident.id,
            alert_id=rule.id,
            rule_name=rule.name,
            severity=rule.severity.value,
            state="firing" if ended_us is None else "resolved",
            reason=None if incident.end_reason is None else incident.end_reason.value,
            group_labels=dict(incident.group),
            value=value,
            threshold=rule.threshold,
            operator=rule.operator.value,
            started_at=format_us(incident.started_us),
            fired_at=format_us(incident.fired_us),
            ended_at=None if ended_us is None else format_us(ended_us),
            window_start=format_us(incident.window_start_us),
            window_end=format_us(incident.window_end_us),
            event_time=format_us(incident.event_time_us),
            late_by=incident.late_by_us / US_PER_S,
            detected_by=incident.detected_by.value,
            message=summary,
            history_url=f"{self._public_url}/api/incidents/{incident.id}",
            runbook_url=rule.runbook_url,
        )


def summarise(rule: Rule, incident: Incident) -> str:
    """Return one line for a person: which rule, where, and the value against the threshold."""
    where = ", ".join(f"{name}={value}" for name, value in incident.group)
    place = f" for {where}" if where else ""
    value = "no data" if incident.value is None else number_text(incident.value)
    span = duration_text(rule.window_us / US_PER_S)
    kind = "a bucket of" if rule.type is RuleType.BUCKETED_WINDOW else "the last"
    limit = f"{rule.operator.value} {number_text(rule.threshold)}"
    what = f"{rule.aggregate} of {rule.metric_name} over {kind} {span}"
    return f"{rule.name}{place}: {what} was {value} (alert if {limit})"


def notification_id(incident_id: str, kind: MessageKind, target: Target) -> str:
    """Return the id of what tells ``target`` of ``incident_id`` that ``kind`` has happened."""
    identity = (
        f"notification\x1d{incident_id}\x1d{kind}\x1d{target.channel}\x1d{target.endpoint or ''}"
    )
    return str(uuid.uuid5(NAMESPACE, identity))


def _group_key(group_by: Sequence[str], rule: Rule, incident: Incident) -> str:
    labels = {**dict(incident.group), "ruleName": rule.name, "severity": rule.severity.value}
    return msgspec.json.encode({name: labels.get(name, "") for name in group_by}).decode()
