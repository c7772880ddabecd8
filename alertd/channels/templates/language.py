"""What a template may be made of: everything that can be counted, and nothing else.

Owns the check of a parsed template, its names included, and the change to it by which loops and
concatenations pay. There are no calls, macros, captures or imports: nothing grows unseen, and all
output comes out of the template piece by piece.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from jinja2 import nodes
from jinja2.meta import find_undeclared_variables

from alertd.channels.templates.meter import TemplateFailed
from alertd.meant import did_you_mean

LOOP_NAMES: Final = frozenset({"index", "index0", "first", "last", "length", "revindex"})
"""What ``loop`` tells within a ``for``."""

_LANGUAGE: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Keyword),
    *(nodes.Tuple, nodes.List, nodes.Filter, nodes.Test, nodes.CondExpr, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
)
TESTS: Final = frozenset({"defined", "undefined", "none", "string", "number", "in"})
LOOP_FILTER: Final = "_loop"
"""Stands before the items of a loop, with the cost of one."""
JOIN_FILTER: Final = "_joined"
"""Stands for ``~``."""
SEARCHED_FILTER: Final = "_searched"
"""Stands behind ``in``, before what is searched."""


def check_language(tree: nodes.Template, filters: Collection[str], tests: Collection[str]) -> None:
    """Raise ``TemplateFailed`` for whatever is not part of the language."""
    for node in walk(tree):
        if not isinstance(node, _LANGUAGE):
            kind = type(node).__name__.lower()
            raise TemplateFailed(
                f"line {node.lineno}: has a {kind!r}, which templates may not have"
            )
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateFailed(f"line {node.lineno}: a loop may not be recursive")
        if isinstance(node, nodes.List | nodes.Tuple) and not _is_flat(node):
            raise TemplateFailed(f"line {node.lineno}: a list may hold texts and numbers only")
        if isinstance(node, nodes.Filter):
            _check_known("filter", node.name, filters, node.lineno)
        if isinstance(node, nodes.Test):
            _check_known("test", node.name, tests, node.lineno)


def _is_flat(node: nodes.List | nodes.Tuple) -> bool:
    """Return whether it holds constants, or is what a loop's items or a value are taken apart into.

    Lists in lists in lists can be small to write and endless to walk over.
    """
    is_target = isinstance(node, nodes.Tuple) and node.ctx == "store"
    return is_target or all(isinstance(item, nodes.Const) for item in node.items)


def _check_known(what: str, name: str, known: Collection[str], line: int) -> None:
    if name not in known or name.startswith("_"):
        raise TemplateFailed(f"line {line}: there is no {what} {name!r}{_hint(name, known)}")


def check_names(
    tree: nodes.Template,
    names: Collection[str],
    attributes: Collection[str],
    open_names: Collection[str],
) -> None:
    """Raise ``TemplateFailed`` for variables and attributes that there are not."""
    for name in sorted(find_undeclared_variables(tree) - set(names)):
        [line, *_] = [node.lineno for node in tree.find_all(nodes.Name) if node.name == name]
        _check_known("variable", name, names, line)
    for node in tree.find_all(nodes.Getattr):
        owner = node.node
        last = owner.attr if isinstance(owner, nodes.Getattr) else getattr(owner, "name", "")
        known = LOOP_NAMES if last == "loop" else attributes
        if last not in open_names and node.attr not in known:
            hint = _hint(node.attr, known)
            raise TemplateFailed(f"line {node.lineno}: there is no {last}.{node.attr}{hint}")


def charge_work(tree: nodes.Template) -> None:
    """Have a loop's items pay for its body, ``~`` for what it makes, ``in`` for its search."""
    for loop in list(tree.find_all(nodes.For)):
        cost = sum(1 for part in loop.body for _ in walk(part)) + 1
        loop.iter = nodes.Filter(
            loop.iter, LOOP_FILTER, [nodes.Const(cost)], [], None, None, lineno=loop.lineno
        )
    for operand in list(tree.find_all(nodes.Operand)):
        if operand.op in ("in", "notin"):
            operand.expr = _searched(operand.expr)
    for test in list(tree.find_all(nodes.Test)):
        if test.name == "in":
            test.args[:] = map(_searched, test.args)
    _replace_concat(tree)


def _searched(node: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(node, SEARCHED_FILTER, [], [], None, None, lineno=node.lineno)


def _replace_concat(node: nodes.Node) -> None:
    for name, value in list(node.iter_fields()):
        if isinstance(value, nodes.Node):
            setattr(node, name, _without_concat(value))
        elif isinstance(value, list):
            value[:] = [_without_concat(v) if isinstance(v, nodes.Node) else v for v in value]


def _without_concat(node: nodes.Node) -> nodes.Node:
    _replace_concat(node)
    if not isinstance(node, nodes.Concat):
        return node
    parts = nodes.List(node.nodes, lineno=node.lineno)
    return nodes.Filter(parts, JOIN_FILTER, [], [], None, None, lineno=node.lineno)


def walk(node: nodes.Node) -> Iterator[nodes.Node]:
    """Yield ``node`` and all that is below it."""
    yield node
    for child in node.iter_child_nodes():
        yield from walk(child)


def _hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown ``name``; nothing where none is known."""
    offered = sorted(one for one in known if not one.startswith("_"))
    hint = did_you_mean(name, offered) or (offered and f"there are {', '.join(offered)}")
    return f"; {hint}" if hint else ""
