"""JSON to typed structs, with every mistake found and placed.

msgspec stops at the first mistake and words it for programmers. This module is the slow way
that is taken when something is wrong (and for rules, which are few): it reads leniently, so
that a bad part does not hide its neighbours, then checks field by field and reports every
problem with its JSON pointer, what was expected and the nearest known name.

Invariant: ``to_struct`` either returns a struct or raises ``InvalidInput`` with at least one
problem. Everything that it lets through can be written as UTF-8 and is a finite number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from alertd.errors import InvalidInput, Problem, pointer_token
from alertd.meant import called_here, did_you_mean
from alertd.names import repeated

S = TypeVar("S", bound=Struct)

Refuse = Callable[[str, str], None]

FLOAT_FROM: Final = 2**63
"""Whole numbers from here on must be written as floats: 64-bit integers cannot hold them."""

MAX_PROBLEMS: Final = 100
"""Mistakes found in one value: a request can hold a million, and each takes some 20 us to word."""

_MAX_SHOWN_CHARS: Final = 100
_MAX_INTEGER_DIGITS: Final = 300
_JSON_NAMES: Final = {
    "str": "a string",
    "float": "a number",
    "int": "a whole number",
    "bool": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
_EXPECTED = re.compile(r"Expected `(.+?)`, got `(.+?)`")


class Undecodable(InvalidInput):
    """Bytes that are not JSON in UTF-8 at all; nothing in them can be named."""

    def __init__(self, message: str) -> None:
        super().__init__([Problem("", message)])


def _parse_integer(literal: str) -> int | float:
    # int() refuses more than 4300 digits; as a float it is infinite and refused with a path.
    return int(literal) if len(literal) <= _MAX_INTEGER_DIGITS else float(literal)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object with these members. Raises ``ValueError`` if two have one name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = next(iter(repeated(name for name, _ in pairs)))
        raise ValueError(f"{_quoted(twice)} is there twice in one object")
    return members


SCANNER: Final = json.JSONDecoder(parse_int=_parse_integer)
"""Lenient: NaN, infinities and lone surrogates get through to be refused where they stand."""
_STRICT_SCANNER: Final = json.JSONDecoder(parse_int=_parse_integer, object_pairs_hook=_unique)


def to_text(body: bytes, errors: str = "strict") -> str:
    """Return ``body`` as text. Raises ``Undecodable`` if it is empty or not UTF-8.

    ``errors`` is a codec error handler for bad bytes that are to be found later.
    """
    if not body.strip():
        raise Undecodable("the body is empty; send JSON")
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:4]:
        raise Undecodable("the body is not UTF-8 (it looks like UTF-16 or UTF-32); send UTF-8")
    try:
        return body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise Undecodable(f"the body is not UTF-8: bad byte at {error.start}") from error


def parse(text: str, *, unique: bool = False) -> object:
    """Return the JSON value that ``text`` spells. Raises ``Undecodable``.

    Of members of one name the last counts; ``unique`` is for what people write, and refuses them.
    """
    try:
        return (_STRICT_SCANNER if unique else SCANNER).decode(text)
    except (ValueError, RecursionError) as error:
        raise Undecodable(why_not_json(error)) from error


def why_not_json(error: ValueError | RecursionError) -> str:
    """Return what the scanner found wrong, for a person."""
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return f"is not valid JSON: {error}"


class _Enough(Exception):
    """So many mistakes have been found that no more are looked for."""


def to_struct(value: object, struct_type: type[S], *, max_problems: int = MAX_PROBLEMS) -> S:
    """Return ``value``, parsed JSON, as a ``struct_type``.

    ``InvalidInput`` has every mistake, up to ``max_problems``.
    """
    problems: list[Problem] = []

    def refuse(path: str, message: str) -> None:
        problems.append(Problem(path, message))
        if len(problems) == max_problems:
            raise _Enough

    result = None
    with suppress(_Enough):
        result = _struct(value, struct_type, "", refuse)
    if problems:
        raise InvalidInput(problems)
    return cast("S", result)


def pointer(name: str) -> str:
    """Return ``name`` as it stands in a JSON pointer, shortened and safe."""
    shown = name[:_MAX_SHOWN_CHARS].encode("utf-8", "backslashreplace").decode()
    return pointer_token(shown)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return what to say about an unknown ``name``: the nearest known one, or all of them."""
    known = tuple(known)
    return did_you_mean(name, known) or f"known are {', '.join(known)}"


