"""What a rule's author has to say of its incidents, in words that know the incident.

Owns annotations, as Prometheus has them: by name a template, made into text when an incident is
told. A template may use all that a channel's may say of one incident (docs/templates.md lists it),
by its bare name: ``{{ labels.host }} is at {{ value }}``. Leaves the templates to
``annotation_templates.py``, which is loaded with the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import structs

from alertd.channels.message import IncidentView
from alertd.errors import InvalidInput, Problem, pointer_token
from alertd.rule_checks import MAX_ANNOTATION_CHARS, RuleSetting, check_spec
from alertd.rules import RuleSpec


def annotate(view: IncidentView, templates: Iterable[tuple[str, str]]) -> IncidentView:
    """Return ``view`` with an annotation for each template, by name."""
    from alertd.channels.annotation_templates import rendered  # loads Jinja2, which takes long

    return structs.replace(view, annotations=rendered(view, templates))


def check_rule(spec: RuleSpec, setting: RuleSetting) -> None:
    """Raise ``InvalidInput`` with all that ``check_spec`` finds, and with templates that fail."""
    problems: list[Problem] = []
    try:
        check_spec(spec, setting)
    except InvalidInput as error:
        problems += error.problems
    if spec.annotations:
        problems += _template_problems(spec)
    if problems:
        raise InvalidInput(problems)


def _template_problems(spec: RuleSpec) -> Iterator[Problem]:
    from alertd.channels.annotation_templates import annotation_fault  # as above

    for name, source in spec.annotations.items():
        is_short = len(source) <= MAX_ANNOTATION_CHARS  # else that is refused already
        if is_short and (fault := annotation_fault(source, spec.group_by)):
            path = f"/annotations/{pointer_token(name)}"
            yield Problem(path, f"the template {fault}")
