"""Which labels a template shows.

A label that an incident does not have is empty in a template, and nothing fails. Owns which labels
a template shows as they are: those for which it does not provide, by ``default('…', true)``, an
``if`` or an ``or``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import jinja2
from jinja2 import nodes

from alertd.channels.templates.language import walk

_LABELS: Final = "labels"


@lru_cache(maxsize=8192)
def shown_labels(source: str) -> frozenset[str]:
    """Return the labels that the template ``source`` shows as they are.

    One that cannot be used shows none: what is wrong with it is told by whoever has it. Nor does
    one that is nested too deeply to be read.
    """
    if _LABELS not in source:
        return frozenset()
    try:
        tree = jinja2.Environment(autoescape=False).parse(source)  # noqa: S701  # not rendered
        provided = (name for node in _provisions(tree) for name in _named(node))
        return frozenset(_named(tree)) - frozenset(provided)
    except (jinja2.TemplateSyntaxError, RecursionError):
        return frozenset()


def _provisions(tree: nodes.Template) -> Iterator[nodes.Node]:
    """Yield the parts of ``tree`` that ask whether something is there."""
    for node in walk(tree):
        match node:
            case nodes.If() | nodes.CondExpr():
                yield node.test
            case nodes.Or():
                yield node.left
            case nodes.Filter(name="default") if len(node.args) > 1 or node.kwargs:
                yield node


def _named(node: nodes.Node) -> Iterator[str]:
    """Yield the labels that ``node`` names: ``labels.host``, ``incident.labels['host']``."""
    for part in walk(node):
        match part:
            case nodes.Getattr(node=owner, attr=name) if _is_labels(owner):
                yield name
            case nodes.Getitem(node=owner, arg=nodes.Const(value=str() as name)) if _is_labels(
                owner
            ):
                yield name


def _is_labels(owner: nodes.Node) -> bool:
    return getattr(owner, "attr", getattr(owner, "name", "")) == _LABELS
