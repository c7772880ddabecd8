"""From a transition to what is said about it, and to whom.

Owns the wording of one incident in one line, the view of it that receivers get, and the ids of
notifications. It observes the engine's transitions on behalf of the channels; it sends nothing.

Invariant: the same transition always gives the same notifications, ids included, so that recording
it twice is harmless. What holds them back is decided when they are first recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import structs

from alertd.channels.annotations import annotate
from alertd.channels.message import IncidentView, MessageKind
from alertd.channels.wording import clip, closing, duration_text, number_text
from alertd.clock import format_us, optional_time
from alertd.model import (
    US_PER_S,
    Incident,
    Rule,
    RuleType,
    Target,
    Transition,
    TransitionKind,
)
from alertd.notify.matchers import subject_labels
from alertd.notify.policy import Policy
from alertd.notify.review import escalates
from alertd.notify.route import BY_RULE, Defaults, Own, Route, destinations
from alertd.outbound import (
    WHOEVER_KNOWS,
    Announcement,
    FlappingEpisode,
    Notification,
    Timing,
    notification_id,
)

MAX_MATCHERS_CHARS: Final = 200
"""Of a rule's matchers in the sentence on an incident; the rest is cut."""

_TOLD = {
    TransitionKind.FIRING: MessageKind.FIRING,
    TransitionKind.RESOLVED: MessageKind.RESOLVED,
}


class Announcer:
    """Words transitions. ``public_url`` is where receivers find this server's API."""

    def __init__(
        self,
        public_url: str,
        *,
        defaults: Defaults = Defaults(),  # noqa: B008  # immutable
        routes: Iterable[Route] = (),
        policy: Policy | None = None,
    ) -> None:
        self._public_url = public_url.rstrip("/")
        self._defaults = defaults
        self._routes = tuple(routes)
        self.policy = Policy() if policy is None else policy
        """What holds notifications back now."""

    @property
    def foresees(self) -> bool:
        """Whether ``foresee`` makes a difference."""
        return self.policy.sources.has_inhibitions

    def foresee(self, transition: Transition) -> None:
        """Know what is on once ``transition`` is announced; call it for all found together first.

        So an incident inhibits those that begin with it, in whatever order they were found.
        """
        if transition.incident is not None:
            labels = _labels_of(transition.rule, transition.incident)
            self._note_source(transition.incident, labels)

    def announce(self, transition: Transition) -> Announcement | None:
        """Return what to record and whom to tell of ``transition``; None without an incident."""
        kind, incident, rule = _TOLD.get(transition.kind), transition.incident, transition.rule
        if incident is None:
            return None
        summary = summarise(rule, incident)
        labels = _labels_of(rule, incident)
        self._note_source(incident, labels)
        if kind is None:
            return Announcement(transition=transition, summary=summary)
        now_us = transition.detected_us
        flaps = self.policy.flapping.note(transition)
        hold = self.policy.hold(incident.id, labels, now_us)
        own = Own(rule.targets, rule.repeat_interval_us, rule.escalation)
        told = destinations(self._routes, labels, own, self._defaults)
        is_end = kind is MessageKind.RESOLVED
        if not told and not is_end:
            return Announcement(transition=transition, summary=summary, flapping=flaps)
        view = self._view(rule, incident, transition.value, summary)
        common = Notification(
            id="",
            incident_id=incident.id,
            rule_id=rule.id,
            kind=kind.value,
            target=WHOEVER_KNOWS,
            group_key="",
            timing=self._defaults.timing,
            view=msgspec.json.encode(view),
            created_us=now_us,
            hold=hold,
        )
        notifications: Iterable[Notification] = [
            structs.replace(
                common,
                id=notification_id(incident.id, kind, destination.target),
                target=destination.target,
                group_key=_group_key(destination.group_by, labels),
                timing=destination.timing,
                view=_escalated(view, after_us) if after_us else common.view,
                repeat_us=destination.repeat_us,
                via="" if destination.via == BY_RULE else destination.via,
                hold=escalates(after_us, now_us) if after_us and hold is None else hold,
                after_us=after_us,
            )
            for destination in told
            for after_us in [0 if is_end else destination.after_us]
        ]
        if flaps is not None and hold is None:
            at_once = {destination.target for destination in told if not destination.after_us}
            notifications = self._while_it_flaps(flaps, notifications, view, at_once)
            common = structs.replace(common, hold=self.policy.flapping.hold_of(flaps))
        return Announcement(
            transition=transition,
            summary=summary,
            notifications=tuple(notifications),
            end=common if is_end else None,
            flapping=flaps,
        )

    def _while_it_flaps(
        self,
        episode: FlappingEpisode,
        notifications: Iterable[Notification],
        view: IncidentView,
        reported_to: Collection[Target],
    ) -> Iterator[Notification]:
        """Yield what is told while a series flaps: that it does. All else is held back.

        The report has one id in the whole episode. So it is told once, with the first change that
        nothing else holds back. An escalation begins when others can be told, which is afterwards.
        """
        hold = self.policy.flapping.hold_of(episode)
        report = structs.replace(view, message=f"{view.message}; {hold.detail}")
        for notification in notifications:
            if notification.target in reported_to:
                yield structs.replace(
                    notification,
                    id=notification_id(episode.id, MessageKind.FLAPPING, notification.target),
                    kind=MessageKind.FLAPPING.value,
                    view=msgspec.json.encode(report),
                    repeat_us=0,
                )
            yield structs.replace(notification, hold=hold)

    def use(self, defaults: Defaults, routes: Iterable[Route]) -> None:
        """Tell by ``routes`` from now on. An incident stays in the group in which it was told."""
        self._defaults = defaults
        self._routes = tuple(routes)

    def timing_of(self, target: Target, labels: Mapping[str, str]) -> Timing:
        """Return when notifications of incidents with these labels may leave for ``target``."""
        told = destinations(self._routes, labels, Own((target,)), self._defaults)
        return next(one.timing for one in told if one.target == target)

    def _note_source(self, incident: Incident, labels: Mapping[str, str]) -> None:
        """While it is on, the incident may hold others back."""
        if incident.ended_us is None:
            self.policy.sources.begin(incident.id, labels)
        else:
            self.policy.sources.end(incident.id)

    def _view(
        self, rule: Rule, incident: Incident, value: float | None, summary: str
    ) -> IncidentView:
        ended_us = incident.ended_us
        if ended_us is not None:
            lasted_s = (ended_us - incident.started_us) / US_PER_S
            summary = f"{summary}; {closing(incident.end_reason or '', lasted_s, value)}"
        view = IncidentView(
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
            ended_at=optional_time(ended_us),
            window_start=format_us(incident.window_start_us),
            window_end=format_us(incident.window_end_us),
            event_time=format_us(incident.event_time_us),
            late_by=incident.late_by_us / US_PER_S,
            detected_by=incident.detected_by.value,
            message=summary,
            history_url=f"{self._public_url}/api/incidents/{incident.id}",
            runbook_url=rule.runbook_url,
            description=rule.description,
        )
        return annotate(view, rule.annotations) if rule.annotations else view


