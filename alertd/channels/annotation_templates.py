"""The templates of annotations: compiled, tried and rendered.

They are rendered where events are judged, so they may cost far less than a channel's. Invariant:
whatever fails, the incident is told; in the place of an annotation then stands what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Final

from alertd.channels.message import IncidentView
from alertd.channels.sample import sample_incident, sample_messages
from alertd.channels.templates.filters import plain
from alertd.channels.templates.meter import TemplateFailed
from alertd.channels.templates.template import Template
from alertd.channels.words import OPEN_NAMES, incident_values
from alertd.rule_checks import MAX_ANNOTATION_CHARS

MAX_STEPS: Final = 2_000
"""Of one annotation: half a millisecond, in which nothing is judged."""
MAX_KEPT: Final = 8_192
"""Templates that stay compiled, some 10 kB each; to compile one takes 2 ms."""


def rendered(view: IncidentView, templates: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for each template, by name, what it says of ``view``."""
    values = incident_values(view)
    return {name: _text(source, values) for name, source in templates}


@lru_cache(maxsize=MAX_KEPT)
def annotation_fault(source: str, group_by: tuple[str, ...] = ()) -> str | None:
    """Return what is wrong with a template, tried on incidents of every kind; else None.

    One of them has the labels ``group_by``, as the incidents of such a rule have.
    """
    own = sample_incident(group_labels=dict.fromkeys(group_by, "v"))
    try:
        template = _template(source)
        for values in (*_samples(), incident_values(own)):
            template.render(values)
    except TemplateFailed as error:
        return str(error)
    return None


@cache
def _samples() -> Sequence[Mapping[str, object]]:
    """Return what templates may say of incidents of every kind."""
    views = [view for message in sample_messages() for view in message.incidents[-2:]]
    return [incident_values(view) for view in views]


def _text(source: str, values: Mapping[str, object]) -> str:
    try:
        return _template(source).render(values).strip()
    except TemplateFailed as error:
        return f"(the template failed: {error})"


@lru_cache(maxsize=MAX_KEPT)
def _template(source: str) -> Template:
    known = incident_values(sample_incident()).keys()
    return Template(
        source,
        show=plain,
        max_chars=MAX_ANNOTATION_CHARS,
        max_steps=MAX_STEPS,
        names=known,
        attributes=(),
        open_names=OPEN_NAMES,
    )
