"""The HTTP contract, endpoint by endpoint, as a client of a live daemon meets it.

All tests share one daemon; each has metrics and rules of its own.
"""

from __future__ import annotations

import gzip
import itertools
import json
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
import zstandard

from tests.e2e.daemon import JSON, Daemon, to_rfc3339, to_us
from tests.receivers import Answer, HttpReceiver, http_receiver

Json = Any  # decoded JSON

CONFIG = """
[server]
bind = "127.0.0.1:0"
shutdown_grace_secs = 1
max_body_bytes = 100_000
max_events_per_request = 1000
[logging]
format = "json"
level = "debug"
[notify]
group_interval_secs = 0
retry_first_secs = 0.05
max_attempts = 2
[channels.hook]
type = "webhook"
url = "{url}"
[[rules]]
name = "Of a file"
type = "SIMPLE_COUNT"
metric_name = "of_a_file"
threshold = 1
window_duration_secs = 60
"""
NOWHERE = "00000000-0000-4000-8000-000000000000"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def hook() -> Iterator[HttpReceiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, hook: HttpReceiver) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("api")
    with Daemon(folder, minimal=CONFIG.format(url=hook.url())) as running:
        yield running
        running.assert_no_request_broke_off()


@pytest.fixture
def metric() -> str:
    """A metric that no other test has."""
    return f"metric_{next(_numbers)}"


def post(daemon: Daemon, path: str, body: object, **headers: str) -> httpx.Response:
    return daemon.client.post(path, content=json.dumps(body), headers={**JSON, **headers})


def push(daemon: Daemon, body: bytes, content_type: str, **headers: str) -> httpx.Response:
    sent = {"Content-Type": content_type, **headers}
    return daemon.client.post("/api/events", content=body, headers=sent)


def rule(metric: str, **fields: object) -> dict[str, object]:
    return {
        "name": f"Rule of {metric}", "type": "SIMPLE_COUNT", "metricName": metric, "threshold": 1,
        "windowDurationSecs": 3600, **fields,
    }  # fmt: skip


def values_of(daemon: Daemon, metric: str) -> list[float]:
    return [item["value"] for item in daemon.get("/api/events", metricName=metric)["items"]]


def read_all(daemon: Daemon, path: str, *, limit: int, **parameters: str | int) -> list[Json]:
    """Return a whole list, page by page."""
    items: list[Json] = []
    page: Json = {"nextCursor": ""}
    while page["nextCursor"] is not None:
        page = daemon.get(path, limit=limit, **parameters)
        assert len(page["items"]) <= limit
        items += page["items"]
        parameters["cursor"] = page["nextCursor"]
    return items


def is_problem(answer: httpx.Response, status: int) -> Json:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    assert body["detail"]
    return body


# ---- events: every form of body, in every encoding

FORMS: dict[str, tuple[str, Callable[[list[Json]], bytes]]] = {
    "JSON": ("application/json", lambda events: json.dumps(events).encode()),
    "NDJSON": ("application/x-ndjson", lambda events: b"\n".join(map(msgspec.json.encode, events))),
    "maps in msgpack": ("application/msgpack", msgspec.msgpack.encode),
    "columns of arrays": ("application/msgpack", lambda events: in_columns(events, binary=False)),
    "columns of bin": ("application/msgpack", lambda events: in_columns(events, binary=True)),
}
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.compress(data),
}


def in_columns(events: list[Json], *, binary: bool) -> bytes:
    now_us = time.time_ns() // 1000
    count = len(events)
    index, times = [0] * count, [now_us] * count
    values = [event["value"] for event in events]
    series = [[events[0]["metricName"], {}]]
    if not binary:
        columns: Json = {"seriesIndex": index, "timestamp": times, "value": values}
    else:
        columns = {
            "seriesIndex": struct.pack(f"<{count}I", *index),
            "timestamp": struct.pack(f"<{count}q", *times),
            "value": struct.pack(f"<{count}d", *values),
        }
    return msgspec.msgpack.encode({"series": series, **columns})


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", FORMS)
def test_events_are_taken_in_every_form_and_encoding(
    daemon: Daemon, metric: str, form: str, encoding: str
) -> None:
    content_type, encode = FORMS[form]
    body = ENCODINGS[encoding](encode([{"metricName": metric, "value": n} for n in (1, 2.5, -3)]))
    headers = {} if encoding == "identity" else {"Content-Encoding": encoding}
    answer = push(daemon, body, content_type, **headers)
    assert (answer.status_code, answer.json()) == (
        202,
        {"accepted": 3, "duplicates": 0, "rejected": 0, "errors": [], "errorsTruncated": False},
    )
    assert sorted(values_of(daemon, metric)) == [-3, 1, 2.5]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_not_inflated(daemon: Daemon, encoding: str) -> None:
    bomb = ENCODINGS[encoding](b" " * 50_000_000)
    assert len(bomb) < 100_000
    is_problem(push(daemon, bomb, "application/json", **{"Content-Encoding": encoding}), 413)


