"""Templates that people write for titles and bodies: a small part of Jinja2 that always ends.

Owns the language, what it may cost, and what is wrong with a template. Jinja2's own sandbox keeps
a template from Python, not from running for ever, and a thread that renders one cannot be stopped.
So it is bounded by construction: only what is in ``_LANGUAGE`` is taken. There are no calls, macros
or captures, so nothing grows unseen, and all output passes ``render``. Every item of a loop
is charged with the size of the loop's body, every filter and operator with what it is applied to;
``MAX_STEPS`` take some 50 ms. Invariant: ``render`` returns at most ``max_chars`` or raises
``TemplateFailed``.

Rejected: a deadline in a worker thread (the thread stays, and is one of few); a process for each
(100 ms and memory for a line of text); Jinja2's ``LoopControl`` limits (there are none); str.format
and string.Template (no conditions, no loops: nothing for what ends or for many incidents).
"""

from __future__ import annotations

import difflib
import functools
import operator
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import jinja2
from jinja2 import nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alertd.channels.wording import clip, duration_text, number_text, time_text
from alertd.errors import AlertdError

MAX_SOURCE_CHARS: Final = 16_384
MAX_STEPS: Final = 200_000
MAX_TEXT_CHARS: Final = 65_536
"""Of one text that an operator or a filter makes."""
CHARS_A_STEP: Final = 64

LOOP_NAMES: Final = frozenset({"index", "index0", "first", "last", "length", "revindex"})
"""What ``loop`` tells within a ``for``."""

_LANGUAGE: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign),
    *(nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Keyword),
    *(nodes.Tuple, nodes.List, nodes.Filter, nodes.Test, nodes.CondExpr, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
)
_TESTS: Final = frozenset({"defined", "undefined", "none", "string", "number", "in"})
_METER: Final = "_meter"
_LOOP: Final = "_loop"
_JOINED: Final = "_joined"

T = TypeVar("T")


class TemplateFailed(AlertdError):
    """A template cannot be used, or not for this message; the text says what and on which line."""


class Meter:
    """What a rendering may still spend."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take ``steps``. Raises ``TemplateFailed`` when there are not as many left."""
        self._left -= steps
        if self._left < 0:
            raise TemplateFailed("does more than a template may: loop over less, or nest less")

    def charge(self, value: T) -> T:
        """Spend what it costs to walk over ``value`` once; return it."""
        if isinstance(value, str):
            if len(value) > MAX_TEXT_CHARS:
                raise TemplateFailed(f"makes a text of more than {MAX_TEXT_CHARS} characters")
            self.spend(1 + len(value) // CHARS_A_STEP)
        elif isinstance(value, (Sequence, Mapping)):
            self.spend(1 + len(value))
        else:
            self.spend(1)
        return value


class Template:
    """A template, compiled. ``show`` makes text of a value that stands in ``{{ }}``.

    ``names`` are the variables that it may use, ``attributes`` the names that it may write behind a
    dot; what stands behind one of ``open_names`` is free. ``filters`` are offered beside the usual
    ones. Raises ``TemplateFailed``.
    """

    def __init__(
        self,
        source: str,
        *,
        show: Callable[[object], str],
        max_chars: int,
        names: Collection[str],
        attributes: Collection[str],
        open_names: Collection[str] = (),
        filters: Mapping[str, Callable[..., object]] | None = None,
    ) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise TemplateFailed(f"is longer than {MAX_SOURCE_CHARS} characters")
        self._max_chars = max_chars
        environment = _Environment({**_FILTERS, **(filters or {})}, show)
        try:
            tree = environment.parse(source)
            _check_language(tree, environment)
            _check_names(tree, names, attributes, open_names)
            _charge(tree)
            code = environment.compile(tree)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateFailed(f"line {error.lineno}: {error.message}") from None
        except RecursionError:
            raise TemplateFailed("is nested too deeply") from None
        self._template = jinja2.Template.from_code(environment, code, {})

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text. Raises ``TemplateFailed``, whatever goes wrong."""
        context = self._template.new_context({**values, _METER: Meter()})
        pieces: list[str] = []
        left = self._max_chars
        try:
            for piece in self._template.root_render_func(context):
                left -= len(piece)
                if left < 0:
                    raise TemplateFailed(f"makes more than {self._max_chars} characters")
                pieces.append(piece)
        except Exception as error:  # what somebody wrote can fail in every way that Python can
            text = str(error) or type(error).__name__
            raise TemplateFailed(f"line {self._line_of(error)}: {text}"[:300]) from None
        return "".join(pieces)

    def _line_of(self, error: Exception) -> int:
        """Return the template's line that raised ``error``."""
        line, trace = 1, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2 with charged filters and operators, and no attributes but what mappings have."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(
        self, filters: Mapping[str, Callable[..., object]], show: Callable[[object], str]
    ) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            finalize=show,
            autoescape=False,  # ``show`` escapes as the receiver needs it
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            optimized=False,
        )
        self.globals.clear()
        self.filters = {name: _charged(function) for name, function in filters.items()}
        self.filters |= {_LOOP: _items_of_loop, _JOINED: _joined}
        self.tests = {name: test for name, test in self.tests.items() if name in _TESTS}

    def getattr(self, obj: Any, attribute: str) -> Any:  # Jinja2's name
        """Return ``obj[attribute]``; of objects only ``loop`` has attributes."""
        if isinstance(obj, LoopContext):
            return super().getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]`` of a mapping, a list or a text."""
        if isinstance(obj, (Mapping, Sequence)):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return what the operator makes of two numbers, or ``+`` of two texts."""
        meter = _meter_of(context)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _joined(context, (left, right))
        if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
            kinds = f"{type(left).__name__} and {type(right).__name__}"
            raise TemplateFailed(f"has {operator!r} between {kinds}; it is for numbers")
        meter.spend(1)
        result = _OPERATORS[operator](left, right)
        return result if abs(result) < 2**63 else float(result)


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def _meter_of(context: Context) -> Meter:
    meter = context.get(_METER)
    assert isinstance(meter, Meter)
    return meter


