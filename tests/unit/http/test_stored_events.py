"""``GET /api/events`` and ``GET /api/series``: parameters, and what an item looks like."""

from __future__ import annotations

import pytest

from alertd.errors import InvalidParameters, StoreUnavailable
from alertd.model import Series
from alertd.store.cursor import NOT_A_CURSOR
from alertd.store.event_pages import EventQuery, SeriesQuery, SeriesTotals, StoredEvent
from alertd.store.history import Page
from alertd.store.rollup import Summary
from alertd.store.rollup_pages import Bucket, RollupQuery
from alertd.store.series_table import Totals
from tests.unit.http.fakes import Site

T = 1_751_295_600_000_000
SERIES = Series(3, "error_count", (("service", "payment"),))


async def test_an_event_is_shown_as_it_was_accepted() -> None:
    site = Site()
    site.stored.event_page = Page(
        (
            StoredEvent(series=SERIES, time_us=T, value=1.5, id="e-1", received_us=T + 7),
            StoredEvent(series=SERIES, time_us=T + 1, value=2.0, id=None, received_us=T + 7),
        ),
        "next",
    )
    answer = await site.send("GET", "/api/events?metricName=error_count")
    assert answer.status == 200
    assert answer.body == {
        "items": [
            {
                "metricName": "error_count",
                "timestamp": "2025-06-30T15:00:00.000000Z",
                "value": 1.5,
                "labels": {"service": "payment"},
                "id": "e-1",
                "receivedAt": "2025-06-30T15:00:00.000007Z",
            },
            {
                "metricName": "error_count",
                "timestamp": "2025-06-30T15:00:00.000001Z",
                "value": 2.0,
                "labels": {"service": "payment"},
                "id": None,
                "receivedAt": "2025-06-30T15:00:00.000007Z",
            },
        ],
        "nextCursor": "next",
    }


async def test_a_series_is_shown_with_its_totals() -> None:
    site = Site()
    site.stored.series_page = Page(
        (
            SeriesTotals(SERIES, Totals(12, T, T + 1)),
            SeriesTotals(Series(4, "m", ()), Totals()),
        ),
        None,
    )
    answer = await site.send("GET", "/api/series")
    assert answer.body == {
        "items": [
            {
                "metricName": "error_count",
                "labels": {"service": "payment"},
                "firstSeen": "2025-06-30T15:00:00.000000Z",
                "lastSeen": "2025-06-30T15:00:00.000001Z",
                "count": 12,
            },
            {"metricName": "m", "labels": {}, "firstSeen": None, "lastSeen": None, "count": 0},
        ],
        "nextCursor": None,
    }


async def test_parameters_reach_the_store() -> None:
    site = Site()
    labels = "labels.service=payment&labels.a.b="
    query = (
        f"metricName=m&from=2025-06-30T17:00:00%2B02:00&to=1751295601&limit=7&cursor=abc&{labels}"
    )
    assert (await site.send("GET", f"/api/events?{query}")).status == 200
    assert (
        await site.send("GET", f"/api/series?metricName=m&limit=2&cursor=x&{labels}")
    ).status == 200
    wanted = (("service", "payment"), ("a.b", ""))
    assert site.stored.queries == [
        EventQuery(
            metric_name="m", labels=wanted, from_us=T, to_us=T + 1_000_000, limit=7, cursor="abc"
        ),
        SeriesQuery(metric_name="m", labels=wanted, limit=2, cursor="x"),
    ]


async def test_events_are_summed_up_by_resolution() -> None:
    site = Site()
    site.stored.bucket_page = Page(
        (Bucket(series=SERIES, start_us=T, summary=Summary(3, 0.3, 1e-20, -1.0, 2.0)),), None
    )
    answer = await site.send("GET", "/api/events?metricName=m&resolution=120&from=0&limit=5")
    assert answer.body == {
        "items": [
            {
                "metricName": "error_count",
                "timestamp": "2025-06-30T15:00:00.000000Z",
                "labels": {"service": "payment"},
                "count": 3,
                "sum": 0.3,
                "min": -1.0,
                "max": 2.0,
            }
        ],
        "nextCursor": None,
    }
    assert site.stored.queries == [
        RollupQuery(metric_name="m", from_us=0, limit=5, resolution_us=120_000_000)
    ]


async def test_without_parameters_everything_is_listed() -> None:
    site = Site()
    assert (await site.send("GET", "/api/events")).body == {"items": [], "nextCursor": None}
    assert site.stored.queries == [EventQuery()]


@pytest.mark.parametrize(
    ("query", "path", "message"),
    [
        ("metricname=m", "/metricname", "did you mean 'metricName'?"),
        ("label.service=x", "/label.service", "did you mean 'labels.service'?"),
        ("service=x", "/service", "labels.NAME"),
        ("labels.=x", "/labels.", "write labels.NAME=VALUE"),
        ("metricName=a&metricName=b", "/metricName", "more than once"),
        ("from=noon", "/from", "RFC 3339"),
        ("to=1751295600123", "/to", "milliseconds"),
        ("from=2&to=1", "/to", "not be before"),
        ("limit=1001", "/limit", "from 1 to 1000"),
        ("resolution=90", "/resolution", "a multiple of 60"),
        ("resolution=0", "/resolution", "a multiple of 60"),
        ("resolution=1h", "/resolution", "a multiple of 60"),
        ("resolution=60000000", "/resolution", "at most 31622400"),
        ("cursor=a&cursor=b", "/cursor", "more than once"),
        ("labels.a=x&labels.b=y&labels.a=z", "/labels.a", "more than once"),
    ],
)
async def test_a_wrong_parameter_is_named(query: str, path: str, message: str) -> None:
    site = Site()
    answer = await site.send("GET", f"/api/events?{query}")
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert message in answer.errors[path]
    assert not site.stored.queries


async def test_series_have_no_time_range() -> None:
    answer = await Site().send("GET", "/api/series?from=1")
    assert (answer.status, set(answer.errors)) == (400, {"/from"})


async def test_every_mistake_is_reported_at_once() -> None:
    answer = await Site().send("GET", "/api/events?limit=x&from=y&nonsense=z")
    assert set(answer.errors) == {"/limit", "/from", "/nonsense"}


@pytest.mark.parametrize("path", ["/api/events", "/api/series"])
async def test_a_foreign_cursor_and_a_store_that_cannot_answer_are_problems(path: str) -> None:
    site = Site()
    site.stored.failure = InvalidParameters([NOT_A_CURSOR])
    answer = await site.send("GET", f"{path}?cursor=x")
    assert (answer.status, set(answer.errors)) == (400, {"/cursor"})
    site.stored.failure = StoreUnavailable("cannot read")
    answer = await site.send("GET", path)
    assert (answer.status, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize("path", ["/api/events", "/api/series"])
async def test_head_answers_like_get_without_a_body(path: str) -> None:
    site = Site()
    answer = await site.send("HEAD", path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert (await site.send("DELETE", path)).status == 405
