"""The limits in the OpenAPI schemas are the daemon's: at them it takes, beyond it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.http.contract import described
from tests.unit.http.fakes import Site
from tests.unit.http.test_rules import MINIMAL

Json = Any  # decoded JSON

BODIES: dict[str, tuple[str, Json]] = {
    "Event": ("/api/events", {"metricName": "m"}),
    "RuleSpec": ("/api/alerts", MINIMAL | {"allowedLatenessSecs": 0}),
    "SilenceBody": ("/api/silences", {"matchers": {"a": "b"}, "endsAt": "2090-01-01T00:00:00Z"}),
    "AckBody": ("/api/incidents/i/ack", {}),
}
STEP = 1e-7
"""Less than a microsecond, which is the finest that anything is told."""
BESIDE: dict[str, Json] = {
    "bucketIntervalSecs": {"type": "BUCKETED_WINDOW"},
    "escalateAfterSecs": {"escalateTo": [{"channel": "ops"}]},
}
"""What a field needs beside it to mean anything."""
OTHER_LIMITS = {
    ("annotations", "additionalProperties/maxLength"): "what a template makes is bounded too",
    ("bucketIntervalSecs", "minimum"): "a window has at most 10,000 buckets",
    ("bucketIntervalSecs", "maximum"): "a window has at least one bucket",
    ("groupTtlSecs", "minimum"): "a group lives as long as its windows",
    ("timestamp", "maximum"): "it is too far ahead of the clock",
    ("timestamp", "minimum"): "it is older than the retention",
    ("allowedLatenessSecs", "maximum"): "the events of a window are stored for so long",
}
"""Bounds within which another one comes first, and which."""


def limits() -> Iterator[tuple[str, str, str, Json]]:
    """Yield schema, field, keyword and bound of all that may be sent."""
    for schema in BODIES:
        for field, keywords in described()["components"]["schemas"][schema]["properties"].items():
            for keyword, bound in keywords.items():
                if keyword in EXAMPLES:
                    yield schema, field, keyword, bound
            for keyword, bound in keywords.get("propertyNames", {}).items():
                if keyword in EXAMPLES:
                    yield schema, field, f"propertyNames/{keyword}", bound
            of_values = keywords.get("additionalProperties")
            if isinstance(of_values, dict) and "maxLength" in of_values:
                yield schema, field, "additionalProperties/maxLength", of_values["maxLength"]


def text(field: str, length: int) -> str:
    beginning = "https://a/" if field == "runbookUrl" else ""
    return beginning + "a" * (length - len(beginning))


def texts(field: str, count: int) -> Json:
    names = [f"l{number}" for number in range(count)]
    return names if field == "groupBy" else dict.fromkeys(names, "v")


Make = Callable[[str, Json], Json]
EXAMPLES: dict[str, tuple[Make, Make]] = {
    # keyword: what is taken at the bound, and what is not beyond it
    "maxLength": (lambda field, n: text(field, n), lambda field, n: text(field, n + 1)),
    "minLength": (lambda field, n: text(field, n), lambda _, n: "a" * (n - 1)),
    "maxItems": (texts, lambda field, n: texts(field, n + 1)),
    "maxProperties": (texts, lambda field, n: texts(field, n + 1)),
    "minProperties": (texts, lambda field, n: texts(field, n - 1)),
    "minimum": (lambda _, n: n, lambda _, n: n - 1 if float(n).is_integer() else n - STEP),
    "maximum": (lambda _, n: n, lambda _, n: n + 1),
    "propertyNames/maxLength": (
        lambda _, n: {"a" * n: "v"},
        lambda _, n: {"a" * (n + 1): "v"},
    ),
    "propertyNames/minLength": (lambda _, n: {"a" * n: "v"}, lambda _, n: {"a" * (n - 1): "v"}),
    "additionalProperties/maxLength": (
        lambda _, n: {"a": "v" * n},
        lambda _, n: {"a": "v" * (n + 1)},
    ),
}

LIMITS = [each for each in limits() if not (each[2] == "minProperties" and each[3] == 0)]


async def mistakes(schema: str, field: str, value: Json) -> list[str]:
    """Return what is said to be wrong with ``value``."""
    path, body = BODIES[schema]
    sent = body | BESIDE.get(field, {}) | {field: value}
    answer = await Site().send("POST", path, sent)
    return [at for at in answer.errors if at == f"/{field}" or at.startswith(f"/{field}/")]


@pytest.mark.parametrize(("schema", "field", "keyword", "bound"), LIMITS)
async def test_a_limit_in_a_schema_is_that_of_the_daemon(
    schema: str, field: str, keyword: str, bound: Json
) -> None:
    within, beyond = EXAMPLES[keyword]
    assert await mistakes(schema, field, beyond(field, bound))
    if (field, keyword) not in OTHER_LIMITS:
        assert not await mistakes(schema, field, within(field, bound))


@pytest.mark.parametrize("spaces", [" ", "\t", "\x85", "\xa0", "\n"])
async def test_what_a_pattern_excludes_is_refused(spaces: str) -> None:
    assert await mistakes("Event", "metricName", spaces)
    assert await mistakes("RuleSpec", "metricName", spaces)
    assert await mistakes("RuleSpec", "name", spaces)


async def test_a_whole_number_may_be_written_with_a_point_as_json_schema_has_it() -> None:
    answer = await Site().send("POST", "/api/alerts", MINIMAL | {"minSamples": 3.0})
    assert (answer.status, answer.body["minSamples"]) == (201, 3)
    assert await mistakes("RuleSpec", "minSamples", 3.5)
