"""The way of a refused event into the store: bounded, beside the way of good input."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest

from alertd.metrics import Metrics
from alertd.model import RefusalReason, Refused
from alertd.pipeline.quarantine import MAX_EVENTS_PER_WRITE, MAX_EXCERPT_BYTES, Quarantine, excerpt
from alertd.store.quarantine import QuarantineQuery
from alertd.store.store import open_store
from alertd.upkeep.housekeeping import Housekeeper

NOW_US = 1_750_000_000_000_000


def refused(count: int) -> list[Refused]:
    return [
        Refused(RefusalReason.MALFORMED, f"/{n}/value", "must be a number", {"value": str(n)})
        for n in range(count)
    ]


async def test_what_is_put_is_counted_at_once_and_written_by_a_flush(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        metrics = Metrics()
        quarantine = Quarantine(store.quarantine, metrics)
        quarantine.put(refused(3), NOW_US)
        quarantine.put([Refused(RefusalReason.FUTURE, "/timestamp", "ahead", {})], NOW_US + 1)
        assert metrics.events_rejected.labels("malformed")._value.get() == 3
        assert metrics.events_rejected.labels("future")._value.get() == 1
        assert (await store.quarantine.page(QuarantineQuery())).items == ()
        await quarantine.flush()
        await quarantine.flush()
        items = (await store.quarantine.page(QuarantineQuery())).items
        assert [item.path for item in items] == ["/timestamp", "/2/value", "/1/value", "/0/value"]
        assert [item.received_us - NOW_US for item in items] == [1, 0, 0, 0]
        assert json.loads(items[1].event) == {"value": "2"}
        assert metrics.quarantine_events._value.get() == 4
        assert metrics.events_quarantined._value.get() == 4


async def test_what_is_beyond_the_rate_is_counted_only(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        metrics = Metrics()
        quarantine = Quarantine(store.quarantine, metrics)
        quarantine.put(refused(MAX_EVENTS_PER_WRITE - 10), NOW_US)
        quarantine.put(refused(25), NOW_US)
        quarantine.put(refused(5), NOW_US)
        assert metrics.quarantine_dropped._value.get() == 20
        await quarantine.flush()
        assert await store.quarantine.count() == MAX_EVENTS_PER_WRITE
        quarantine.put(refused(5), NOW_US)
        await quarantine.flush()
        assert await store.quarantine.count() == MAX_EVENTS_PER_WRITE + 5
        assert metrics.quarantine_dropped._value.get() == 20
        total = MAX_EVENTS_PER_WRITE - 10 + 25 + 5 + 5
        assert metrics.events_rejected.labels("malformed")._value.get() == total


def _limit_pages(connection: apsw.Connection, pages: int) -> None:
    connection.pragma("max_page_count", pages)


async def test_a_store_that_is_full_loses_them_with_a_count(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        metrics = Metrics()
        quarantine = Quarantine(store.quarantine, metrics)
        await store.writer.run("fill", lambda c: _limit_pages(c, c.pragma("page_count")))
        quarantine.put(refused(500), NOW_US)
        await quarantine.flush()
        assert metrics.quarantine_dropped._value.get() == 500
        await store.writer.run("free", lambda c: _limit_pages(c, 1 << 30))
        quarantine.put(refused(1), NOW_US)
        await quarantine.flush()
        assert metrics.quarantine_events._value.get() == 1


async def test_housekeeping_forgets_what_is_older_than_the_retention(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        metrics = Metrics()
        quarantine = Quarantine(store.quarantine, metrics)
        quarantine.put(refused(700), NOW_US)
        quarantine.put(refused(2), NOW_US + 1)
        await quarantine.flush()
        housekeeper = Housekeeper(
            store.requests,
            store.quarantine,
            store.incidents,
            lambda: NOW_US + 1000,
            metrics,
            request_horizon_us=1000,
            max_requests=10,
            quarantine_retention_us=1000,
            history_until_us=lambda: NOW_US,
        )
        await housekeeper.prune()
        assert metrics.quarantine_events._value.get() == await store.quarantine.count() == 2
        assert metrics.request_keys_forgotten._value.get() == 0


@pytest.mark.parametrize(
    ("event", "shown"),
    [
        ({"value": "ä😀"}, '{"value": "ä😀"}'),
        ({"value": "\udfff"}, '{"value": "\\udfff"}'),
        ({"value": float("inf")}, '{"value": Infinity}'),
        ("no json", '"no json"'),
        (None, "null"),
    ],
)
def test_an_excerpt_is_the_event_as_json(event: object, shown: str) -> None:
    assert excerpt(event) == shown


@pytest.mark.parametrize("event", [{"value": "é" * 5000}, "é" * 5000, ["é"] * 5000, "é" * 1024])
def test_a_long_excerpt_is_cut_at_a_character(event: object) -> None:
    shown = excerpt(event)
    assert MAX_EXCERPT_BYTES - 4 <= len(shown.encode()) <= MAX_EXCERPT_BYTES
    assert shown.endswith("…")
    assert excerpt(event).startswith(json.dumps(event, ensure_ascii=False)[:1000])


def test_an_excerpt_of_the_longest_whole_event_is_not_cut() -> None:
    event = "x" * (MAX_EXCERPT_BYTES - 2)
    assert excerpt(event) == f'"{event}"'


def test_a_deep_event_does_no_harm() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert excerpt(nested) == "…"
