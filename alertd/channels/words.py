"""What a channel says where its configuration has templates of its own for that.

Owns the variables of templates (docs/templates.md lists them), how values are escaped for each
kind of receiver, and the rule that a template which fails costs nobody a message: the default words
are told instead, and what failed is said. Leaves the language to ``templates/`` and the default
words to ``wording.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from alertd.channels import wording
from alertd.channels.message import IncidentView, Message
from alertd.channels.protocol import Delivered, Outcome
from alertd.channels.sample import sample_incident, sample_message, sample_messages
from alertd.channels.templates.filters import plain
from alertd.channels.templates.meter import TemplateFailed
from alertd.channels.templates.template import Template

MAX_TITLE_CHARS: Final = 300


class Form(Struct, frozen=True):
    """What the templates of one type of channel make."""

    show: Callable[[object], str]
    """Makes text of a value, escaped as the receiver needs it."""
    max_body_chars: int
    is_json: bool = False
    """Whether a body has to be JSON."""


class _Json(str):
    """JSON that is not escaped again."""

    __slots__ = ()


class _Labels(dict[str, str]):
    """Labels; one that is not there is empty, as in Prometheus."""

    def __missing__(self, name: object) -> str:
        return ""


def json_text(value: object) -> str:
    """Return ``value`` as it stands in JSON; of a text what stands between the quotes."""
    if isinstance(value, _Json):
        return value
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()[1:-1]
    return msgspec.json.encode(value).decode()


def to_json(value: object) -> _Json:
    """Return ``value`` as JSON, quotes included: the filter ``tojson``."""
    return _Json(msgspec.json.encode(value).decode())


PLAIN_TEXT: Final = Form(plain, 65_536)

OPEN_NAMES: Final = ("labels", "group", "annotations")
"""What stands behind a dot after one of these is free; what is not there is empty."""


class Worded(Struct, frozen=True):
    """A message in a channel's own words; None where it has none, or where they failed."""

    title: str | None = None
    body: str | None = None
    fault: str = ""
    """Which template failed, and how."""

    def noted(self, outcome: Outcome) -> Outcome:
        """Return ``outcome`` with the fault, if it is a success of which that is to be known."""
        if isinstance(outcome, Delivered) and self.fault:
            return replace(outcome, fault=self.fault)
        return outcome


class Words:
    """The templates of one channel. Raises ``TemplateFailed`` if one cannot be used at all."""

    def __init__(self, title: str | None, body: str | None, form: Form = PLAIN_TEXT) -> None:
        self._form = form
        self._title = _template(title, form, MAX_TITLE_CHARS)
        self._body = _template(body, form, form.max_body_chars)

    def of(self, message: Message) -> Worded:
        """Return the words for ``message``. Never raises."""
        if self._title is None and self._body is None:
            return Worded()
        values = _values(message)
        title, title_fault = _rendered("title", self._title, values)
        body, body_fault = _rendered("body", self._body, values)
        if body is not None and self._form.is_json and (fault := _json_fault(body)):
            body, body_fault = None, f"the template of body {fault}"
        return Worded(
            title=None if title is None else " ".join(title.split()),
            body=body,
            fault=title_fault or body_fault,
        )


@lru_cache(maxsize=256)
def template_fault(key: str, source: str, form: Form = PLAIN_TEXT) -> str | None:
    """Return what is wrong with the template ``source`` of ``key``; None if nothing is.

    It is tried on messages of every kind: some milliseconds, and nothing the next time.
    """
    try:
        words = Words(**{"title": None, "body": None, key: source}, form=form)
    except TemplateFailed as error:
        return f"the template {error}"
    for message in sample_messages():
        if fault := words.of(message).fault:
            return fault
    return None


def _template(source: str | None, form: Form, max_chars: int) -> Template | None:
    if source is None:
        return None
    return Template(
        source,
        show=form.show,
        max_chars=max_chars,
        names=_values(sample_message()).keys(),
        attributes=incident_values(sample_incident()).keys(),
        open_names=OPEN_NAMES,
        filters={"tojson": to_json} if form.is_json else {},
    )


def _rendered(
    key: str, template: Template | None, values: Mapping[str, object]
) -> tuple[str | None, str]:
    if template is None:
        return None, ""
    try:
        return template.render(values), ""
    except TemplateFailed as error:
        return None, f"the template of {key} failed: {error}"


def _json_fault(body: str) -> str | None:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        return f"does not make JSON: {error}"
    return None


def _values(message: Message) -> Mapping[str, object]:
    """Return the variables of a template for ``message``."""
    views = wording.latest(message)
    incidents = [incident_values(view) for view in views]
    firing = sum(view.state != "resolved" for view in views)
    return {
        "id": message.notification_id,
        "kind": message.kind.value,
        "title": wording.subject(message),
        "sent_at": message.sent_at,
        "group": _Labels(message.group_labels),
        "list_url": message.list_url,
        "incident": incidents[0] if incidents else {},
        "incidents": incidents,
        "firing": firing,
        "ended": len(views) - firing,
        "hidden": wording.hidden_text(message),
    }


def incident_values(view: IncidentView) -> dict[str, object]:
    """Return what templates may say of one incident, by name."""
    return {
        "id": view.id,
        "alert_id": view.alert_id,
        "rule": view.rule_name,
        "severity": view.severity,
        "state": view.state,
        "status": wording.status_word(view),
        "where": wording.group_text(view),
        "labels": _Labels(view.group_labels),
        "value": view.value,
        "threshold": view.threshold,
        "operator": view.operator,
        "against": wording.value_text(view),
        "since": wording.time_text(view.started_at),
        "until": None if view.ended_at is None else wording.time_text(view.ended_at),
        "ending": wording.ending(view),
        "lasted": wording.lasted_text(view),
        "late": wording.duration_text(view.late_by) if view.late_by > 0 else None,
        "late_secs": view.late_by,
        "found_by": view.detected_by,
        "escalated_after": wording.escalated_text(view),
        "started_at": view.started_at,
        "fired_at": view.fired_at,
        "ended_at": view.ended_at,
        "window_start": view.window_start,
        "window_end": view.window_end,
        "event_time": view.event_time,
        "summary": view.message,
        "description": view.description,
        "annotations": _Labels(view.annotations),
        "reason": view.reason,
        "history_url": view.history_url,
        "runbook_url": view.runbook_url,
    }
