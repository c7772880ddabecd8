"""Bad input: each kind is refused with a clear problem, and the daemon goes on untouched."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.daemon import JSON, Daemon

GOOD = {"metricName": "m", "value": 1}
RULE = {
    "name": "a rule", "type": "SIMPLE_COUNT", "metricName": "m", "threshold": 1,
    "windowDurationSecs": 60,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("bad")) as daemon:
        daemon.post_rule(**RULE | {"name": "taken", "metricName": "untouched"})
        yield daemon


@pytest.fixture
def daemon(shared_daemon: Daemon) -> Iterator[Daemon]:
    """The shared daemon, which must be as well after the test as it was before."""
    pid, rules = shared_daemon.pid, shared_daemon.get("/api/alerts")
    yield shared_daemon
    assert shared_daemon.get("/healthz") == {"status": "ok"}
    assert shared_daemon.post_events(GOOD)["accepted"] == 1
    assert shared_daemon.get("/api/alerts") == rules
    assert shared_daemon.alive
    assert shared_daemon.pid == pid
    assert not [line for line in shared_daemon.lines if line["level"] in ("error", "critical")]


@dataclass(frozen=True)
class Bad:
    """A request, and what must be said of it."""

    body: bytes
    status: int
    says: str
    """Part of the detail."""
    at: str | None = None
    """The path of the error, where it has one."""
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())


def event(status: int = 422, *, says: str, at: str | None, raw: str = "", **members: Any) -> Bad:
    """Return a bad event: ``GOOD`` with ``members``, or with ``raw`` JSON for its value."""
    body = json.dumps(GOOD | members)
    if raw:
        body = body.replace('"value": 1', f'"value": {raw}')
    return Bad(body.encode(), status, says, at)


def undecodable(body: bytes, says: str) -> Bad:
    return Bad(body, 400, says)


NOW_S = time.time()
BAD_EVENTS = {
    "not_json": undecodable(b"metricName=m&value=1", "must be an event"),
    "broken_json": undecodable(b'{"metricName": "m", "value": 1', "is not valid JSON"),
    "more_behind_it": undecodable(b'[{"metricName": "m"}] x', "more follows"),
    "empty_body": undecodable(b"", "body is empty"),
    "blank_body": undecodable(b" \r\n\t", "body is empty"),
    "utf_16": undecodable(json.dumps(GOOD).encode("utf-16"), "UTF-16"),
    "utf_16_without_a_mark": undecodable(json.dumps(GOOD).encode("utf-16-le"), "UTF-16"),
    "latin_1": Bad('{"metricName": "température"}'.encode("latin-1"), 422, "UTF-8", "/metricName"),
    "deep_nesting": undecodable(b"[" * 100_000, "nested too deeply"),
    "deep_labels": undecodable(b'{"labels":' + b'{"a":' * 100_000, "nested too deeply"),
    "a_number": undecodable(b"17", "must be an event"),
    "null": undecodable(b"null", "must be an event"),
    "metric_is_a_number": event(metricName=7, says="must be a string", at="/metricName"),
    "metric_is_missing": Bad(b'{"value": 1}', 422, "is required", "/metricName"),
    "metric_is_empty": event(metricName="", says="", at="/metricName"),
    "value_is_a_string": event(value="1", says="must be a number", at="/value"),
    "value_is_true": event(value=True, says="must be a number, not true", at="/value"),
    "value_is_null": event(value=None, says="must be a number, not null", at="/value"),
    "value_is_nan": event(raw="NaN", says="finite", at="/value"),
    "value_is_infinite": event(raw="-Infinity", says="finite", at="/value"),
    "value_is_1e999": event(raw="1e999", says="finite", at="/value"),
    "value_is_2_to_the_64": event(raw=str(2**64), says="beyond 64 bits", at="/value"),
    "value_has_5000_digits": event(raw="9" * 5000, says="finite", at="/value"),
    "labels_are_an_array": event(labels=["a"], says="must be an object", at="/labels"),
    "label_is_a_number": event(labels={"a": 1}, says="must be a string", at="/labels/a"),
    "label_is_a_lone_surrogate": event(labels={"a": "\ud800"}, says="surrogate", at="/labels/a"),
    "metric_is_a_lone_surrogate": event(metricName="\udfff", says="surrogate", at="/metricName"),
    "id_is_a_number": event(id=5, says="must be a string", at="/id"),
    "time_is_true": event(timestamp=True, says="must be", at="/timestamp"),
    "time_is_no_time": event(timestamp="yesterday", says="RFC 3339", at="/timestamp"),
    "time_without_offset": event(timestamp="2025-06-30T15:00:00", says="offset", at="/timestamp"),
    "time_that_never_was": event(timestamp="2025-02-30T15:00:00Z", says="exist", at="/timestamp"),
    "milliseconds": event(timestamp=int(NOW_S * 1000), says="milliseconds", at="/timestamp"),
    "the_future": event(timestamp=NOW_S + 3600, says="ahead of this server", at="/timestamp"),
    "long_ago": event(timestamp=1_000_000, says="event retention", at="/timestamp"),
    "unknown_field": event(metric_name="m", says="did you mean 'metricName'?", at="/metric_name"),
    "unknown_media_type": Bad(
        b"m 1", 415, "application/json", headers=(("Content-Type", "text/plain"),)
    ),
    "unknown_encoding": Bad(
        b"[]", 415, "", headers=(*JSON.items(), ("Content-Encoding", "br"))
    ),
}  # fmt: skip


def rule(status: int = 422, *, says: str, at: str | None, **members: Any) -> Bad:
    """Return a bad rule: ``RULE`` with ``members``; one that is None is left out."""
    fields = {name: value for name, value in (RULE | members).items() if value is not None}
    return Bad(json.dumps(fields).encode(), status, says, at)


BAD_RULES = {
    "not_json": undecodable(b"name: x", "is not valid JSON"),
    "empty_body": undecodable(b"", "body is empty"),
    "an_array": Bad(b"[]", 422, "must be an object"),
    "deep_nesting": undecodable(b'{"matchers":' * 20_000, "nested too deeply"),
    "unknown_type": rule(type="SIMPLE_SUM", says="known are SIMPLE_COUNT", at="/type"),
    "window_0": rule(windowDurationSecs=0, says="more than 0", at="/windowDurationSecs"),
    "window_below_0": rule(windowDurationSecs=-5, says="more than 0", at="/windowDurationSecs"),
    "bucket_does_not_divide": rule(
        type="BUCKETED_WINDOW", bucketIntervalSecs=7, says="divide", at="/bucketIntervalSecs"
    ),
    "bucket_of_0": rule(
        type="BUCKETED_WINDOW", bucketIntervalSecs=0, says="more than 0", at="/bucketIntervalSecs"
    ),
    "threshold_missing": rule(threshold=None, says="is required", at="/threshold"),
    "threshold_is_text": rule(threshold="3", says="must be a number", at="/threshold"),
    "duplicate_name": rule(name="taken", says="'taken' is the name of the rule", at="/name"),
    "unknown_channel": rule(
        notifications=[{"channel": "pager"}], says="'pager'", at="/notifications/0/channel"
    ),
    "endpoint_is_missing": rule(
        notifications=[{"channel": "SLACK"}], says="is required", at="/notifications/0/endpoint"
    ),
    "bad_regex": rule(
        matchers={"host": "=~web-(["}, says="is not a regular expression", at="/matchers/host"
    ),
    "unknown_aggregate": rule(
        type="MOVING_WINDOW", aggregate="mean", says="'mean' is unknown", at="/aggregate"
    ),
    "unknown_operator": rule(operator="=>", says="did you mean '>='?", at="/operator"),
    "unknown_field": rule(groupby=["a"], says="did you mean 'groupBy'?", at="/groupby"),
    "stricter_resolve": rule(resolveThreshold=5, says="cannot be above", at="/resolveThreshold"),
    "name_is_a_lone_surrogate": rule(name="\ud800", says="surrogate", at="/name"),
}  # fmt: skip


def check_problem(answer: httpx.Response, bad: Bad) -> None:
    assert answer.status_code == bad.status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert problem["status"] == bad.status
    assert bad.says in problem["detail"]
    if bad.at is not None:
        assert [error["path"] for error in problem["errors"]] == [bad.at]
        assert problem["errors"][0]["message"] in problem["detail"]


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_and_named(daemon: Daemon, name: str) -> None:
    bad = BAD_EVENTS[name]
    answer = daemon.client.post("/api/events", content=bad.body, headers=dict(bad.headers))
    check_problem(answer, bad)


@pytest.mark.parametrize("name", BAD_RULES)
def test_a_bad_rule_is_refused_and_named(daemon: Daemon, name: str) -> None:
    bad = BAD_RULES[name]
    answer = daemon.client.post("/api/alerts", content=bad.body, headers=dict(bad.headers))
    check_problem(answer, bad)


def test_every_mistake_of_a_rule_is_named_at_once(daemon: Daemon) -> None:
    wrong = {"name": "", "type": "NONE", "windowDurationSecs": "1m", "colour": "red"}
    answer = daemon.client.post("/api/alerts", json=wrong)
    assert answer.status_code == 422
    assert {error["path"] for error in answer.json()["errors"]} >= {
        "/type", "/windowDurationSecs", "/colour", "/metricName", "/threshold"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/alerts/none", 404),
        ("GET", "/api/alerts/none/history", 404),
        ("GET", "/api/incidents/none", 404),
        ("DELETE", "/api/events", 405),
        ("GET", "/api/history?limit=0", 400),
        ("GET", "/api/history?status=FINE", 400),
        ("GET", "/api/history?cursor=x", 400),
        ("GET", "/api/history?rule=x", 400),
        ("GET", "/api/history?from=yesterday", 400),
    ],
)
def test_a_request_that_means_nothing_gets_a_problem(
    daemon: Daemon, method: str, path: str, status: int
) -> None:
    answer = daemon.client.request(method, path)
    check_problem(answer, Bad(b"", status, ""))


@pytest.mark.parametrize("form", ["array", "ndjson"])
def test_of_a_thousand_events_one_bad_one_is_reported_and_999_are_stored(
    daemon: Daemon, form: str
) -> None:
    metric = f"thousand_{form}"
    rule = daemon.post_rule(
        **RULE | {"name": metric, "metricName": metric, "threshold": 998, "windowDurationSecs": 9}
    )
    now_s = int(time.time())
    events: list[dict[str, Any]] = [
        {"metricName": metric, "timestamp": now_s, "value": n} for n in range(1000)
    ]
    events[617]["value"] = "many"
    if form == "array":
        receipt = daemon.post_events(events)
    else:
        answer = daemon.client.post(
            "/api/events",
            content="\n".join(map(json.dumps, events)),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert answer.status_code == 202
        receipt = answer.json()
    assert (receipt["accepted"], receipt["rejected"], receipt["duplicates"]) == (999, 1, 0)
    assert [error["path"] for error in receipt["errors"]] == ["/617/value"]
    daemon.wait_until_judged()
    (incident,) = daemon.history(f"/api/alerts/{rule['id']}/history")
    assert incident["currentValue"] == 999
    assert daemon.client.delete(f"/api/alerts/{rule['id']}").status_code == 204


def test_a_line_that_is_not_json_does_not_lose_its_neighbours(daemon: Daemon) -> None:
    good = json.dumps(GOOD)
    answer = daemon.client.post(
        "/api/events",
        content=f'{good}\n{{"metricName": "m\n\n{good}\r\n',
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 202
    assert (answer.json()["accepted"], answer.json()["rejected"]) == (2, 1)
    (error,) = answer.json()["errors"]
    assert error["path"] == "/1"
    assert "not valid JSON" in error["message"]


def test_one_bad_event_spoils_an_atomic_request(daemon: Daemon) -> None:
    answer = daemon.client.post(
        "/api/events?atomic=true", json=[GOOD, GOOD | {"value": None}, GOOD]
    )
    check_problem(answer, Bad(b"", 422, "must be a number", "/1/value"))
