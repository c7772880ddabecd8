from __future__ import annotations

import json

import pytest

from alertd.clock import format_us
from alertd.errors import Overloaded, StoreUnavailable
from alertd.model import US_PER_S
from tests.unit.http.fakes import MAX_BYTES, MAX_EVENTS, Site


def _events(count: int) -> list[dict[str, object]]:
    return [{"metricName": "m", "value": n, "labels": {"host": "a"}} for n in range(count)]


async def test_events_are_accepted_as_object_array_and_lines() -> None:
    site = Site()
    one = await site.push({"metricName": "m"})
    many = await site.push(_events(3))
    body = b"\n".join(json.dumps(event).encode() for event in _events(4))
    lines = await site.send("POST", "/api/events", body, "application/x-ndjson; charset=utf-8")
    assert [answer.status for answer in (one, many, lines)] == [202, 202, 202]
    assert [len(batch) for batch in site.log.batches] == [1, 3, 4]
    assert lines.body == {
        "accepted": 4,
        "duplicates": 0,
        "rejected": 0,
        "errors": [],
        "errorsTruncated": False,
    }


async def test_one_bad_event_among_a_thousand_is_reported_and_the_others_are_stored() -> None:
    site = Site()
    events = _events(1000)
    events[17]["value"] = "many"
    answer = await site.push(events)
    assert answer.status == 202
    assert (answer.body["accepted"], answer.body["rejected"]) == (999, 1)
    assert answer.errors == {"/17/value": "must be a number, not a string"}
    assert [len(batch) for batch in site.log.batches] == [999]


async def test_a_bad_time_is_reported_at_its_place_beside_other_mistakes() -> None:
    site = Site()
    events = _events(5)
    events[1]["valu"] = 1
    events[3]["timestamp"] = format_us(site.now_us() + 3600 * US_PER_S)
    answer = await site.push(events)
    assert answer.status == 202
    assert set(answer.errors) == {"/1/valu", "/3/timestamp"}
    assert "ahead of this server's clock" in answer.errors["/3/timestamp"]
    text = site.metrics.render().decode()
    assert 'alertd_events_rejected_total{reason="malformed"} 1.0' in text
    assert 'alertd_events_rejected_total{reason="future"} 1.0' in text


async def test_all_rejected_is_422_and_lists_the_first_hundred() -> None:
    site = Site()
    answer = await site.push([{"metricName": "m", "value": "x"}] * 150)
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["type"] == "about:blank"
    assert answer.body["status"] == 422
    assert len(answer.body["errors"]) == 100
    assert answer.body["errorsTruncated"] is True
    assert not site.log.batches


async def test_atomic_stores_all_or_nothing() -> None:
    site = Site()
    bad = [*_events(3), {"metricName": "m", "value": "x"}]
    refused = await site.push(bad, "?atomic=true")
    assert refused.status == 422
    assert set(refused.errors) == {"/3/value"}
    assert not site.log.batches
    assert (await site.push(_events(3), "?atomic=true")).status == 202
    assert (await site.push(bad, "?atomic=false")).status == 202


async def test_all_duplicates_is_202() -> None:
    site = Site()
    events = [{"metricName": "m", "id": "1"}, {"metricName": "m", "id": "2"}]
    assert (await site.push(events)).body["accepted"] == 2
    again = await site.push(events)
    assert again.status == 202
    assert (again.body["accepted"], again.body["duplicates"]) == (0, 2)


async def test_an_empty_array_is_nothing_to_do() -> None:
    site = Site()
    answer = await site.push([])
    assert (answer.status, answer.body["accepted"]) == (202, 0)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "empty"),
        (b"junk", 400, "must be an event"),
        (b"[" * 100_000, 400, "nested too deeply"),
        ('[{"metricName": "m"}]'.encode("utf-16"), 400, "UTF-8"),
        (b'{"metricName": "m", "value": 1e999}', 422, "/value must be a finite number"),
        (b'{"metricName": "m", "timestamp": 1751295600123}', 422, "looks like milliseconds"),
        (b'{"metricName": "m", "timestamp": "2001-01-01T00:00:00Z"}', 422, "older than 30 days"),
        (b'{"metricName": "m", "timestamp": "9999-12-31T23:59:59Z"}', 422, "ahead of"),
        (b" " * (MAX_BYTES + 1), 413, "server.max_body_bytes"),
        (
            b"[" + b",".join([b'{"metricName":"m"}'] * (MAX_EVENTS + 1)) + b"]",
            413,
            "server.max_events_per_request",
        ),
    ],
)
async def test_bad_input_is_a_problem_and_stores_nothing(
    body: bytes, status: int, says: str
) -> None:
    site = Site()
    answer = await site.push(body)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert says in answer.body["detail"]
    assert not site.log.batches


@pytest.mark.parametrize("given", [None, "application/x-www-form-urlencoded", "text/plain"])
async def test_another_content_type_is_refused_with_the_remedy(given: str | None) -> None:
    answer = await Site().send("POST", "/api/events", b"[]", given)
    assert answer.status == 415
    assert "-H 'Content-Type: application/json'" in answer.body["detail"]
    assert "application/x-ndjson" in answer.body["detail"]


async def test_unknown_and_wrong_parameters_are_named() -> None:
    site = Site()
    misspelt = await site.push([], "?atomc=true")
    assert misspelt.status == 400
    assert misspelt.errors == {"/atomc": "is an unknown parameter; did you mean 'atomic'?"}
    assert set((await site.push([], "?atomic=yes")).errors) == {"/atomic"}
    assert set((await site.push([], "?atomic=true&atomic=false")).errors) == {"/atomic"}


async def test_a_full_queue_is_429_and_a_store_that_cannot_write_503() -> None:
    site = Site()
    site.log.failure = Overloaded("the queue is full", retry_after_s=3)
    full = await site.push(_events(1))
    assert (full.status, full.headers["Retry-After"]) == (429, "3")
    site.log.failure = StoreUnavailable("the disk is full")
    down = await site.push(_events(1))
    assert (down.status, down.body["detail"]) == (503, "the disk is full")
    assert int(down.headers["Retry-After"]) > 0


async def test_an_unexpected_error_is_a_500_with_an_id_and_no_more() -> None:
    site = Site()
    site.log.failure = ZeroDivisionError("secret detail")
    answer = await site.push(_events(1))
    assert answer.status == 500
    assert "the log names it" in answer.body["detail"]
    assert "secret" not in json.dumps(answer.body)
    site.log.failure = None
    assert (await site.push(_events(1))).status == 202


async def test_the_method_must_fit() -> None:
    answer = await Site().send("DELETE", "/api/events")
    assert answer.status == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


async def test_requests_are_counted_by_route_and_never_by_path() -> None:
    site = Site()
    await site.push(_events(1))
    await site.send("GET", "/no/such/thing")
    await site.send("BREW", "/api/events")
    await site.send("GET", "/api/alerts/no-such-rule")
    text = site.metrics.render().decode()
    assert 'requests_total{code="202",method="POST",route="/api/events"} 1.0' in text
    assert 'requests_total{code="404",method="GET",route="unknown"} 1.0' in text
    assert 'requests_total{code="405",method="other",route="unknown"} 1.0' in text
    assert 'requests_total{code="404",method="GET",route="/api/alerts/<rule_id>"} 1.0' in text
    assert "no-such-rule" not in text
