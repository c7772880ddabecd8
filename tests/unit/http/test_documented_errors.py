"""Every error that the OpenAPI document has for an operation is one that the operation answers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from alertd.access import Scope, Token, digest_of
from alertd.config.rules import TomlRule
from alertd.errors import Conflict, InvalidInput, NotFound, Problem, StoreUnavailable
from alertd.http import strict
from alertd.http.app import make_app
from alertd.rules import RuleSpec
from tests.unit.http.contract import described
from tests.unit.http.fakes import MAX_BYTES, Answer, Site
from tests.unit.http.test_rules import MINIMAL

Json = Any  # decoded JSON

ERRORS = [
    (operation["operationId"], method.upper(), template, int(status))
    for template, item in described()["paths"].items()
    for method, operation in item.items()
    for status in operation["responses"]
    if int(status) >= 400
]
BY_THE_TESTS_OF_CONNECTIONS = {408}
"""It takes a client that is slow."""

AT_THE_GATE = {401, 403, 421, 429}

BODIES: dict[str, Json] = {
    "pushEvents": {"metricName": "errors"},
    "createRule": MINIMAL,
    "replaceRule": MINIMAL,
    "editRule": {"threshold": 7},
    "acknowledgeIncident": {"by": "ann"},
    "createSilence": {"matchers": {"a": "b"}, "endsAt": "2030-01-01T00:00:00Z"},
}
OF_PARTS: dict[int, Exception] = {
    409: Conflict("it does not fit"),
    422: InvalidInput([Problem("/x", "is wrong")]),
    500: RuntimeError("unexpected"),
    503: StoreUnavailable("down"),
}
"""What the parts of the daemon raise, by the status that it leads to."""


class Failing:
    """A part of the daemon of which every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    # Any: it stands for every method of every part.
    def __getattr__(self, name: str) -> Any:
        def fail(*args: object, **kwargs: object) -> None:
            raise self._error

        return fail


PARTS = (
    *("quarantine", "stored", "rollups", "rules", "incidents", "outbox", "notifier"),
    *("silences", "status", "reloader"),
)
NEEDS_NO_PART = {"getHealth", "getMetrics", "getOpenapi", "getDocs"}


def with_failing_parts(site: Site, error: Exception) -> None:
    """Make every call to a part of the daemon fail."""
    site.log.failure = error
    failing = dict.fromkeys(PARTS, Failing(error))
    site.app = make_app(dataclasses.replace(site.services, **failing))  # type: ignore[arg-type]


def have_it_fail(site: Site, name: str, error: Exception) -> None:
    """Make an operation fail, if it needs no part of the daemon by there being none yet."""
    if name in NEEDS_NO_PART:
        site.app = site.recovering_app()
    else:
        with_failing_parts(site, error)


async def some_rule(site: Site, *, is_of_a_file: bool) -> str:
    """Add a rule and return its id."""
    spec = strict.to_struct(MINIMAL, RuleSpec)
    if not is_of_a_file:
        return (await site.rules.create(spec)).id
    await site.rules.take_files(
        [TomlRule(spec=spec, id="of-a-file", file=Path("rules.toml"), line=7)]
    )
    return "of-a-file"


async def at_the_gate(status: int, method: str, path: str) -> Answer:
    """Ask an operation so that the gate refuses it with ``status``."""
    used_up = {"max_requests_per_sec": 1e-9} if status == 429 else {}
    scopes = [] if status == 403 else [Scope.ADMIN]
    token = Token(name="t", scopes=frozenset(scopes), digest=digest_of(b"secret"), **used_up)
    site, host = Site(token), "elsewhere" if status == 421 else "a"
    if status == 401:
        return await site.send(method, path, Host=host)
    if status == 429:
        await site.send(method, path, Host=host, Authorization="Bearer secret")
    return await site.send(method, path, Host=host, Authorization="Bearer secret")


async def answer_with(status: int, name: str, method: str, template: str) -> Answer:
    """Ask an operation so that it answers with ``status``."""
    if status in AT_THE_GATE:
        return await at_the_gate(status, method, re.sub(r"\{\w+\}", "no-such-id", template))
    site, path, body = Site(), re.sub(r"\{\w+\}", "no-such-id", template), BODIES.get(name, b"")
    if status in (409, 412, 422) and "{rule_id}" in template:
        rule_id = await some_rule(site, is_of_a_file=status == 409)
        path = template.replace("{rule_id}", rule_id)
    elif status == 404:
        site.notifier.failure = NotFound("there is none")
    elif status in OF_PARTS and not (status == 422 and name in BODIES):
        have_it_fail(site, name, OF_PARTS[status])
    match status:
        case 400:
            path += "?nonsense=1"
        case 413:
            body = b" " * (MAX_BYTES + 1)
        case 415:
            return await site.send(method, path, b"text", "text/plain")
        case 412:
            return await site.send(method, path, body, If_Match='"99"')
        case 422 if name in BODIES:
            body = {"nonsense": 1}
    return await site.send(method, path, body)


@pytest.mark.parametrize(("name", "method", "template", "status"), ERRORS)
async def test_an_operation_answers_every_error_that_it_is_said_to_have(
    name: str, method: str, template: str, status: int
) -> None:
    if status in BY_THE_TESTS_OF_CONNECTIONS or (status == 500 and name in NEEDS_NO_PART):
        return
    with capture_logs():  # which would take a second for each traceback
        answer = await answer_with(status, name, method, template)
    assert (answer.status, answer.body["status"]) == (status, status), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
