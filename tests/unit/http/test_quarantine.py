"""``GET /api/events/quarantine``, and what gets there."""

from __future__ import annotations

import json

import pytest

from alertd.clock import format_us
from alertd.errors import StoreUnavailable
from alertd.model import US_PER_S, RefusalReason
from tests.unit.http.fakes import Json, Site


async def listed(site: Site, query: str = "") -> Json:
    await site.quarantine.flush()
    answer = await site.send("GET", f"/api/events/quarantine{query}")
    assert answer.status == 200
    return answer.body["items"]


async def test_every_refused_event_is_kept_with_its_place_reason_and_content() -> None:
    site = Site()
    future = format_us(site.now_us() + 3600 * US_PER_S)
    bad = [
        {"metricName": "m", "value": "x", "valu": 1},
        {"metricName": "m", "timestamp": future, "labels": {"b": "2", "a": "1"}, "id": "i"},
        {"metricName": "m", "timestamp": "2001-01-01T00:00:00Z"},
        "not even an object",
    ]
    receipt = await site.push([{"metricName": "m"}, *bad])
    assert (receipt.status, receipt.body["rejected"]) == (202, 4)
    items = await listed(site)
    assert [(item["path"], item["reason"]) for item in items] == [
        ("/3/timestamp", "too_old"),
        ("/2/timestamp", "future"),
        ("/4", "malformed"),
        ("/1/valu", "malformed"),
    ]
    assert items[3]["message"].endswith("did you mean 'value'? (and 1 more)")
    assert json.loads(items[3]["event"]) == bad[0]
    assert json.loads(items[2]["event"]) == bad[3]
    assert json.loads(items[1]["event"]) == {
        "metricName": "m", "timestamp": future, "value": 1.0, "labels": {"a": "1", "b": "2"},
        "id": "i",
    }  # fmt: skip
    assert all(item["receivedAt"].endswith("Z") for item in items)


async def test_lines_and_single_events_are_kept_too() -> None:
    site = Site()
    await site.push({"metricName": "m", "value": None})
    lines = b'{"metricName": "m"}\nm 1\n'
    await site.send("POST", "/api/events", lines, "application/x-ndjson")
    line, single = await listed(site)
    assert (single["path"], single["event"]) == ("/value", '{"metricName": "m", "value": null}')
    assert (line["path"], line["event"]) == ("/1", '"m 1"')


async def test_an_atomic_request_that_is_refused_leaves_its_bad_events() -> None:
    site = Site()
    bad = {"metricName": "m", "value": "x"}
    assert (await site.push([{"metricName": "m"}, bad], "?atomic=true")).status == 422
    assert [item["path"] for item in await listed(site)] == ["/1/value"]


async def test_a_request_that_is_to_be_repeated_leaves_nothing_yet() -> None:
    site = Site()
    events = [{"metricName": "m"}, {"metricName": "m", "value": "x"}]
    site.log.failure = StoreUnavailable("down")
    assert (await site.push(events)).status == 503
    site.log.failure = None
    assert (await site.push(events)).status == 202
    assert len(await listed(site)) == 1


async def test_a_series_beyond_the_limit_is_refused_by_that_reason() -> None:
    site = Site()
    site.registry._max_series = 1
    events = [{"metricName": "m"}, {"metricName": "n"}]
    assert (await site.push(events)).body["rejected"] == 1
    assert [item["reason"] for item in await listed(site)] == ["series_limit"]


async def test_the_parameters_reach_the_query() -> None:
    site = Site()
    await listed(site, "?reason=too_old&limit=7&cursor=abc")
    (query,) = site.quarantined.queries
    assert (query.reason, query.limit, query.cursor) == (RefusalReason.TOO_OLD, 7, "abc")


@pytest.mark.parametrize("query", ["?reason=bad", "?limit=0", "?limit=1001", "?from=1"])
async def test_wrong_parameters_are_400(query: str) -> None:
    answer = await Site().send("GET", f"/api/events/quarantine{query}")
    assert answer.status == 400
    assert len(answer.errors) == 1