def test_one_event_alone_is_taken(daemon: Daemon, metric: str) -> None:
    assert post(daemon, "/api/events", {"metricName": metric}).json()["accepted"] == 1
    assert values_of(daemon, metric) == [1.0]


def test_one_bad_event_does_not_lose_its_neighbours(daemon: Daemon, metric: str) -> None:
    answer = post(
        daemon, "/api/events", [{"metricName": metric}, {"metricName": metric, "value": "many"}]
    )
    assert answer.status_code == 202
    receipt = answer.json()
    assert (receipt["accepted"], receipt["rejected"]) == (1, 1)
    assert receipt["errors"] == [{"path": "/1/value", "message": "must be a number, not a string"}]


def test_all_or_none_are_taken_if_that_is_asked_for(daemon: Daemon, metric: str) -> None:
    body = [{"metricName": metric}, {"metricName": metric, "value": "many"}]
    problem = is_problem(post(daemon, "/api/events?atomic=true", body), 422)
    assert problem["errors"][0]["path"] == "/1/value"
    assert values_of(daemon, metric) == []


def test_where_nothing_can_be_taken_it_is_422_and_duplicates_are_not_nothing(
    daemon: Daemon, metric: str
) -> None:
    is_problem(post(daemon, "/api/events", [{"metricName": metric, "value": None}] * 2), 422)
    event = {"metricName": metric, "id": f"id of {metric}"}
    assert post(daemon, "/api/events", event).json()["accepted"] == 1
    again = post(daemon, "/api/events", event)
    assert (again.status_code, again.json()["duplicates"]) == (202, 1)


def test_the_first_hundred_errors_are_listed(daemon: Daemon, metric: str) -> None:
    body = [{"metricName": metric}] + [{"metricName": metric, "value": "many"}] * 101
    receipt = post(daemon, "/api/events", body).json()
    assert (receipt["rejected"], len(receipt["errors"])) == (101, 100)
    assert receipt["errorsTruncated"] is True


def test_paths_in_columns_name_the_column(daemon: Daemon, metric: str) -> None:
    now_us = time.time_ns() // 1000
    body = {
        "series": [[metric, {}], ["two words", {}]],
        "seriesIndex": [0, 0, 1],
        "timestamp": [now_us] * 3,
        "value": [1.0, float("nan"), 1.0],
    }
    receipt = push(daemon, msgspec.msgpack.encode(body), "application/msgpack").json()
    assert {error["path"] for error in receipt["errors"]} == {"/value/1", "/series/1"}


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"not JSON", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xc1", "application/msgpack", 400),
        (b"{}", "text/plain", 415),
        (b" " * 100_001, "application/json", 413),
        (b"[" + b",".join([b'{"metricName":"m"}'] * 1001) + b"]", "application/json", 413),
    ],
)
def test_what_cannot_be_read_is_a_problem_of_its_status(
    daemon: Daemon, body: bytes, content_type: str, status: int
) -> None:
    is_problem(push(daemon, body, content_type), status)


def test_a_body_that_is_not_what_its_encoding_says_is_a_bad_request(daemon: Daemon) -> None:
    is_problem(push(daemon, b"{}", "application/json", **{"Content-Encoding": "gzip"}), 400)
    unknown = push(daemon, b"{}", "application/json", **{"Content-Encoding": "br"})
    is_problem(unknown, 415)
    assert unknown.headers["accept-encoding"] == "gzip, zstd"