def _struct(value: object, struct_type: type[Struct], path: str, refuse: Refuse) -> object:
    if not isinstance(value, dict):
        refuse(path, f"must be an object, not {_kind(value)}")
        return None
    fields = _fields(struct_type)
    for name in value:
        if name not in fields:
            hint = called_here(name, fields) or nearest(name, fields)
            refuse(f"{path}/{pointer(name)}", f"is an unknown field; {hint}")
    missing = [name for name, field in fields.items() if field.required and name not in value]
    for name in missing:
        refuse(f"{path}/{name}", "is required")
    members = {
        field.name: _value(value[name], field.type, f"{path}/{name}", refuse)
        for name, field in fields.items()
        if name in value
    }
    return None if missing else struct_type(**members)


@lru_cache(maxsize=64)
def _fields(struct_type: type[Struct]) -> dict[str, FieldInfo]:
    """Return the fields by their names on the wire."""
    return {field.encode_name: field for field in msgspec.structs.fields(struct_type)}


# Any: a field's type may be a class, a generic alias or a union; typing has no name for that.
def _value(value: object, expected: Any, path: str, refuse: Refuse) -> object:
    origin = get_origin(expected)
    if origin is dict and isinstance(value, dict):
        return {
            name: _value(member, get_args(expected)[1], f"{path}/{pointer(name)}", refuse)
            for name, member in value.items()
            if _check_text(name, f"{path}/{pointer(name)}", refuse)
        }
    if origin is tuple and isinstance(value, list):
        inner = get_args(expected)[0]
        return tuple(
            _value(item, inner, f"{path}/{index}", refuse) for index, item in enumerate(value)
        )
    if isinstance(expected, type) and issubclass(expected, Struct):
        return _struct(value, expected, path, refuse)
    return _scalar(value, expected, path, refuse)


def _scalar(value: object, expected: Any, path: str, refuse: Refuse) -> object:
    if isinstance(value, str) and not _check_text(value, path, refuse):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        refuse(path, "must be a finite number that a 64-bit float can hold")
        return None
    kinds = get_args(expected) or (expected,)
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        value = int(value)  # JSON Schema takes 3.0 for a whole number, and so do its clients
    try:
        converted: object = msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        if isinstance(value, str) and path.endswith("Secs"):
            refuse(path, f"must be a number of seconds, like 300, not {_quoted(value)}")
        else:
            refuse(path, _reword(str(error), value, expected))
        return None
    if isinstance(converted, float) and isinstance(value, int) and abs(value) >= FLOAT_FROM:
        refuse(path, why_not_integer(value))
        return None
    return converted


def why_not_integer(value: int) -> str:
    """Return the refusal of a whole number beyond 64 bits."""
    return (
        "is a whole number beyond 64 bits, which would lose digits; "
        f"write it as a float, e.g. {float(value)!r}"
    )


def _check_text(text: str, path: str, refuse: Refuse) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        refuse(path, "contains a lone surrogate or bytes that are not UTF-8")
        return False
    return True


def _reword(message: str, value: object, expected: Any) -> str:
    if isinstance(expected, type) and issubclass(expected, Enum) and isinstance(value, str):
        known = [str(member.value) for member in expected]
        hint = did_you_mean(value, known)
        unknown = f"{_quoted(value)} is unknown; known are {', '.join(known)}"
        return f"{unknown}; {hint}" if hint else unknown
    match = _EXPECTED.search(message)
    if match is None:
        return message
    names = match[1].split(" | ")
    if "float" in names and "int" in names:
        names.remove("int")
    wanted = " or ".join(_JSON_NAMES.get(name, name) for name in names)
    return f"must be {wanted}, not {_kind(value)}"


def _quoted(text: str) -> str:
    return repr(text[:_MAX_SHOWN_CHARS])


def _kind(value: object) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, bytes):
        return "binary data"
    return "a string" if isinstance(value, str) else "a number"
