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
from tests.unit.parts import SECOND, Parts, reconciler_of, record_of, running
from tests.unit.store.test_folding import damage

DAY_US = 86_400_000_000
NOW_US = 1000 * DAY_US
EVENTS_PER_DAY = 20_000
HOUR_S = 3600


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
        needed_after_us=lambda: NOW_US - 30 * DAY_US,
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


async def retain(parts: Parts, *, max_age_s: int) -> None:
    """Roll up what nothing needs where events are refused at an age of ``max_age_s``."""
    while await parts.store.folding.fold(1):
        pass
    retention = Retention(
        parts.store.retention,
        parts.store.events,
        parts.store.space,
        parts.clock.now_us,
        Metrics(),
        needed_after_us=lambda: parts.pipeline.evaluator.needed_after_us(max_age_s * SECOND),
        rollups_us=365 * DAY_US,
    )
    await retention.retain()


async def append(parts: Parts, *offsets_s: float) -> None:
    """Append events one by one, each for a segment of its own, and have them judged."""
    for offset_s in offsets_s:
        await parts.pipeline.append(parts.batch(offset_s))
    await parts.until_judged()


async def ages_s(parts: Parts) -> list[int]:
    """Return how old the events were, that are not rolled up, when they came."""
    now_us = parts.clock.now_us()
    read = parts.store.events.read([0], 0, now_us, through=parts.pipeline.applied)
    return sorted(
        [
            (found.batch.received_us - time_us) // SECOND
            async for found in read
            for time_us in found.batch.times_us
        ]
    )


async def values_told(parts: Parts) -> list[float | None]:
    """Reconcile; return the value of each incident."""
    await reconciler_of(parts).reconcile()
    return [item.incident.value for item in await parts.history()]


async def test_an_event_as_old_as_it_may_be_is_judged_with_its_neighbours(tmp_path: Path) -> None:
    """Those are older than events may be, and stay for as long as a window reaches back."""
    async with running(tmp_path) as parts:
        others = record_of("others", metric_name="n", window_duration_secs=1.0)
        await parts.pipeline.change_rules(put=(record_of(), others))
        await append(parts, -HOUR_S - 60, -HOUR_S - 8, -HOUR_S - 4, -1)
        await retain(parts, max_age_s=HOUR_S)
        assert await ages_s(parts) == [1, HOUR_S + 4, HOUR_S + 8]
        await append(parts, -HOUR_S + 0.5)
        assert await values_told(parts) == [3]


async def test_what_waits_for_the_reconciler_keeps_its_neighbours(tmp_path: Path) -> None:
    """However long it waits: the process may have been down meanwhile."""
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        await append(parts, -HOUR_S - 60, -HOUR_S - 8, -HOUR_S - 4, -1, -HOUR_S, -1)
        await retain(parts, max_age_s=20)
        assert await ages_s(parts) == [1, 1, HOUR_S, HOUR_S + 4, HOUR_S + 8]
        assert await values_told(parts) == [3]
        await retain(parts, max_age_s=20)
        assert await ages_s(parts) == [1, 1, HOUR_S]  # it stands behind one that is new