def test_a_request_with_a_key_counts_once(daemon: Daemon, metric: str) -> None:
    key = {"Idempotency-Key": f"key of {metric}"}
    first = post(daemon, "/api/events", {"metricName": metric}, **key)
    again = post(daemon, "/api/events", {"metricName": metric}, **key)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert values_of(daemon, metric) == [1.0]
    is_problem(post(daemon, "/api/events", {"metricName": metric, "value": 2}, **key), 422)


# ---- stored events


def test_stored_events_are_found_by_metric_label_and_time(daemon: Daemon, metric: str) -> None:
    now_us = time.time_ns() // 1000
    at = [to_rfc3339(now_us - seconds * 1_000_000) for seconds in (30, 20, 10)]
    daemon.post_events(
        [
            {"metricName": metric, "timestamp": moment, "value": n, "labels": {"host": f"h{n % 2}"}}
            for n, moment in enumerate(at)
        ]
    )
    assert values_of(daemon, metric) == [0, 1, 2]
    asked: list[tuple[dict[str, str | int], list[int]]] = [
        ({"from": at[1]}, [1, 2]),
        ({"to": at[1]}, [0]),
        ({"labels.host": "h0"}, [0, 2]),
        ({"labels.host": ""}, []),
        ({"labels.host": "h0", "from": at[1]}, [2]),
    ]
    for parameters, wanted in asked:
        found = daemon.get("/api/events", metricName=metric, **parameters)["items"]
        assert [item["value"] for item in found] == wanted, parameters
    (bucket,) = daemon.get("/api/events", metricName=metric, resolution=86_400 * 7)["items"][:1]
    assert (bucket["count"], bucket["min"]) in ((1, 0), (2, 0))


@pytest.mark.parametrize("path", ["/api/events", "/api/series"])
def test_a_list_comes_in_pages_that_miss_nothing_and_repeat_nothing(
    daemon: Daemon, metric: str, path: str
) -> None:
    daemon.post_events([{"metricName": metric, "labels": {"n": f"{n}"}} for n in range(7)])
    items = read_all(daemon, path, limit=3, metricName=metric)
    seen = [item["labels"]["n"] for item in items]
    assert sorted(seen) == [f"{n}" for n in range(7)]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=many", "cursor=%20", "from=today", "nonsense=1",
              "from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z", "limit=1&limit=2"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/events", "/api/history"])
def test_a_parameter_that_makes_no_sense_is_a_bad_request(
    daemon: Daemon, path: str, query: str
) -> None:
    problem = is_problem(daemon.client.get(f"{path}?{query}"), 400)
    assert problem["errors"]


def test_a_series_has_the_exact_number_of_its_events(daemon: Daemon, metric: str) -> None:
    event = {"metricName": metric, "labels": {"a": "b"}}
    daemon.post_events([event, {**event, "id": f"one {metric}"}])
    daemon.post_events([{**event, "id": f"one {metric}"}, {**event, "value": "bad"}, event])
    (series,) = daemon.get("/api/series", metricName=metric)["items"]
    assert (series["labels"], series["count"]) == ({"a": "b"}, 3)
    assert series["firstSeen"] <= series["lastSeen"]


def test_what_was_refused_is_shown_with_its_reason(daemon: Daemon, metric: str) -> None:
    event = {"metricName": metric, "timestamp": "2100-01-01T00:00:00Z"}
    post(daemon, "/api/events", [event])

    def refused() -> list[Json]:
        items = daemon.get("/api/events/quarantine", reason="future")["items"]
        return [item for item in items if metric in item["event"]]

    (item,) = daemon.wait_until(refused, "it is in the quarantine")
    assert (item["reason"], item["path"]) == ("future", "/0/timestamp")
    assert json.loads(item["event"])["metricName"] == metric


# ---- rules


