"""Retention turns old events into rollups, and no count or sum ever changes by it."""

from __future__ import annotations

import math
import random
import shutil
from array import array
from collections import defaultdict
from itertools import count
from pathlib import Path

import msgspec
import pytest
import trio

from alertd.errors import InvalidInput
from alertd.model import EventBatch
from alertd.rules import RuleChange
from alertd.store import retention, rollup_pages, segment_draft
from alertd.store.check import check_store
from alertd.store.connection import Durability
from alertd.store.event_pages import EventQuery, SeriesQuery
from alertd.store.failures import StoreCorrupt
from alertd.store.rollup import MINUTE_US, Summary
from alertd.store.rollup_pages import Bucket, RollupQuery
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import START_US, change, record, replayed, seen_by_another
from tests.unit.store.test_event_pages import ALL_SERIES, Kept, append, means
from tests.unit.store.test_folding import Interrupted, damage, interrupt

Expected = tuple[int, int, int, float, float, float]
"""Beginning, series, number, sum, least and greatest value."""

EVER_US = 1 << 60
ROUNDS = 30
ROUND_US = 40_000_000


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_draft, "BLOCK_EVENTS", 7)
    monkeypatch.setattr(segment_draft, "BLOCK_RUNS", 3)
    monkeypatch.setattr(retention, "READ_BLOCKS", 2)
    monkeypatch.setattr(retention, "BLOCK_ROLLUPS", 5)
    monkeypatch.setattr(retention, "DELETE_BLOCKS", 2)
    monkeypatch.setattr(rollup_pages, "SLICE_BUCKETS", 7)
    monkeypatch.setattr(rollup_pages, "SLICE_PAGES", 2)
    monkeypatch.setattr(rollup_pages, "TALLY_VALUES", 3)


async def fill(store: Store, choose: random.Random) -> list[Kept]:
    """Fill a store with events over twenty minutes, some late, and changes of the rules."""
    await store.events.append([], ALL_SERIES)
    log: list[Kept] = []
    for number in range(ROUNDS):
        if number % 10 == 5:
            await store.rules.apply(change(record(version=number)))
        for size in choose.choices((1, 5, 20), k=3):
            late_us = choose.choice((0, 0, 300_000_000))
            center_us = number * ROUND_US - late_us
            body = EventBatch(
                received_us=START_US + number,
                series_ids=array("I", choose.choices(range(len(ALL_SERIES)), k=size)),
                times_us=array("q", [center_us + choose.randrange(ROUND_US) for _ in range(size)]),
                values=array("d", [choose.choice((0.1, 1e16, -3.3, 1e-9)) for _ in range(size)]),
            )
            log += await append(store, [body])
    return log


def figures(summary: Summary) -> tuple[int, float, float, float]:
    """Return what can be seen of a summary."""
    return summary.events, summary.total, summary.least, summary.greatest


def summed_up(query: RollupQuery, log: list[Kept]) -> list[Expected]:
    """Return what the buckets of ``query`` are to be, the slow way."""
    size_us = query.resolution_us
    values: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
    unbounded = EventQuery(metric_name=query.metric_name, labels=query.labels)
    for kept in log:
        start_us = kept.time_us // size_us * size_us
        begins_within = (query.from_us is None or start_us >= query.from_us) and (
            query.to_us is None or start_us < query.to_us
        )
        if begins_within and means(unbounded, kept):
            values[start_us, kept.event.series.id].append(kept.event.value)
    return [
        (*key, len(found), math.fsum(found), min(found), max(found))
        for key, found in sorted(values.items())
    ]


async def listed(store: Store, query: RollupQuery) -> list[Bucket]:
    """Return the buckets of all pages."""
    buckets: list[Bucket] = []
    goes_on: str | None = None
    for _ in range(2000):
        page = await store.rollup_pages.buckets(msgspec.structs.replace(query, cursor=goes_on))
        buckets += page.items
        goes_on = page.next_cursor
        if goes_on is None:
            return buckets
        assert len(page.items) == query.limit
    raise AssertionError("the pages never end")


