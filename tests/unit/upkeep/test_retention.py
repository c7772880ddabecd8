"""Old events are rolled up, old rollups go, the file becomes smaller: by age, in small steps."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from alertd.metrics import Metrics
from alertd.model import EventBatch, Series
from alertd.store import space
from alertd.store.failures import StoreCorrupt
from alertd.store.rollup import MINUTE_US
from alertd.store.rollup_pages import RollupQuery
from alertd.store.store import Store, open_store
from alertd.upkeep.retention import Retention
from tests.unit.store.test_folding import damage

DAY_US = 86_400_000_000
NOW_US = 1000 * DAY_US
EVENTS_PER_DAY = 20_000


async def fill(store: Store, days: range) -> None:
    """Store events of so many days ago, a segment for each day."""
    for ago in days:
        new = () if (await store.events.end()).position else [Series(0, "m", ())]
        first_us = NOW_US - ago * DAY_US
        body = EventBatch(
            received_us=first_us,
            series_ids=array("I", [0] * EVENTS_PER_DAY),
            times_us=array("q", range(first_us, first_us + EVENTS_PER_DAY)),
            values=array("d", [place * 0.37 % 1 for place in range(EVENTS_PER_DAY)]),
        )
        await store.events.append([body], new)
        await store.folding.fold(EVENTS_PER_DAY)


def retention_of(store: Store, metrics: Metrics) -> Retention:
    return Retention(
        store.retention,
        store.events,
        store.space,
        lambda: NOW_US,
        metrics,
        events_us=30 * DAY_US,
        rollups_us=365 * DAY_US,
    )


async def days_listed(store: Store) -> list[int]:
    query = RollupQuery(resolution_us=MINUTE_US, limit=1000)
    page = await store.rollup_pages.buckets(query)
    assert all(bucket.summary.events == EVENTS_PER_DAY for bucket in page.items)
    return [(NOW_US - bucket.start_us) // DAY_US for bucket in page.items]


async def test_each_form_of_events_goes_at_its_age(tmp_path: Path) -> None:
    metrics = Metrics()
    async with open_store(tmp_path / "a.db") as store:
        ages = [400, 300, 40, 31, 29, 1]
        for age in ages:
            await fill(store, range(age, age + 1))
        retention = retention_of(store, metrics)
        await retention.look()
        assert retention.kept.oldest_event_us == NOW_US - 400 * DAY_US
        await retention.retain()
        await retention.look()
        assert retention.kept.oldest_event_us == NOW_US - 29 * DAY_US
        assert await days_listed(store) == [300, 40, 31, 29, 1]
        assert metrics.events_rolled_up._value.get() == 4 * EVENTS_PER_DAY
        await retention.retain()
        assert await days_listed(store) == [300, 40, 31, 29, 1]


async def test_what_retention_removes_makes_the_file_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "KEPT_PAGES", 8)
    async with open_store(tmp_path / "a.db") as store:
        await fill(store, range(40, 28, -1))
        retention = retention_of(store, Metrics())
        before = await store.space.usage()
        await retention.retain()
        after = await store.space.usage()
        unfolded_bytes = 20 * EVENTS_PER_DAY
        assert after.size_bytes - unfolded_bytes < (before.size_bytes - unfolded_bytes) / 2
        assert after.free_bytes <= after.size_bytes // 5
    assert store.path.stat().st_size == after.size_bytes


async def test_damage_stops_retention_and_nothing_else(tmp_path: Path) -> None:
    metrics = Metrics()
    async with open_store(tmp_path / "a.db") as store:
        await fill(store, range(40, 36, -1))
        await damage(store, "UPDATE blocks SET body = zeroblob(length(body)) WHERE id = 1")
        retention = retention_of(store, metrics)
        with pytest.raises(StoreCorrupt, match="block 1 "):
            await retention.retain()
        await retention.run()
        assert metrics.retention_stopped._value.get() == 1
