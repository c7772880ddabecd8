"""The nouns of the document: what an operation takes and what it answers.

Owns their form as it is written down in the files of this package. Method, path and scope stand in
``http/routes.py``; the form that OpenAPI gives to all of it is ``document.py``'s. Types are those
of the wire, so that nothing is described twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from alertd.http.query import DEFAULT_LIMIT
from alertd.limits import MAX_PAGE_ITEMS
from alertd.store.cursor import MAX_CHARS as MAX_CURSOR_CHARS

JSON: Final = "application/json"

Examples = Mapping[str, object]
"""What a body may look like, by a few words on what it shows: wire structs or plain data."""


class Place(StrEnum):
    """Where in a request a parameter stands."""

    PATH = "path"
    QUERY = "query"
    HEADER = "header"


class Parameter(Struct, frozen=True):
    """One parameter. Those of the path are required, all others are not."""

    name: str
    schema: Mapping[str, object]
    """As JSON Schema has it."""
    note: str
    example: object = None
    """None: there is nothing to show."""
    place: Place = Place.QUERY
    is_family: bool = False
    """The schema is an object; each of its members is a parameter of its own."""


class Content(Struct, frozen=True):
    """A body in one media type."""

    # Any: a type may be a class, a generic alias or a union; typing has no name for that.
    types: tuple[Any, ...]
    """Wire types, of which the body is one; none for what JSON Schema cannot describe."""
    examples: Examples
    media_type: str = JSON


class Body(Struct, frozen=True):
    """What may be sent."""

    contents: tuple[Content, ...]
    is_required: bool = True


class Links(Struct, frozen=True):
    """Where an id in an answer leads."""

    pointer: str
    """JSON pointer to the id."""
    parameter: str
    """What the id is called in the path of the operations."""
    operations: tuple[str, ...]
    """Their names."""


class Reply(Struct, frozen=True):
    """An answer that is no error."""

    status: HTTPStatus
    note: str
    contents: tuple[Content, ...] = ()
    headers: Mapping[str, str] = {}
    """What each header says."""
    links: Links | None = None


OF_PARAMETERS: Final[Mapping[HTTPStatus, str]] = {HTTPStatus.BAD_REQUEST: ""}
"""The errors of what has parameters behind the ``?``."""


class Operation(Struct, frozen=True, kw_only=True):
    """What is to be said of one entry of the table of routes."""

    name: str
    """The entry's name: what a generated client calls it."""
    tag: str
    """The part of the interface that it belongs to."""
    summary: str
    note: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    replies: tuple[Reply, ...]
    refusals: Mapping[HTTPStatus, str] = msgspec.field(default_factory=dict)
    """Errors of its own, each with when it comes; ``errors.py`` adds what any operation has."""


def reply(
    # Any: as above.
    wire_type: Any,
    example: object,
    note: str,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    links: Links | None = None,
) -> Reply:
    """Return an answer in JSON with one example."""
    content = Content((wire_type,), {"For example": example})
    return Reply(status, note, (content,), headers or {}, links)


def path_parameter(name: str, note: str) -> Parameter:
    """Return an id in the path."""
    return Parameter(name, {"type": "string"}, note, place=Place.PATH)


def choice(name: str, choices: type[StrEnum], note: str) -> Parameter:
    """Return a parameter that is one of a set of words."""
    return Parameter(name, {"type": "string", "enum": [word.value for word in choices]}, note)


def text(name: str, note: str, example: str) -> Parameter:
    """Return a parameter that is any text."""
    return Parameter(name, {"type": "string"}, note, example)


def instant(name: str, note: str) -> Parameter:
    """Return a parameter that is a time."""
    schema = {
        "anyOf": [
            {"type": "string", "format": "date-time"},
            {"type": "string", "pattern": r"^-?\d{1,10}(\.\d{1,18})?$"},
        ]
    }
    note += " RFC 3339, or seconds since the epoch."
    return Parameter(name, schema, note, "2025-06-30T15:00:00Z")


PAGE: Final = (
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS, "default": DEFAULT_LIMIT},
        "How many items a page has at most.",
    ),
    Parameter(
        "cursor",
        {"type": "string", "maxLength": MAX_CURSOR_CHARS},
        "`nextCursor` of the page before, as it is, with the same other parameters.",
    ),
)
"""What every list takes."""