async def check(store: Store, query: RollupQuery, log: list[Kept]) -> None:
    found = [
        (item.start_us, item.series.id, *figures(item.summary))
        for item in await listed(store, query)
    ]
    assert found == summed_up(query, log)


def random_query(choose: random.Random) -> RollupQuery:
    resolution_us = choose.choice((1, 2, 60)) * MINUTE_US
    from_us, to_us = choose.choice(
        ((None, None), (90_000_000, 600_000_000), (0, EVER_US), (700_000_001, None))
    )
    return RollupQuery(
        resolution_us=resolution_us,
        metric_name=choose.choice((None, "cpu")),
        labels=choose.choice(((), (("host", "a"),))),
        from_us=from_us,
        to_us=to_us,
        limit=choose.choice((1, 5, 1000)),
    )


EVERYTHING = RollupQuery(resolution_us=MINUTE_US, limit=1000)


@pytest.mark.parametrize("seed", range(4))
async def test_counts_and_sums_are_the_same_on_either_side_of_the_border(
    tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311  # repeatable
    async with open_store(tmp_path / "a.db", durability=Durability.RELAXED) as store:
        log = await fill(store, choose)
        series = await store.pages.series(SeriesQuery())
        while await store.folding.fold(choose.randrange(50, 150)):
            pass
        await check(store, EVERYTHING, log)
        rolled_up = 0
        while events := await store.retention.roll_up(EVER_US):
            rolled_up += events
            await check(store, EVERYTHING, log)
            for _ in range(3):
                await check(store, random_query(choose), log)
            assert await store.pages.series(SeriesQuery()) == series
        ((newest,),) = seen_by_another(
            store.path, "SELECT count FROM event_log WHERE kind = 'events'"
        )
        assert rolled_up == len(log) - int(str(newest))
    async with open_store(tmp_path / "a.db") as store:
        await check(store, EVERYTHING, log)
        assert await store.pages.series(SeriesQuery()) == series


async def test_only_what_is_old_goes_and_always_from_the_beginning(tmp_path: Path) -> None:
    choose = random.Random(5)  # noqa: S311  # repeatable
    async with open_store(tmp_path / "a.db", durability=Durability.RELAXED) as store:
        await fill(store, choose)
        entries = await replayed(store)
        while await store.folding.fold(60):
            pass
        before_us = ROUNDS * ROUND_US // 2
        while await store.retention.roll_up(before_us):
            pass
        left = await replayed(store)
        rules = [entry for entry in entries if isinstance(entry[1], RuleChange)]
        first = min(position for position, body in left if isinstance(body, EventBatch))
        assert first > 1
        removed = len(entries) - len(left)
        assert await store.retention.missing_behind(0) == removed
        assert await store.retention.missing_behind(first - 1) == 0
        assert await store.retention.missing_behind(entries[-1][0]) == 0
        assert left == sorted(
            [*(rule for rule in rules if rule[0] < first), *(e for e in entries if e[0] >= first)],
            key=lambda entry: entry[0],
        )
        assert all(
            max(body.times_us) < before_us
            for position, body in entries
            if isinstance(body, EventBatch) and position < first
        )
        assert await store.events.append([], []) == entries[-1][0] + 1


@pytest.mark.parametrize("before", [True, False])
async def test_a_rollup_that_stops_between_two_transactions_counts_everything_once(
    tmp_path: Path, *, before: bool
) -> None:
    original, path = tmp_path / "original.db", tmp_path / "a.db"
    async with open_store(original) as store:
        log = await fill(store, random.Random(3))  # noqa: S311  # repeatable
        while await store.folding.fold(100):
            pass
        series = await store.pages.series(SeriesQuery())
    for stop_at in count():
        shutil.copy(original, path)
        with pytest.MonkeyPatch.context() as monkeypatch:
            async with open_store(path, durability=Durability.RELAXED) as store:
                interrupt(store, monkeypatch, stop_at, before=before)
                try:
                    await store.retention.roll_up(EVER_US)
                    is_over = True
                except Interrupted:
                    is_over = False
                await check(store, EVERYTHING, log)
        async with open_store(path, durability=Durability.RELAXED) as store:
            await check(store, EVERYTHING, log)
            await store.retention.roll_up(EVER_US)
            await check(store, EVERYTHING, log)
            assert await store.pages.series(SeriesQuery()) == series
            assert seen_by_another(
                path,
                "SELECT (SELECT count(*) FROM blocks WHERE segment NOT IN "
                "(SELECT first_position FROM segments)), (SELECT count(*) FROM rollups "
                "WHERE segment NOT IN (SELECT segment FROM rolled_up))",
            ) == [(0, 0)]
        if is_over:
            break
        assert stop_at < 300, "it never comes through"
    assert stop_at > 10


async def test_rollups_go_when_their_time_has_come(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db", durability=Durability.RELAXED) as store:
        log = await fill(store, random.Random(3))  # noqa: S311  # repeatable
        series = await store.pages.series(SeriesQuery())
        while await store.folding.fold(100):
            pass
        while await store.retention.roll_up(EVER_US):
            pass
        assert await store.retention.forget_rollups(0) == 0
        await check(store, EVERYTHING, log)
        assert await store.retention.forget_rollups(ROUNDS * ROUND_US // 2) > 1
        left = await listed(store, EVERYTHING)
        assert 0 < len(left) < len(summed_up(EVERYTHING, log))
        await store.retention.forget_rollups(EVER_US)
        newest = await listed(store, EVERYTHING)
        (_, entry) = (await replayed(store))[-1]
        assert isinstance(entry, EventBatch)
        assert sum(bucket.summary.events for bucket in newest) == len(entry)
        assert seen_by_another(store.path, "SELECT count(*) FROM rollups") == [(0,)]
        assert await store.pages.series(SeriesQuery()) == series


async def test_sums_are_right_beyond_what_a_float_can_hold(tmp_path: Path) -> None:
    values = [1.7e308, 1.7e308, -1.7e308, 1e292]
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES)
        bodies = [
            EventBatch(
                received_us=START_US,
                series_ids=array("I", [0]),
                times_us=array("q", [5]),
                values=array("d", [value]),
            )
            for value in values
        ]
        await store.events.append(bodies[:3], [])
        (bucket,) = await listed(store, EVERYTHING)
        assert bucket.summary.total == 1.7e308
        await store.events.append([*bodies[:2], *bodies[3:]], [])
        (bucket,) = await listed(store, EVERYTHING)
        assert bucket.summary.total == 1.7976931348623157e308, "the greatest that there is"


@pytest.mark.parametrize("text", ["", "MA", "AAAA", "MTox"])
async def test_a_foreign_cursor_is_refused_by_name(tmp_path: Path, text: str) -> None:
    async with open_store(tmp_path / "a.db") as store:
        with pytest.raises(InvalidInput, match="cursor"):
            await store.rollup_pages.buckets(RollupQuery(resolution_us=MINUTE_US, cursor=text))


async def test_damaged_rollups_are_named(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db", durability=Durability.RELAXED) as store:
        await fill(store, random.Random(3))  # noqa: S311  # repeatable
        while await store.folding.fold(100):
            pass
        await store.retention.roll_up(EVER_US)
        await damage(store, "UPDATE rollups SET body = zeroblob(length(body)) WHERE id = 2")
        with pytest.raises(StoreCorrupt, match="rollups 2"):
            await listed(store, EVERYTHING)
        report = await trio.to_thread.run_sync(check_store, store.path)
        assert [finding.split(":")[0] for finding in report.findings] == ["rollups 2"]
