from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from werkzeug.exceptions import ImATeapot, RequestTimeout

from alertd.config.errors import ConfigConflict, ConfigError, ConfigProblem
from alertd.errors import (
    AlertdError,
    Conflict,
    InvalidInput,
    InvalidParameters,
    NotFound,
    Overloaded,
    Problem,
    StoreUnavailable,
    VersionMismatch,
)
from alertd.http.event_input import TooManyEvents
from alertd.http.openapi.operations import STATUS
from alertd.http.strict import Undecodable
from tests.unit.http.fakes import Site


async def test_health_is_an_answer() -> None:
    answer = await Site().send("GET", "/healthz")
    assert (answer.status, answer.body) == (200, {"status": "ok"})


async def test_readiness_says_why_not() -> None:
    site = Site()
    assert (await site.send("GET", "/readyz")).status == 200
    site.status.reason = "recovering"
    answer = await site.send("GET", "/readyz")
    assert (answer.status, answer.body["detail"]) == (503, "recovering")


async def test_metrics_are_prometheus_text() -> None:
    answer = await Site().send("GET", "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"alertd_events_accepted_total 0.0" in answer.body


async def test_status_is_a_report() -> None:
    answer = await Site().send("GET", "/api/status")
    assert answer.body == msgspec.json.decode(msgspec.json.encode(STATUS))


async def test_head_is_get_without_a_body() -> None:
    answer = await Site().send("HEAD", "/healthz")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("path", ["/", "/api", "/api/events/", "/api/serie", "/static/x"])
async def test_what_is_not_there_is_a_404_problem(path: str) -> None:
    answer = await Site().send("GET", path)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["title"] == "Not Found"


PROBLEM = Problem("/x", "is wrong")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput([PROBLEM]), 422),
        (InvalidParameters([PROBLEM]), 400),
        (Undecodable("is not JSON"), 400),
        (TooManyEvents(5), 413),
        (NotFound("no such thing"), 404),
        (Conflict("taken"), 409),
        (VersionMismatch("stale"), 412),
        (Overloaded("full", retry_after_s=9), 429),
        (StoreUnavailable("down"), 503),
        (RequestTimeout(), 408),
        (ImATeapot(), 418),
        (AlertdError("of a kind that nobody mapped"), 500),
        (RuntimeError("unexpected"), 500),
        (ExceptionGroup("several", [NotFound("no such thing")]), 404),
        (ExceptionGroup("several", [RuntimeError("unexpected")]), 500),
    ],
)
async def test_every_exception_is_a_problem_of_its_status(error: Exception, status: int) -> None:
    site = Site()

    def fail() -> str | None:
        raise error

    failing: Callable[[], str | None] = fail
    site.status.readiness = failing  # type: ignore[method-assign]
    answer = await site.ask("GET", "/readyz")
    assert (answer.status, answer.body["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    assert "Traceback" not in str(answer.body)


async def test_a_reload_says_what_changed() -> None:
    answer = await Site().send("POST", "/api/reload", content_type=None)
    nothing: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    assert (answer.status, answer.body) == (
        200,
        {
            "rules": {**nothing, "added": ["a rule"]},
            "channels": nothing,
            "tokens": nothing,
            "policies": ["mute"],
            "atNextStart": ["store"],
            "warnings": [
                {"path": "/etc/alertd.toml:7", "message": "channels.old: nothing names it"}
            ],
            "warningCount": 1,
        },
    )
    assert (await Site().send("GET", "/api/reload")).status == 405
    assert (await Site().send("POST", "/api/reload?now=1")).status == 400


async def test_a_reload_of_a_bad_file_is_422_with_every_mistake_at_its_place() -> None:
    site, file = Site(), Path("/etc/alertd.toml")
    site.reloader.failure = ConfigError(
        [
            ConfigProblem(file, 3, "rules[0].threshold", "expected a number, got a string"),
            ConfigProblem(file, None, "", "cannot be read"),
        ]
    )
    answer = await site.send("POST", "/api/reload")
    assert (answer.status, answer.headers["Content-Type"]) == (422, "application/problem+json")
    assert answer.body["detail"] == "the configuration has 2 mistakes; nothing was changed"
    assert answer.errors == {
        "/etc/alertd.toml:3": "rules[0].threshold: expected a number, got a string",
        "/etc/alertd.toml": "cannot be read",
    }


async def test_a_reload_that_takes_names_is_409_with_each_at_its_place() -> None:
    site, file = Site(), Path("/etc/alertd.toml")
    site.reloader.failure = ConfigConflict(
        [ConfigProblem(file, line, "", f"the name {line} is taken") for line in (3, 9)]
    )
    answer = await site.send("POST", "/api/reload")
    assert (answer.status, answer.headers["Content-Type"]) == (409, "application/problem+json")
    assert "nothing was changed" in answer.body["detail"]
    assert answer.errors == {
        "/etc/alertd.toml:3": "the name 3 is taken",
        "/etc/alertd.toml:9": "the name 9 is taken",
    }