def test_a_rule_is_made_read_replaced_patched_and_deleted(daemon: Daemon, metric: str) -> None:
    made = post(daemon, "/api/alerts", rule(metric))
    assert made.status_code == 201
    where = made.headers["location"]
    assert where == f"/api/alerts/{made.json()['id']}"
    assert made.headers["etag"] == '"1"'
    assert daemon.get(where) == made.json()
    replaced = daemon.client.put(
        where, content=json.dumps(rule(metric, threshold=5, forSecs=1.5)), headers=JSON
    )
    assert (replaced.json()["version"], replaced.json()["forSecs"]) == (2, 1.5)
    patched = daemon.client.patch(where, content='{"forSecs": null}', headers=JSON)
    body = patched.json()
    assert (body["version"], body["forSecs"], body["threshold"]) == (3, 0, 5)
    merge = {"Content-Type": "application/merge-patch+json"}
    assert daemon.client.patch(where, content='{"threshold": 6}', headers=merge).status_code == 200
    gone = daemon.client.delete(where)
    assert (gone.status_code, gone.content) == (204, b"")
    is_problem(daemon.client.get(where), 404)


def test_a_rule_needs_five_fields_and_gets_every_other(daemon: Daemon, metric: str) -> None:
    problem = is_problem(post(daemon, "/api/alerts", {}), 422)
    assert {error["path"] for error in problem["errors"]} == {
        "/name", "/type", "/metricName", "/threshold", "/windowDurationSecs",
    }  # fmt: skip
    made = daemon.post_rule(**rule(metric))
    assert set(made) >= {
        *("id", "version", "createdAt", "updatedAt", "source", "state", "operator", "aggregate"),
        *("matchers", "groupBy", "minSamples", "forSecs", "keepFiringSecs", "resolveThreshold"),
        *("allowedLatenessSecs", "onNoData", "evaluate", "severity", "description", "runbookUrl"),
        *("isActive", "repeatIntervalSecs", "notifications", "bucketIntervalSecs"),
    }
    assert (made["source"], made["isActive"]) == ("api", True)
    assert set(made["state"]) == {"ok", "pending", "firing", "no_data"}


def test_rules_come_in_pages_by_name_whatever_the_names(daemon: Daemon, metric: str) -> None:
    names = [f"{metric} {end}" for end in ("a:b", "ü" * 180, "\U0001f4a5" * 180, "~", "=")]
    for name in names:
        daemon.post_rule(**rule(metric, name=name))
    seen = [item["name"] for item in read_all(daemon, "/api/alerts", limit=1)]
    assert seen == sorted(set(seen))
    assert set(names) <= set(seen)


def test_a_misspelt_field_is_named_with_the_nearest_known_one(daemon: Daemon, metric: str) -> None:
    problem = is_problem(post(daemon, "/api/alerts", rule(metric, treshold=3)), 422)
    assert problem["errors"] == [
        {"path": "/treshold", "message": "is an unknown field; did you mean 'threshold'?"}
    ]


def test_an_edit_against_another_version_is_refused(daemon: Daemon, metric: str) -> None:
    made = daemon.post_rule(**rule(metric))
    where = f"/api/alerts/{made['id']}"
    edit = json.dumps({"threshold": 2})
    for tag in ('"1"', '"7", "2"', "*", 'W/"4"'):
        answer = daemon.client.patch(where, content=edit, headers={**JSON, "If-Match": tag})
        assert answer.status_code == 200, tag
    stale = {**JSON, "If-Match": '"1"'}
    is_problem(daemon.client.patch(where, content=edit, headers=stale), 412)
    is_problem(daemon.client.put(where, content=json.dumps(rule(metric)), headers=stale), 412)
    is_problem(daemon.client.delete(where, headers=stale), 412)
    assert daemon.get(where)["version"] == 5


def test_a_rule_of_a_file_is_edited_in_the_file(daemon: Daemon) -> None:
    (found,) = (item for item in daemon.get("/api/alerts")["items"] if item["name"] == "Of a file")
    assert found["source"] == "toml"
    where = f"/api/alerts/{found['id']}"
    for answer in (
        daemon.client.delete(where),
        daemon.client.patch(where, content="{}", headers=JSON),
        daemon.client.put(where, content=json.dumps(rule("x")), headers=JSON),
    ):
        line = 1 + CONFIG[: CONFIG.index("[[rules]]")].count("\n")
        assert f"alertd.toml:{line}" in is_problem(answer, 409)["detail"]


# ---- incidents


def fire(daemon: Daemon, metric: str, **fields: object) -> Json:
    """Make a rule and have it fire; return the incident."""
    made = daemon.post_rule(**rule(metric, **fields))
    daemon.post_events([{"metricName": metric}] * 2)
    daemon.wait_until_judged()
    (incident,) = daemon.get(f"/api/alerts/{made['id']}/history")["items"]
    return incident


