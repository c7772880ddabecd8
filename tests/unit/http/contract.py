"""Answers held against the OpenAPI document.

It is taken strictly: an object has the fields that are described and no others, though a client
should not insist on that.
"""

from __future__ import annotations

import copy
import re
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec
from werkzeug.datastructures import Headers

from alertd.http.openapi.document import document

Json = Any  # decoded JSON


@cache
def described() -> Json:
    """The document, as a client gets it."""
    return msgspec.json.decode(document())


@cache
def _strict() -> Json:
    """The document with every object closed."""
    closed = copy.deepcopy(described())
    for schema in closed["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return closed


def operation_of(method: str, path: str) -> Json | None:
    """Return the described operation that a request asks for, None if there is none."""
    for template, item in described()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and (method.lower() in item):
            return item[method.lower()]
    return None


def response_of(operation: Json, status: int) -> Json:
    """Return what is described of a status. Fails if nothing is."""
    responses = operation["responses"]
    assert str(status) in responses, f"{operation['operationId']} answers {status}: undocumented"
    response = responses[str(status)]
    name = response.get("$ref", "").rpartition("/")[2]
    return described()["components"]["responses"][name] if name else response


def check_value(schema: Json, value: Json) -> None:
    """Fail if ``value`` does not have the form that ``schema`` describes."""
    whole = {**schema, "components": _strict()["components"]}
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    problems = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not problems, problems


def check_answer(method: str, path: str, status: int, headers: Headers, body: Json) -> None:
    """Fail if an answer is not one that the document describes; ``body`` is decoded JSON."""
    operation = operation_of("GET" if method == "HEAD" else method, path.partition("?")[0])
    if operation is None:
        return
    response = response_of(operation, status)
    content = response.get("content", {})
    if not content:
        assert not body
        return
    media = content.get(headers["Content-Type"])
    assert media is not None, f"{headers['Content-Type']!r} is none of {list(content)}"
    if headers["Content-Type"].endswith("json"):
        check_value(media["schema"], body)
    for name in response.get("headers", {}):
        assert name in headers, f"{operation['operationId']} {status} lacks {name}"