def _charged(function: Callable[..., object]) -> Callable[..., object]:
    """Return ``function`` as a filter that pays for what it is given and for what it returns."""

    @jinja2.pass_context
    @functools.wraps(function)
    def charged(context: Context, value: Any, *args: Any, **options: Any) -> object:
        meter = _meter_of(context)
        if isinstance(value, jinja2.Undefined) and function is not _default:
            str(value)  # raises what is missing
        return meter.charge(function(meter.charge(value), *args, **options))

    return charged


@jinja2.pass_context
def _items_of_loop(context: Context, items: Iterable[object], cost: int) -> Iterator[object]:
    """Yield ``items``, each for ``cost`` steps."""
    meter = _meter_of(context)
    for item in items:
        meter.spend(cost)
        yield item


@jinja2.pass_context
def _joined(context: Context, parts: Sequence[object]) -> str:
    """Return ``a ~ b ~ c``."""
    meter = _meter_of(context)
    texts = list(map(plain, parts))
    if sum(map(len, texts)) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"makes a text of more than {MAX_TEXT_CHARS} characters")
    return meter.charge("".join(texts))


def plain(value: object) -> str:
    """Return ``value`` as a person writes it."""
    match value:
        case str():
            return value
        case None:
            return ""
        case float():
            return number_text(value)
        case list() | tuple():
            return ", ".join(map(plain, value))
        case _:
            return str(value)  # of what is undefined this raises what is missing


def _default(value: object, instead: object = "", even_if_empty: bool = False) -> object:
    is_missing = value is None or isinstance(value, jinja2.Undefined)
    return instead if is_missing or (even_if_empty and not value) else value


def _join(items: Iterable[object], between: str = "") -> str:
    texts = list(map(plain, items))
    if sum(map(len, texts)) + len(between) * len(texts) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"joins more than {MAX_TEXT_CHARS} characters")
    return between.join(texts)


def _replace(text: str, old: str, new: str) -> str:
    if not old or len(text) + text.count(old) * len(new) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"replaces nothing, or makes more than {MAX_TEXT_CHARS} characters")
    return text.replace(old, new)


def _map(items: Iterable[Mapping[str, object]], attribute: str) -> list[object]:
    return [item[attribute] for item in items]


def _sort(items: Iterable[Any], attribute: str = "", reverse: bool = False) -> list[Any]:
    return sorted(items, key=lambda item: item[attribute] if attribute else item, reverse=reverse)


_FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "default": _default,
    "upper": str.upper,
    "lower": str.lower,
    "capitalize": str.capitalize,
    "trim": str.strip,
    "truncate": lambda text, limit=80: clip(text, max(1, limit)),
    "replace": _replace,
    "urlencode": lambda text: urllib.parse.quote(text, safe=""),
    "length": len,
    "first": lambda items: next(iter(items), ""),
    "last": lambda items: items[-1] if items else "",
    "join": _join,
    "map": _map,
    "sort": _sort,
    "unique": lambda items: list(dict.fromkeys(items)),
    "items": lambda mapping: list(mapping.items()),
    "int": int,
    "float": float,
    "round": round,
    "abs": abs,
    "number": number_text,
    "duration": duration_text,
    "time": time_text,
}


def _check_language(tree: nodes.Template, environment: _Environment) -> None:
    """Raise ``TemplateFailed`` for whatever is not part of the language."""
    for node in _walk(tree):
        if not isinstance(node, _LANGUAGE):
            kind = type(node).__name__.lower()
            raise TemplateFailed(
                f"line {node.lineno}: has a {kind!r}, which templates may not have"
            )
        if isinstance(node, nodes.For) and node.recursive:
            raise TemplateFailed(f"line {node.lineno}: a loop may not be recursive")
        if isinstance(node, nodes.Filter):
            _check_known("filter", node.name, environment.filters, node.lineno)
        if isinstance(node, nodes.Test):
            _check_known("test", node.name, environment.tests, node.lineno)


def _check_known(what: str, name: str, known: Collection[str], line: int) -> None:
    if name not in known or name.startswith("_"):
        raise TemplateFailed(f"line {line}: there is no {what} {name!r}{_nearest(name, known)}")


def _check_names(
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
            hint = _nearest(node.attr, known)
            raise TemplateFailed(f"line {node.lineno}: there is no {last}.{node.attr}{hint}")


def _charge(tree: nodes.Template) -> None:
    """Have each item of a loop pay for the loop's body, and ``~`` for what it makes."""
    for loop in list(tree.find_all(nodes.For)):
        cost = sum(1 for part in loop.body for _ in _walk(part)) + 1
        loop.iter = nodes.Filter(
            loop.iter, _LOOP, [nodes.Const(cost)], [], None, None, lineno=loop.lineno
        )
    _replace_concat(tree)


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
    return nodes.Filter(parts, _JOINED, [], [], None, None, lineno=node.lineno)


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in node.iter_child_nodes():
        yield from _walk(child)


def _nearest(name: str, known: Iterable[str]) -> str:
    offered = sorted(one for one in known if not one.startswith("_"))
    near = difflib.get_close_matches(name, offered, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(offered)}"