def whats(incident: Json) -> list[str]:
    return [line["what"] for line in incident["timeline"]]


def test_an_item_of_the_history_has_every_column(daemon: Daemon, metric: str) -> None:
    incident = fire(daemon, metric, severity="critical")
    assert set(incident) >= {
        *("id", "alertId", "triggeredAt", "eventTime", "currentValue", "windowStart"),
        *("windowEnd", "message", "status", "groupLabels", "notifications", "details"),
        *("startedAt", "firedAt", "endedAt", "reason", "lateBy", "detectedBy", "severity"),
    }
    assert (incident["currentValue"], incident["status"]) == (2, "SUCCESS")
    for path in ("/api/history", "/api/incidents"):
        on = daemon.get(path, state="firing", limit=1000)["items"]
        assert incident["id"] in [item["id"] for item in on]
        over = daemon.get(path, state="resolved", limit=1000)["items"]
        assert incident["id"] not in [item["id"] for item in over]
    triggered = to_us(incident["triggeredAt"])
    for parameters, is_there in (
        ({"from": to_rfc3339(triggered)}, True),
        ({"from": to_rfc3339(triggered + 1)}, False),
        ({"to": to_rfc3339(triggered)}, False),
        ({"to": to_rfc3339(triggered + 1)}, True),
        ({"status": "FAILED"}, False),
    ):
        found = daemon.get(f"/api/alerts/{incident['alertId']}/history", **parameters)["items"]
        assert bool(found) == is_there, parameters


def test_an_incident_tells_how_it_was_told(daemon: Daemon, hook: HttpReceiver, metric: str) -> None:
    hook.script[:] = [Answer(503), Answer(200)]
    incident = fire(daemon, metric, notifications=[{"channel": "hook"}])
    where = f"/api/incidents/{incident['id']}"
    daemon.wait_until_told()
    acknowledged = post(daemon, f"{where}/ack", {"by": "ann"}).json()
    assert (acknowledged["acknowledgedBy"], acknowledged["acknowledgedAt"] is None) == (
        "ann",
        False,
    )
    assert whats(acknowledged) == ["fired", "queued", "retry", "sent", "acknowledged"]
    fired, queued, retry, sent, _ = acknowledged["timeline"]
    assert fired["detail"] == incident["message"]
    assert queued["detail"] == "hook: first of its group"
    assert "503" in retry["detail"]
    assert retry["notificationId"] == sent["notificationId"] == queued["notificationId"]
    (told,) = acknowledged["notifications"]
    assert (told["status"], told["attempts"], told["channel"]) == ("SUCCESS", 2, "hook")
    daemon.client.delete(f"/api/alerts/{incident['alertId']}")
    daemon.wait_until_told()
    over = daemon.get(where)
    assert whats(over)[-2:] == ["queued", "sent"]
    (resolved,) = (line for line in over["timeline"] if line["what"] == "resolved")
    assert (resolved["at"], resolved["detail"]) == (over["endedAt"], "rule_deleted")
    assert (over["state"], over["reason"]) == ("resolved", "rule_deleted")
    is_problem(post(daemon, f"{where}/ack", {}), 409)


def test_an_incident_tells_what_it_waited_for_and_what_late_events_made_of_it(
    daemon: Daemon, metric: str
) -> None:
    now_us = time.time_ns() // 1000
    events = [
        {"metricName": metric, "timestamp": to_rfc3339(now_us - seconds * 1_000_000)}
        for seconds in (100, 99, 40)
    ]
    made = daemon.post_rule(
        **rule(metric, windowDurationSecs=20, forSecs=5, allowedLatenessSecs=30)
    )
    daemon.post_events(events)
    daemon.wait_until_judged()
    (incident,) = daemon.get(f"/api/alerts/{made['id']}/history")["items"]
    where = f"/api/incidents/{incident['id']}"
    pending, fired, resolved = daemon.get(where)["timeline"]
    assert (pending["what"], fired["what"], resolved["what"]) == ("pending", "fired", "resolved")
    assert pending["detail"] == "the condition holds; after 5 s it is an incident"
    assert resolved["detail"] == "recovered"
    assert incident["startedAt"] == pending["at"] == to_rfc3339(now_us - 99_000_000)


