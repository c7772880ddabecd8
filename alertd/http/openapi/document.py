"""The OpenAPI document of the operations.

Owns the form that OpenAPI 3.1 (spec.openapis.org/oas/v3.1.1) wants. What it says stands in the
tables of this package and in the wire types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from alertd import __version__
from alertd.http.openapi import events, incidents, notifications, operations, rules
from alertd.http.openapi.errors import ERRORS, errors_of, name_of
from alertd.http.openapi.operation import (
    Body,
    Content,
    Examples,
    Links,
    Operation,
    Parameter,
    Place,
    Reply,
)
from alertd.http.openapi.schemas import Schema, describe
from alertd.http.problem import CONTENT_TYPE, ProblemBody
from alertd.http.routes import Route, find

_OPERATIONS: Final[Sequence[Operation]] = (
    *events.OPERATIONS,
    *rules.OPERATIONS,
    *incidents.OPERATIONS,
    *notifications.OPERATIONS,
    *operations.OPERATIONS,
)
"""Everything that can be asked, in the order of the document."""

_TAGS: Final = {
    "events": "What is watched: pushed by senders, kept for a while.",
    "rules": "What is judged.",
    "incidents": "What fired, why, and who was told.",
    "notifications": "What was sent, and what nobody wants to be told of for a while.",
    "operations": "Running the daemon.",
}
_DESCRIPTION: Final = """\
Push events, write rules, and read what fired and why.

Times are RFC 3339 in UTC, durations seconds. Lists come in pages: `limit` items and `nextCursor`,
which is sent back as `cursor` with the same other parameters; it is null on the last page. Errors
are `application/problem+json` (RFC 9457) that say what to mend. Any `GET` can be a `HEAD`;
`OPTIONS` says in `Allow` what a resource takes, and so does a 405. Replies are compressed (`gzip`,
`zstd`) for those who ask for it with `Accept-Encoding`.
"""

_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "One of `[[auth.tokens]]`, whose scopes must have the operation's `x-scope`, or "
    "`admin`. A daemon that has no tokens is reached from its own machine only, and asks for none.",
}

Json = dict[str, Any]  # Any: JSON


@cache
def document() -> bytes:
    """Return the document as JSON. Cost: some 100 ms, once."""
    return msgspec.json.encode(make_document())


@cache
def make_document() -> Json:
    """Return the document. Not to be changed by the caller."""
    schema_of, schemas = describe(
        wire_type for content in _contents() for wire_type in content.types
    )
    paths: dict[str, Json] = {}
    for operation in _OPERATIONS:
        route = find(operation.name)
        assert route is not None, operation.name
        item = paths.setdefault(_template(route.path), {})
        item[route.method.lower()] = _operation(operation, route, schema_of)
    return {
        "openapi": "3.1.1",
        "info": {"title": "alertd", "version": __version__, "description": _DESCRIPTION},
        "tags": [{"name": name, "description": note} for name, note in _TAGS.items()],
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": _TOKEN},
            "schemas": dict(sorted(schemas.items())),
            "responses": {name_of(status): _error(status) for status in ERRORS},
        },
    }


_PROBLEM: Final = Content((ProblemBody,), {}, CONTENT_TYPE)


def _contents() -> Iterator[Content]:
    yield _PROBLEM
    for operation in _OPERATIONS:
        if operation.body is not None:
            yield from operation.body.contents
        for reply in operation.replies:
            yield from reply.contents


def _operation(operation: Operation, route: Route, schema_of: Mapping[object, Schema]) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if route.scope is None:
        described["security"] = []
    else:
        described["x-scope"] = route.scope.value
    if operation.note:
        described["description"] = operation.note
    if operation.parameters:
        described["parameters"] = list(map(_parameter, operation.parameters))
    if operation.body is not None:
        described["requestBody"] = _body(operation.body, schema_of)
    replies = {str(reply.status.value): _reply(reply, schema_of) for reply in operation.replies}
    described["responses"] = replies | {
        str(status.value): _error_reference(status, note)
        for status, note in errors_of(operation).items()
    }
    return described


def _template(path: str) -> str:
    """Return a route's template as OpenAPI writes it: ``/api/alerts/{rule_id}``."""
    return re.sub(r"<(\w+)>", r"{\1}", path)


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place.value,
        "description": parameter.note,
        "schema": parameter.schema,
    }
    if parameter.place is Place.PATH:
        described["required"] = True
    if parameter.is_family:
        described |= {"style": "form", "explode": True}
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _body(body: Body, schema_of: Mapping[object, Schema]) -> Json:
    return {
        "required": body.is_required,
        "content": {content.media_type: _media(content, schema_of) for content in body.contents},
    }


def _reply(reply: Reply, schema_of: Mapping[object, Schema]) -> Json:
    described: Json = {"description": reply.note}
    if reply.headers:
        described["headers"] = _headers(reply.headers)
    if reply.contents:
        described["content"] = {
            content.media_type: _media(content, schema_of) for content in reply.contents
        }
    if reply.links is not None:
        described["links"] = _links(reply.links)
    return described


def _links(links: Links) -> Json:
    source = f"$response.body#{links.pointer}"
    return {
        name: {"operationId": name, "parameters": {links.parameter: source}}
        for name in links.operations
    }


def _media(content: Content, schema_of: Mapping[object, Schema]) -> Json:
    media: Json = {}
    alternatives = [schema_of[wire_type] for wire_type in content.types]
    if alternatives:
        media["schema"] = alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}
    if content.examples:
        media["examples"] = _examples(content.examples)
    return media


def _examples(examples: Examples) -> Json:
    return {
        re.sub(r"\W+", "_", summary.strip(" .")): {
            "summary": summary,
            "value": msgspec.to_builtins(example),
        }
        for summary, example in examples.items()
    }


def _error_reference(status: HTTPStatus, note: str) -> Json:
    reference: Json = {"$ref": f"#/components/responses/{name_of(status)}"}
    return reference | {"description": note} if note else reference


def _error(status: HTTPStatus) -> Json:
    kind = ERRORS[status]
    described: Json = {"description": kind.note}
    if kind.headers:
        described["headers"] = _headers(kind.headers)
    media = {
        "schema": {"$ref": "#/components/schemas/ProblemBody"},
        "example": msgspec.to_builtins(kind.example),
    }
    return described | {"content": {CONTENT_TYPE: media}}


def _headers(headers: Mapping[str, str]) -> Json:
    return {
        name: {"description": note, "schema": {"type": "string"}} for name, note in headers.items()
    }
