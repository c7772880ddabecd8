"""One TOML file: its contents, and the mistakes found in it, each with its line.

Owns reading and the conversion of a table to a struct, field by field, so that one mistake does
not hide the next. Leaves to ``settings.py`` and ``rules.py`` what the values mean.

Invariant: a converted value satisfies its annotation, ``msgspec.Meta`` bounds included.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from alertd.config.errors import ConfigProblem
from alertd.config.places import KeyPath, Places
from alertd.config.syntax import syntax_problem
from alertd.errors import Problem
from alertd.meant import called_here, did_you_mean

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_SHOWN_CHARS: Final = 40
"""Of a text that a message shows."""

TomlTable = Mapping[str, Any]
"""A table as ``tomllib`` gives it; Any, because nothing in it has been checked yet."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MISMATCH = re.compile(r"Expected `(.+?)`(.*)")

_TOML_TYPES: Final = {
    "array": "an array",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a date and time",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a string",
    "time": "a time",
}
"""The words for a type in msgspec's messages, as the author of a TOML file knows them."""


_fields_of = lru_cache(maxsize=None)(msgspec.structs.fields)
"""Remembered, for a file may have ten thousand rules, and each look takes half a millisecond."""


class Document:
    """The contents of one file, and what was found wrong while it was read and converted."""

    def __init__(self, path: Path) -> None:
        """Read ``path``. A file that cannot be used is an empty table and a problem."""
        self.path = path
        self._problems: list[ConfigProblem] = []
        self._source = self._read()
        self.table: TomlTable = self._parse()

    @property
    def problem_count(self) -> int:
        """How many mistakes have been noted so far."""
        return len(self._problems)

    @property
    def problems(self) -> list[ConfigProblem]:
        """What has been noted so far, in the order of the lines."""
        return sorted(self._problems, key=lambda problem: (problem.line or 0, problem.key))

    def refuse(self, path: KeyPath, message: str) -> None:
        """Note that what stands at ``path`` is wrong."""
        self._problems.append(self.problem(path, message))

    def problem(self, path: KeyPath, message: str) -> ConfigProblem:
        """Return ``message`` with the place of ``path``, without noting it as a mistake."""
        return ConfigProblem(self.path, self.line_of(path), display_key(path), message)

    def refuse_all(self, path: KeyPath, table: TomlTable, problems: Iterable[Problem]) -> None:
        """Note ``problems``, whose JSON pointers start at ``table``, which stands at ``path``."""
        self._problems += self.placed(path, table, problems)

    def placed(
        self, path: KeyPath, table: TomlTable, problems: Iterable[Problem]
    ) -> Iterator[ConfigProblem]:
        """Yield ``problems``, as ``refuse_all`` takes them, with their places, without noting."""
        for problem in problems:
            yield self.problem((*path, *from_pointer(problem.path, table)), problem.message)

    def line_of(self, path: KeyPath) -> int:
        """Return the line of ``path``, else of the nearest thing around it."""
        return self._places.line_of(path)

    def refuse_unknown(self, path: KeyPath, table: TomlTable, known: Mapping[str, Any]) -> None:
        """Note the keys of ``table`` that are not in ``known``, with the nearest that is."""
        for key in table:
            if key not in known:
                hint = called_here(key, known) or did_you_mean(key, known)
                hint = hint or f"known are {', '.join(sorted(known))}"
                self.refuse((*path, key), f"unknown key; {hint}")

    def subtable(self, path: KeyPath, value: object, head: str | None = None) -> TomlTable | None:
        """Return ``value`` if it is a table; else note that it is not and return None.

        ``head`` is how the head of such a table is written, where that is not its key.
        """
        if isinstance(value, dict):
            return value
        is_doubled = isinstance(value, list) and any(isinstance(each, dict) for each in value)
        remedy = f"; write [{head or display_key(path)}] above it" if is_doubled else ""
        self.refuse(path, f"expected a table, got {_type_name(value)}{remedy}")
        return None

    def subtables(
        self, path: KeyPath, entries: object, above: str = "each"
    ) -> Iterator[tuple[KeyPath, TomlTable]]:
        """Yield the tables of an array of tables, each with its path; what is none is noted."""
        if not isinstance(entries, list):
            head = f"[[{display_key(path)}]]"
            self.refuse(path, f"expected an array of tables: write {head} above {above}")
            return
        for index, entry in enumerate(entries):
            table = self.subtable((*path, index), entry)
            if table is not None:
                yield (*path, index), table

    def values(
        self,
        path: KeyPath,
        table: TomlTable,
        struct: type[msgspec.Struct],
        key_of: Callable[[FieldInfo], str] = lambda field: field.encode_name,
    ) -> tuple[dict[str, Any], frozenset[str]]:
        """Return the fields of ``struct`` that ``table`` gives correctly, by their Python names.

        Also the keys without a usable value; they are noted, and so are unknown keys.
        Any: the values are as various as the fields.
        """
        fields = {key_of(field): field for field in _fields_of(struct)}
        self.refuse_unknown(path, table, fields)
        values: dict[str, Any] = {}
        for key, field in fields.items():
            if key in table:
                values[field.name] = self._convert((*path, key), table[key], field.type)
            elif field.required:
                self.refuse((*path, key), f"is missing; expected {_expected(field.type)}")
                values[field.name] = msgspec.UNSET
        right = {name: value for name, value in values.items() if value is not msgspec.UNSET}
        wrong = {key for key, field in fields.items() if values.get(field.name) is msgspec.UNSET}
        return right, frozenset(wrong)

    def _convert(self, path: KeyPath, value: object, annotation: Any) -> Any:
        """Return ``value`` as ``annotation`` says, or ``UNSET`` after noting why it cannot be.

        Elements are converted one by one; of a table the right ones are kept, so that they are
        checked further. Any: see ``_explain``.
        """
        if get_origin(annotation) is dict and isinstance(value, dict):
            of_value = get_args(annotation)[1]
            entries = {k: self._convert((*path, k), v, of_value) for k, v in value.items()}
            return {k: v for k, v in entries.items() if v is not msgspec.UNSET}
        if get_origin(annotation) is tuple and isinstance(value, list):
            of_item = get_args(annotation)[0]
            items = tuple(self._convert((*path, i), v, of_item) for i, v in enumerate(value))
            return msgspec.UNSET if msgspec.UNSET in items else items
        struct = _table_of(annotation)
        if struct is not None and isinstance(value, dict):
            given, wrong = self.values(path, value, struct)
            unknown = value.keys() - {field.encode_name for field in msgspec.structs.fields(struct)}
            return msgspec.UNSET if wrong or unknown else struct(**given)
        try:
            return msgspec.convert(value, annotation)
        except msgspec.ValidationError as error:
            if isinstance(value, str) and str(path[-1]).endswith("_secs"):
                self.refuse(path, f"expected seconds, like 300, got {_shown(value)}")
            else:
                self.refuse(path, _explain(str(error), annotation, value))
            return msgspec.UNSET

    @cached_property
    def _places(self) -> Places:
        return Places(self._source if self.table else "")

    def _read(self) -> str:
        try:
            with self.path.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            self._give_up(None, f"cannot be read: {error.strerror or type(error).__name__}")
            return ""
        if len(raw) > MAX_FILE_BYTES:
            self._give_up(None, f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
            return ""
        raw = raw.removeprefix(codecs.BOM_UTF8)  # as some editors save text
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            self._give_up(line, "expected UTF-8 text; save the file in that encoding")
            return ""

    def _parse(self) -> TomlTable:
        try:
            return tomllib.loads(self._source)
        except RecursionError:
            self._give_up(None, "is nested too deeply")
        except ValueError as error:  # TOMLDecodeError, and the limit on digits of an integer
            line, path, message = syntax_problem(self._source, str(error))
            self._give_up(line, message, path)
        return {}

    def _give_up(self, line: int | None, message: str, path: KeyPath = ()) -> None:
        self._problems.append(ConfigProblem(self.path, line, display_key(path), message))


def display_key(path: KeyPath) -> str:
    """Return ``path`` as a TOML file spells it, with array indexes: ``rules[0].threshold``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            spelled = part if _BARE_KEY.fullmatch(part) else _quoted(part)
            text += f".{spelled}" if text else spelled
    return text


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def from_pointer(pointer: str, within: object) -> KeyPath:
    """Return the way in ``within`` that the JSON pointer (RFC 6901) describes.

    Ends early where ``within`` does: a channel's plain name has no ``/channel`` inside.
    """
    path: KeyPath = ()
    for name in pointer.split("/")[1:]:
        if isinstance(within, list):
            index = int(name)
            path = (*path, index)
            within = within[index]
        elif isinstance(within, dict):
            key = name.replace("~1", "/").replace("~0", "~")
            path = (*path, key)
            within = within.get(key)
    return path


def _explain(error: str, annotation: Any, value: object) -> str:
    """Return msgspec's ``error`` about ``value`` in the words of a TOML author.

    Any: an annotation can be anything that ``msgspec.convert`` takes.
    """
    choices = _choices(annotation)
    match = _MISMATCH.fullmatch(error)
    if choices or match is None:
        hint = did_you_mean(value, choices) if isinstance(value, str) else None
        message = f"expected {_expected(annotation)}, got {_shown(value)}"
        return f"{message}; {hint}" if hint else message
    bound, has_type, _ = match[2].partition(", got ")
    got = _type_name(value) if has_type else _shown(value)
    return f"expected {_words(match[1])}{bound}{_example(match[1], value)}, got {got}" + (
        _about_quotes(match[1], value)
    )


def _example(types: str, value: object) -> str:
    """Return how an array or a table is written, if one is among ``types``."""
    known = set(types.split(" | "))
    if "array" in known:
        text = value if isinstance(value, str) and len(value) <= MAX_SHOWN_CHARS else "…"
        return f", like [{_quoted(text)}]"
    if "object" in known:
        return ', like { name = "value" }'
    return ""


def _about_quotes(types: str, value: object) -> str:
    """Return that quotes are missing, or too much, if so; the value is not shown (a secret?)."""
    known = set(types.split(" | "))
    if isinstance(value, str):
        return "; leave the quotes out" if known & {"bool", "float", "int"} else ""
    is_plain = isinstance(value, (bool, int, float))
    return "; a string has quotes" if "str" in known and is_plain else ""


def _table_of(annotation: Any) -> type[msgspec.Struct] | None:
    """Return the one kind of table that a value may be beside others. Any: see ``_explain``."""
    kinds = (kind for kind in get_args(annotation) if isinstance(kind, type))
    return next((kind for kind in kinds if issubclass(kind, msgspec.Struct)), None)


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the values of an enum or a ``Literal``. Any: see ``_explain``."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(member.value for member in annotation)
    return ()


def _expected(annotation: Any) -> str:
    """Return in words what ``annotation`` takes. Any: see ``_explain``."""
    choices = _choices(annotation)
    if choices:
        return _one_of(choices)
    if get_origin(annotation) is Annotated:
        return _expected(get_args(annotation)[0])
    base = get_origin(annotation) or annotation
    names = {str: "str", int: "int", float: "float", bool: "bool", dict: "object", tuple: "array"}
    return _words(names.get(base, "str"))


def _one_of(choices: tuple[str, ...]) -> str:
    return " or ".join(f'"{choice}"' for choice in choices)


def _words(types: str) -> str:
    return " or ".join(_TOML_TYPES.get(name, name) for name in types.split(" | ") if name != "null")


def _type_name(value: object) -> str:
    names = {str: "str", int: "int", float: "float", bool: "bool", dict: "object", list: "array"}
    return _words(names.get(type(value), type(value).__name__))


def _shown(value: object) -> str:
    """Return a number or a short text itself, anything else by its type."""
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**18):
        return str(value).lower()
    if isinstance(value, str) and len(value) <= MAX_SHOWN_CHARS:
        return repr(value)
    return _type_name(value)
