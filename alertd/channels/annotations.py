"""What a rule's author has to say of its incidents, in words that know the incident.

Owns annotations, as Prometheus has them: by name a template, made into text when an incident is
told. A template may use all that a channel's may say of one incident (README.md lists it), by its
bare name: ``{{ labels.host }} is at {{ value }}``. Invariant: whatever fails, the incident is told;
in the place of an annotation then stands what was wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from msgspec import structs

from alertd.channels.message import IncidentView
from alertd.channels.sample import sample_incident, sample_messages
from alertd.channels.templates.filters import plain
from alertd.channels.templates.meter import TemplateFailed
from alertd.channels.templates.template import Template
from alertd.channels.words import OPEN_NAMES, incident_values
from alertd.errors import InvalidInput, Problem
from alertd.rules import MAX_ANNOTATION_CHARS, RuleSetting, RuleSpec, check_spec


def annotate(view: IncidentView, templates: Iterable[tuple[str, str]]) -> IncidentView:
    """Return ``view`` with an annotation for each template, by name."""
    values = incident_values(view)
    annotations = {name: _text(source, values) for name, source in templates}
    return structs.replace(view, annotations=annotations)


def check_rule(spec: RuleSpec, setting: RuleSetting) -> None:
    """Raise ``InvalidInput`` with all that ``check_spec`` finds, and with templates that fail."""
    problems: list[Problem] = []
    try:
        check_spec(spec, setting)
    except InvalidInput as error:
        problems += error.problems
    for name, source in spec.annotations.items():
        is_short = len(source) <= MAX_ANNOTATION_CHARS  # else that is refused already
        if is_short and (fault := annotation_fault(source)):
            path = f"/annotations/{name.replace('~', '~0').replace('/', '~1')}"
            problems.append(Problem(path, f"the template {fault}"))
    if problems:
        raise InvalidInput(problems)


@lru_cache(maxsize=1024)
def annotation_fault(source: str) -> str | None:
    """Return what is wrong with a template, tried on incidents of every kind; else None."""
    try:
        template = _template(source)
        for message in sample_messages():
            for view in message.incidents[-2:]:
                template.render(incident_values(view))
    except TemplateFailed as error:
        return str(error)
    return None


def _text(source: str, values: Mapping[str, object]) -> str:
    try:
        return _template(source).render(values).strip()
    except TemplateFailed as error:
        return f"(the template failed: {error})"


@lru_cache(maxsize=1024)
def _template(source: str) -> Template:
    known = incident_values(sample_incident()).keys()
    return Template(
        source,
        show=plain,
        max_chars=MAX_ANNOTATION_CHARS,
        names=known,
        attributes=(),
        open_names=OPEN_NAMES,
    )