def test_a_silenced_incident_tells_by_what(daemon: Daemon, metric: str) -> None:
    silence = post(
        daemon,
        "/api/silences",
        {
            "matchers": {"ruleName": f"Rule of {metric}"},
            "endsAt": to_rfc3339(time.time_ns() // 1000 + 3600_000_000),
            "createdBy": "ann",
            "comment": "deploy",
        },
    )
    assert silence.status_code == 201
    where = silence.headers["location"]
    made = silence.json()
    (warning,) = made.pop("warnings")
    assert warning["path"] == "/matchers/ruleName"  # the rule is made below
    assert daemon.get(where) == made
    assert made["state"] == "active"
    incident = fire(daemon, metric, notifications=[{"channel": "hook"}])
    timeline = daemon.get(f"/api/incidents/{incident['id']}")["timeline"]
    assert [line["what"] for line in timeline] == ["fired", "silenced"]
    assert silence.json()["id"] in timeline[1]["detail"]
    assert (incident["status"], incident["told"]) == ("SUCCESS", "held_back")
    of_rule = f"/api/alerts/{incident['alertId']}/history"
    assert daemon.get(of_rule, told="held_back")["items"] == [incident]
    assert daemon.get(of_rule, told="nobody")["items"] == []
    ended = daemon.client.delete(where)
    assert (ended.status_code, ended.json()["state"]) == (200, "expired")
    daemon.wait_until(
        lambda: whats(daemon.get(f"/api/incidents/{incident['id']}"))[-1] == "sent", "it is told"
    )
    assert daemon.get(f"/api/incidents/{incident['id']}")["told"] == "delivered"
    assert silence.json()["id"] in [item["id"] for item in daemon.get("/api/silences")["items"]]


def test_the_messages_of_an_incident_say_what_it_shared_them_with(
    daemon: Daemon, metric: str
) -> None:
    made = daemon.post_rule(**rule(metric, groupBy=["n"], notifications=[{"channel": "hook"}]))
    daemon.post_events([{"metricName": metric, "labels": {"n": n}} for n in "aabb"])
    daemon.wait_until_told()
    incidents = daemon.get(f"/api/alerts/{made['id']}/history")["items"]
    ids = {incident["id"] for incident in incidents}
    assert len(ids) == 2
    for incident in incidents:
        (message,) = daemon.get("/api/notifications", incidentId=incident["id"])["items"]
        assert (set(message["incidents"]), message["incidentCount"]) == (ids, 2)
        assert incident["notifications"][0]["messageId"] == message["id"]
    assert daemon.get("/api/notifications", incidentId=NOWHERE)["items"] == []


def test_silences_come_in_pages_those_that_end_last_first(daemon: Daemon) -> None:
    ends = ["2090-01-01T00:00:00.000000Z", "2090-01-01T00:00:00.000000Z"] + [
        f"2090-01-0{day}T00:00:00.000000Z" for day in range(2, 7)
    ]
    for moment in ends:
        body = {"matchers": {"service": "paged"}, "endsAt": moment}
        assert post(daemon, "/api/silences", body).status_code == 201
    seen = read_all(daemon, "/api/silences", limit=3)
    paged = [one["endsAt"] for one in seen if one["matchers"] == {"service": "paged"}]
    assert paged == sorted(ends, reverse=True)
    assert len(seen) == len({one["id"] for one in seen})
    is_problem(daemon.client.get("/api/silences?limit=0"), 400)
    is_problem(daemon.client.get("/api/silences?cursor=nonsense"), 400)


def test_a_message_that_was_given_up_is_listed_and_sent_again(
    daemon: Daemon, hook: HttpReceiver, metric: str
) -> None:
    hook.script[:] = [Answer(503), Answer(503)]
    incident = fire(daemon, metric, notifications=[{"channel": "hook"}])

    def failed() -> list[Json]:
        items = daemon.get("/api/notifications", status="FAILED", channel="hook")["items"]
        return [item for item in items if incident["id"] in item["incidents"]]

    (message,) = daemon.wait_until(failed, "it is given up")
    where = f"/api/notifications/{message['id']}/requeue"
    answer = daemon.client.post(where)
    assert (answer.status_code, answer.json()) == (
        202,
        {"id": message["id"], "status": "RETRY_PENDING"},
    )
    daemon.wait_until(lambda: not failed(), "it is sent")
    daemon.wait_until_told()
    assert "requeued" in whats(daemon.get(f"/api/incidents/{incident['id']}"))
    is_problem(daemon.client.post(where), 409)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/alerts/{NOWHERE}"),
        ("DELETE", f"/api/alerts/{NOWHERE}"),
        ("GET", f"/api/alerts/{NOWHERE}/history"),
        ("GET", f"/api/incidents/{NOWHERE}"),
        ("POST", f"/api/incidents/{NOWHERE}/ack"),
        ("GET", f"/api/silences/{NOWHERE}"),
        ("DELETE", f"/api/silences/{NOWHERE}"),
        ("POST", f"/api/notifications/{NOWHERE}/requeue"),
        ("GET", "/nowhere"),
    ],
)
def test_what_is_not_there_is_404(daemon: Daemon, method: str, path: str) -> None:
    is_problem(daemon.client.request(method, path), 404)


