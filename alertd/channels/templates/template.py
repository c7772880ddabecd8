"""One template: compiled, checked, rendered within its bounds.

Jinja2's own sandbox keeps a template from Python, not from running for ever, and a thread that
renders one cannot be stopped. So a template is bounded by construction: it may be made only of what
``language.py`` can count, every item of a loop is charged with the size of the loop's body, and
every filter and operator with what it is applied to. Invariant: ``render`` returns at most
``max_chars`` within ``max_steps``, or raises ``TemplateFailed``.

Rejected: a deadline in a worker thread (the thread stays, and is one of few); a process for each
(100 ms and memory for a line of text); Jinja2's ``LoopControl`` limits (there are none); str.format
and string.Template (no conditions, no loops: nothing for what ends or for many incidents).
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import jinja2
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alertd.channels.templates.filters import FILTERS, default, plain
from alertd.channels.templates.language import (
    JOIN_FILTER,
    LOOP_FILTER,
    SEARCHED_FILTER,
    TESTS,
    charge_work,
    check_language,
    check_names,
)
from alertd.channels.templates.meter import MAX_STEPS, MAX_TEXT_CHARS, Meter, TemplateFailed

MAX_SOURCE_CHARS: Final = 16_384
_METER: Final = "_meter"


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
        max_steps: int = MAX_STEPS,
        names: Collection[str],
        attributes: Collection[str],
        open_names: Collection[str] = (),
        filters: Mapping[str, Callable[..., object]] | None = None,
    ) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise TemplateFailed(f"is longer than {MAX_SOURCE_CHARS} characters")
        self._max_chars = max_chars
        self._max_steps = max_steps
        environment = _environment(tuple({**FILTERS, **(filters or {})}.items()), show)
        try:
            tree = environment.parse(source)
            check_language(tree, environment.filters, environment.tests)
            check_names(tree, names, attributes, open_names)
            charge_work(tree)
            code = environment.compile(tree)
        except jinja2.TemplateSyntaxError as error:
            hint = _AS_IN_PROMETHEUS if _GO_NAME.search(source) else ""
            raise TemplateFailed(f"line {error.lineno}: {error.message}{hint}") from None
        except (RecursionError, SyntaxError, MemoryError):  # Python's own limits on nesting
            raise TemplateFailed("is nested too deeply") from None
        self._template = jinja2.Template.from_code(environment, code, {})

    def render(self, values: Mapping[str, object]) -> str:
        """Return the text. Raises ``TemplateFailed``, whatever goes wrong."""
        context = self._template.new_context({**values, _METER: Meter(self._max_steps)})
        pieces: list[str] = []
        left = self._max_chars
        try:
            for piece in self._template.root_render_func(context):
                left -= len(piece)
                if left < 0:
                    raise TemplateFailed(f"makes more than {self._max_chars} characters")
                pieces.append(piece)
        except Exception as error:  # what somebody wrote can fail in every way that Python can
            raise TemplateFailed(f"line {self._line_of(error)}: {_words(error)}"[:300]) from None
        return "".join(pieces)

    def _line_of(self, error: Exception) -> int:
        """Return the template's line that raised ``error``."""
        line, trace = 1, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                line = self._template.get_corresponding_lineno(trace.tb_lineno)
            trace = trace.tb_next
        return line


_GO_NAME: Final = re.compile(r"\{[{%](?:[^}]*\s)?[.$]\w")
"""A name as Go's templates write it: ``{{ $labels.host }}``, ``{{ .Labels.host }}``."""
_AS_IN_PROMETHEUS: Final = (
    "; this is Jinja2, where names have no $ and no dot before them: {{ labels.host }}, {{ value }}"
)
_MAY_BE_MISSING: Final = (
    "a value here is missing in some messages; write `value | default(0)`, or another default"
)


def _words(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, TypeError) and "NoneType" in text:
        return _MAY_BE_MISSING
    return text


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja2 with charged filters and operators, and no attributes but what mappings have."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(
        self, filters: Mapping[str, Callable[..., object]], show: Callable[[object], str]
    ) -> None:
        super().__init__(
            undefined=jinja2.StrictUndefined,
            finalize=lambda value: show(_present(value)),
            autoescape=False,  # ``show`` escapes as the receiver needs it
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
            optimized=False,
        )
        self.globals.clear()
        self.filters = {name: _charged(function) for name, function in filters.items()}
        self.filters |= {
            LOOP_FILTER: _items_of_loop,
            JOIN_FILTER: _joined,
            SEARCHED_FILTER: _searched,
        }
        self.tests = {name: test for name, test in self.tests.items() if name in TESTS}

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
        if left is None or right is None:
            raise TemplateFailed(_MAY_BE_MISSING)
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


@functools.lru_cache(maxsize=16)
def _environment(
    filters: tuple[tuple[str, Callable[..., object]], ...], show: Callable[[object], str]
) -> _Environment:
    """Return one for all templates of a kind: it costs more memory than most templates."""
    return _Environment(dict(filters), show)


def _present(value: object) -> object:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises what is missing
    return value


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
        if function is not default:
            _present(value)
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
def _searched(context: Context, value: object) -> object:
    """Return ``value``, in which something is looked for."""
    return _meter_of(context).charge(value)


@jinja2.pass_context
def _joined(context: Context, parts: Sequence[object]) -> str:
    """Return ``a ~ b ~ c``."""
    meter = _meter_of(context)
    texts = list(map(plain, parts))
    if sum(map(len, texts)) > MAX_TEXT_CHARS:
        raise TemplateFailed(f"makes a text of more than {MAX_TEXT_CHARS} characters")
    return meter.charge("".join(texts))
