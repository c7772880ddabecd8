"""The OpenAPI document says what the application does: no less, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from alertd.http.routes import ROUTES
from tests.unit.http.contract import check_value, described, response_of
from tests.unit.http.fakes import Site

Json = Any  # decoded JSON

TAKES_ANY_PARAMETER = {
    "getHealth",
    "getReadiness",
    "getMetrics",
    "getStatus",
    "getOpenapi",
    "getDocs",
}
"""Balancers, scrapers and browsers add parameters of their own."""


def operations() -> Iterator[tuple[str, str, Json]]:
    """Yield method, template and description of everything that can be asked."""
    for template, item in described()["paths"].items():
        for method, operation in item.items():
            yield method.upper(), template, operation


def of_operations() -> pytest.MarkDecorator:
    listed = list(operations())
    return pytest.mark.parametrize(
        ("method", "template", "operation"),
        listed,
        ids=[operation["operationId"] for _, _, operation in listed],
    )


def some_path(template: str) -> str:
    return re.sub(r"\{\w+\}", "no-such-id", template)


def test_the_document_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(described()).validate()
    assert described()["openapi"].startswith("3.1.")


async def test_it_is_served() -> None:
    answer = await Site().send("GET", "/openapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == described()


def test_it_has_every_route_and_no_other() -> None:
    routes = {
        (route.method, re.sub(r"<(\w+)>", r"{\1}", route.path), route.operation) for route in ROUTES
    }
    assert {(m, path, one["operationId"]) for m, path, one in operations()} == routes


@of_operations()
def test_parameters_in_the_path_are_those_of_the_route(
    method: str, template: str, operation: Json
) -> None:
    in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", template))


@of_operations()
async def test_parameters_in_the_query_are_those_that_are_taken(
    method: str, template: str, operation: Json
) -> None:
    if operation["operationId"] in TAKES_ANY_PARAMETER:
        assert "parameters" not in operation
        return
    site = Site()
    answer = await site.send(method, f"{some_path(template)}?%25%25%25=", {})
    assert (answer.status, list(answer.errors)) == (400, ["/%%%"])
    (message,) = answer.errors.values()
    _, _, known = message.partition("known are ")
    taken = {name for name in known.split(", ") if name}
    in_query = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"}
    assert {name.removesuffix(".NAME") for name in taken} == in_query


@of_operations()
async def test_an_example_of_a_parameter_is_taken(
    method: str, template: str, operation: Json
) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "query":
            continue
        example = parameter.get("example", parameter["schema"].get("default"))
        if example is None:
            example = parameter["schema"].get("enum", [None])[0]
        if example is None:
            assert parameter["name"] == "cursor"
            continue
        check_value(parameter["schema"], example)
        given = example if isinstance(example, dict) else {parameter["name"]: example}
        ((name, value),) = given.items()
        text = str(value).lower() if isinstance(value, bool) else str(value)
        answer = await Site().send(method, f"{some_path(template)}?{name}={text}", [{}])
        assert f"/{name}" not in getattr(answer, "errors", {}), answer.body


def media_types(place: Json) -> Iterator[tuple[str, Json]]:
    yield from place.get("content", {}).items()


@of_operations()
def test_every_example_is_of_the_form_that_it_is_an_example_of(
    method: str, template: str, operation: Json
) -> None:
    places = [operation.get("requestBody", {})]
    places += [response_of(operation, int(status)) for status in operation["responses"]]
    for place in places:
        for _, media in media_types(place):
            shown = [example["value"] for example in media.get("examples", {}).values()]
            shown += [media["example"]] if "example" in media else []
            for value in shown:
                check_value(media["schema"], value)


@of_operations()
async def test_an_example_of_a_body_is_taken(method: str, template: str, operation: Json) -> None:
    site = Site()
    path = template
    if "/alerts/" in template:
        rule = described()["paths"]["/api/alerts"]["post"]["requestBody"]["content"]
        first = next(iter(rule["application/json"]["examples"].values()))["value"]
        made = await site.send("POST", "/api/alerts", {**first, "name": "another"})
        path = template.replace("{rule_id}", made.body["id"])
    for media_type, media in media_types(operation.get("requestBody", {})):
        for example in media.get("examples", {}).values():
            if "msgpack" in media_type or "{incident_id}" in template:
                continue
            answer = await site.send(method, path, example["value"], media_type)
            assert answer.status in (200, 201, 202), (path, example, answer.body)


@of_operations()
def test_every_operation_is_described_for_people(
    method: str, template: str, operation: Json
) -> None:
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    for parameter in operation.get("parameters", ()):
        assert parameter["description"].endswith("."), parameter
    for status in operation["responses"]:
        assert response_of(operation, int(status))["description"].endswith(".")


def test_every_schema_and_every_field_is_described() -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in described()["components"]["schemas"].items()
        for field, described_as in {"": schema, **schema.get("properties", {})}.items()
        if not described_as.get("description") and described_as  # an ignored field is {}
    ]
    assert bare == ["ProblemBody.type"]


def test_whatever_is_described_is_used() -> None:
    text = str(described()["paths"]) + str(described()["components"])
    for kind in ("schemas", "responses"):
        for name in described()["components"][kind]:
            assert f"'#/components/{kind}/{name}'" in text, name
