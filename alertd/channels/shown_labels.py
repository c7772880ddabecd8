"""Labels that templates show and that a rule's incidents do not have.

An incident has the labels that its rule groups by and no others; in a template all others are
empty. Owns the warning of that: the template may be about many rules, or the label may be meant to
be missing, so nothing is refused. Leaves to ``templates/labels.py`` what a template shows, which is
loaded with the first of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from alertd.channels.config import ChannelConfig
from alertd.errors import Problem, pointer_token
from alertd.rule_checks import RuleSetting
from alertd.rules import TARGET_FIELDS, RuleSpec


def labels_of_channels(channels: Mapping[str, ChannelConfig]) -> dict[str, frozenset[str]]:
    """Return the labels that the templates of each channel show; those without are left out."""
    shown = {
        name: _shown(filter(None, (getattr(config, "title", None), getattr(config, "body", None))))
        for name, config in channels.items()
    }
    return {name: labels for name, labels in shown.items() if labels}


def label_warnings(spec: RuleSpec, setting: RuleSetting) -> list[Problem]:
    """Return what a rule shows, or has shown of it, and does not have.

    Paths are JSON pointers with the wire's names.
    """
    return [*_in_annotations(spec), *_in_channels(spec, setting.labels_of_channels)]


def _in_annotations(spec: RuleSpec) -> Iterator[Problem]:
    for name, source in spec.annotations.items():
        missing = _shown([source]) - set(spec.group_by)
        if missing:
            path = f"/annotations/{pointer_token(name)}"
            yield Problem(path, f"shows {listed(missing)}; {_REMEDY}")


def _in_channels(
    spec: RuleSpec, labels_of_channels: Mapping[str, frozenset[str]]
) -> Iterator[Problem]:
    for field, key in TARGET_FIELDS.items():
        for index, target in enumerate(getattr(spec, field)):
            missing = labels_of_channels.get(target.channel, frozenset()) - set(spec.group_by)
            if missing:
                text = f"the templates of {target.channel!r} show {listed(missing)}; {_REMEDY}"
                yield Problem(f"/{key}/{index}", text)


_REMEDY = (
    "incidents have the labels in groupBy and no others, so nothing stands there: add to groupBy, "
    "or provide for that with `default('…', true)`"
)


def listed(labels: Iterable[str]) -> str:
    """Return labels as templates write them."""
    return ", ".join(f"labels.{label}" for label in sorted(labels))


def _shown(sources: Iterable[str]) -> frozenset[str]:
    labels: frozenset[str] = frozenset()
    for source in sources:
        from alertd.channels.templates.labels import shown_labels  # loads Jinja2: takes long

        labels |= shown_labels(source)
    return labels
