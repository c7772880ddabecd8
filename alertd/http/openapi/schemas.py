"""JSON Schemas of the wire types.

Owns how a wire type is described: msgspec says what it consists of, its docstring what it is, and
the docstring under a field what that is, ``constraints.py`` how much of it may be sent.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Struct

from alertd.http.openapi.constraints import constraints_of

REF: Final = "#/components/schemas/{name}"

Schema = dict[str, Any]  # Any: JSON


# Any: a type may be a class, a generic alias or a union; typing has no name for that.
def describe(types: Iterable[Any]) -> tuple[dict[Any, Schema], dict[str, Schema]]:
    """Return the schema of each type, and by name the ones that these refer to."""
    wanted = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(wanted, ref_template=REF)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = _prose(schema["description"])
    for struct in _structs(msgspec.inspect.multi_type_info(wanted)):
        _describe_fields(struct, components[struct.__name__]["properties"])
    return dict(zip(wanted, schemas, strict=True)), dict(components)


def field_notes(struct: type[Struct]) -> dict[str, str]:
    """Return the docstrings under the fields of ``struct``, inherited ones too, by field.

    Python does not keep them, so they are read from the source; where there is none (an
    installation of bytecode only) there are no notes.
    """
    notes: dict[str, str] = {}
    for parent in reversed(struct.__mro__):
        if issubclass(parent, Struct) and parent is not Struct:
            notes |= _own_notes(parent)
    return notes


def _own_notes(struct: type) -> dict[str, str]:
    definition = _definitions(struct.__module__).get(struct.__name__)
    if definition is None:
        return {}
    return {
        field.target.id: _prose(note.value.value)
        for field, note in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(note, ast.Expr)
        and isinstance(note.value, ast.Constant)
        and isinstance(note.value.value, str)
    }


_PARSING: Final = threading.Lock()
"""CPython's parser takes two threads for one, and raises ``SystemError``: python/cpython#106905."""


@cache
def _definitions(module: str) -> dict[str, ast.ClassDef]:
    """Return the classes that ``module`` defines, as they are written."""
    try:
        source = inspect.getsource(sys.modules[module])
    except OSError:
        return {}
    with _PARSING:
        body = ast.parse(source).body
    return {node.name: node for node in body if isinstance(node, ast.ClassDef)}


def _describe_fields(struct: type[Struct], properties: Schema) -> None:
    notes = field_notes(struct)
    for field in msgspec.structs.fields(struct):
        if field.name in notes:
            properties[field.encode_name]["description"] = notes[field.name]
    for name, keywords in constraints_of(struct).items():
        if name in properties:
            properties[name] |= keywords


def _prose(docstring: str) -> str:
    """Return a docstring as CommonMark: without its indentation, code in single backticks."""
    return re.sub(r"``(.+?)``", r"`\1`", inspect.cleandoc(docstring))


# Any: msgspec's description of a type is a tree of many classes.
def _structs(node: Any, seen: set[type] | None = None) -> Iterator[type[Struct]]:
    """Yield every struct in a tree of types once."""
    seen = set() if seen is None else seen
    if isinstance(node, msgspec.inspect.StructType):
        if node.cls in seen:
            return
        seen.add(node.cls)
        yield node.cls
    if isinstance(node, Struct):
        for name in node.__struct_fields__:
            yield from _structs(getattr(node, name), seen)
    elif isinstance(node, (tuple, list)):
        for item in node:
            yield from _structs(item, seen)