# ---- operations


def test_the_status_has_what_people_ask_for(daemon: Daemon) -> None:
    status = daemon.get("/api/status")
    assert set(status) >= {
        *("version", "uptimeSecs", "lagSecs", "watermark", "queues", "store", "snapshotAt"),
        *("ruleErrors", "refusals", "observedGaps", "coldRules"),
    }
    daemon.wait_until_judged()
    status = daemon.get("/api/status")
    assert status["watermark"] <= status["now"]
    assert (status["ready"], status["ruleErrors"]) == (True, [])


def test_supervisors_get_an_answer(daemon: Daemon) -> None:
    assert daemon.get("/healthz") == {"status": "ok"}
    assert daemon.get("/readyz") == {"status": "ready"}
    metrics = daemon.client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert "alertd_build_info{" in metrics.text


def test_a_reload_says_what_changed(daemon: Daemon) -> None:
    answer = daemon.client.post("/api/reload")
    assert (answer.status_code, set(answer.json())) == (
        200,
        {
            *("rules", "channels", "policies", "tokens", "atNextStart"),
            *("warnings", "warningCount"),
        },
    )


# ---- methods

RESOURCES = {
    "/api/events": "GET, HEAD, OPTIONS, POST",
    "/api/alerts": "GET, HEAD, OPTIONS, POST",
    f"/api/alerts/{NOWHERE}": "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
    "/api/history": "GET, HEAD, OPTIONS",
    "/api/reload": "OPTIONS, POST",
    "/healthz": "GET, HEAD, OPTIONS",
    "/docs": "GET, HEAD, OPTIONS",
}


@pytest.mark.parametrize(("path", "allowed"), RESOURCES.items())
def test_options_and_a_refused_method_say_what_is_allowed(
    daemon: Daemon, path: str, allowed: str
) -> None:
    options = daemon.client.options(path)
    assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
    refused = daemon.client.request("TRACE", path)
    is_problem(refused, 405)
    assert refused.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/api/events", "/api/alerts", "/api/status", "/metrics", "/openapi.json", "/docs",
             "/nowhere"],
)  # fmt: skip
def test_head_is_get_without_the_body(daemon: Daemon, path: str) -> None:
    head, get = daemon.client.head(path), daemon.client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path not in ("/api/status", "/metrics"):  # which differ from one moment to the next
        assert head.headers.get("content-length") == get.headers.get("content-length")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_long_reply_is_compressed_for_who_asks(daemon: Daemon, encoding: str) -> None:
    asked = {"Accept-Encoding": encoding}
    with daemon.client.stream("GET", "/openapi.json", headers=asked) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    inflated = gzip.decompress(raw) if encoding == "gzip" else zstandard.decompress(raw)
    assert json.loads(inflated)["info"]["title"] == "alertd"


def test_a_time_is_rfc_3339_in_utc_with_microseconds(daemon: Daemon) -> None:
    text = daemon.get("/api/status")["now"]
    assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert len(text) == len("2025-06-30T15:00:00.000000Z")