def summarise(rule: Rule, incident: Incident) -> str:
    """Return one line for a person: which rule, where, and the value against the threshold.

    What a rule leaves out by its matchers is said, for its labels do not tell that.
    """
    where = ", ".join(f"{name}={value}" for name, value in incident.group)
    place = f" for {where}" if where else ""
    value = "no data" if incident.value is None else number_text(incident.value)
    span = duration_text(rule.window_us / US_PER_S)
    kind = "a bucket of" if rule.type is RuleType.BUCKETED_WINDOW else "the last"
    limit = f"{rule.operator.value} {number_text(rule.threshold)}"
    what = f"{rule.aggregate} of {rule.metric_name}{_among(rule)} over {kind} {span}"
    return f"{rule.name}{place}: {what} was {value} (alert if {limit})"


def _among(rule: Rule) -> str:
    """Return which events count, ``{job=backup}``, as far as the group does not say it."""
    matchers = [
        f"{each.label}{each.operator.value}{each.pattern}"
        for each in rule.matchers
        if each.label not in rule.group_by
    ]
    return f"{{{clip(', '.join(matchers), MAX_MATCHERS_CHARS)}}}" if matchers else ""


def _labels_of(rule: Rule, incident: Incident) -> dict[str, str]:
    return subject_labels(rule.name, rule.severity.value, dict(incident.group))


def _escalated(view: IncidentView, after_us: int) -> bytes:
    return msgspec.json.encode(structs.replace(view, escalated_after=after_us / US_PER_S))


def _group_key(group_by: Sequence[str], labels: Mapping[str, str]) -> str:
    return msgspec.json.encode({name: labels.get(name, "") for name in group_by}).decode()
