"""Reading events back: what a filter over the whole log would give, and nothing else."""

from __future__ import annotations

import random
from array import array
from contextlib import aclosing
from pathlib import Path

import apsw
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from alertd.store import event_reads
from alertd.store.event_reads import SEARCHED_SERIES, Wanted
from alertd.store.failures import StoreCorrupt
from alertd.store.store import Store, open_store
from tests.unit.store.log_samples import (
    SERIES_IDS,
    collected,
    events_at,
    filtered,
    random_log,
)
from tests.unit.store.store_samples import START_US, batch, series


@pytest.mark.parametrize(("found_entries", "part_bytes"), [(1 << 15, 1 << 20), (5, 300), (1, 1)])
async def test_a_read_is_a_filter_of_the_log_however_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found_entries: int, part_bytes: int
) -> None:
    monkeypatch.setattr(event_reads, "FOUND_ENTRIES", found_entries)
    monkeypatch.setattr(event_reads, "PART_BYTES", part_bytes)
    choose = random.Random(11)  # noqa: S311 - not a secret
    async with open_store(tmp_path / "alertd.db") as store:
        log = await random_log(store, choose)
        for _ in range(60):
            wanted = choose.sample(SERIES_IDS, choose.choice((0, 1, 2, 8, 9, len(SERIES_IDS))))
            from_us = choose.randrange(-20, 420)
            until_us = from_us + choose.choice((-1, 0, 1, 5, 50, 500))
            after, through = choose.choice(((0, None), (0, 30), (17, None), (17, 18), (30, 17)))
            expected = filtered(log, wanted, from_us, until_us, after, through)
            read = store.events.read(wanted, from_us, until_us, after=after, through=through)
            assert await collected(read) == expected


@given(
    columns=st.lists(st.tuples(st.sampled_from(SERIES_IDS), st.integers(-3, 3)), max_size=40),
    wanted=st.sets(st.sampled_from(SERIES_IDS)),
    from_us=st.integers(-4, 4),
    until_us=st.integers(-4, 4),
)
def test_searching_for_a_few_series_and_looking_up_many_find_the_same(
    columns: list[tuple[int, int]], wanted: set[int], from_us: int, until_us: int
) -> None:
    column_of_ids = array("I", [number for number, _ in columns])
    times_us = array("q", [time_us for _, time_us in columns])
    expected = [
        place
        for place, (number, time_us) in enumerate(columns)
        if number in wanted and from_us < time_us <= until_us
    ]
    assert Wanted.of(wanted, from_us, until_us).places(column_of_ids, times_us) == expected
    absent = range(1000, 1000 + SEARCHED_SERIES + 1)  # so many that they are looked up
    padded = Wanted.of(wanted.union(absent), from_us, until_us)
    assert padded.places(column_of_ids, times_us) == expected


async def test_the_range_is_open_on_the_left_and_closed_on_the_right(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([time_us]) for time_us in (9, 10, 11, 20, 21)], [])
        await store.events.append([events_at([9, 10, 11, 20, 21])], [])
        found = await collected(store.events.read({0}, 10, 20))
        assert [(position, list(body.times_us)) for position, body in found] == [
            (3, [11]),
            (4, [20]),
            (6, [11, 20]),
        ]
        assert await collected(store.events.read({0}, 10, 10)) == []
        assert await collected(store.events.read({0}, 20, 10)) == []


async def test_events_come_in_the_order_of_the_log_not_of_time(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([30, 10, 20]), events_at([5]), events_at([25, 1])], [])
        found = await collected(store.events.read({0}, 0, 100))
        assert [time_us for _, body in found for time_us in body.times_us] == [30, 10, 20, 5, 25, 1]


async def test_what_is_found_keeps_its_receipt_and_its_ids(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        body = batch(3, ids=("a", None, "ü"))
        await store.events.append([body], series(3))
        assert await collected(store.events.read({0, 1, 2}, 0, START_US)) == [(1, body)]
        assert await collected(store.events.read({2}, 0, START_US)) == [(1, body.select([2]))]


async def test_a_read_ends_where_the_log_ended_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reads, "FOUND_ENTRIES", 1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([1]), events_at([2])], [])
        positions = []
        async for position, _ in store.events.read({0}, 0, 100):
            positions.append(position)
            assert len(positions) < 5, "the read follows its own appends"
            await store.events.append([events_at([3])], [])
        assert positions == [1, 2]


async def test_the_store_is_free_between_two_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reads, "PART_BYTES", 1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([1])] * 3, [])
        async for _ in store.events.read({0}, 0, 100):
            # A reader that was still open would make this fail with BusyError.
            other = apsw.Connection(str(tmp_path / "alertd.db"))
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            other.close()


async def test_a_read_can_be_cancelled_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reads, "PART_BYTES", 1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([1])] * 5, [])
        for kept in range(6):
            positions = []
            with trio.CancelScope() as scope:
                if kept == 0:
                    scope.cancel()
                async with aclosing(store.events.read({0}, 0, 100)) as read:
                    async for position, _ in read:
                        positions.append(position)
                        if len(positions) == kept:
                            scope.cancel()
            assert scope.cancelled_caught
            assert positions == list(range(1, kept + 1))
        assert len(await collected(store.events.read({0}, 0, 100))) == 5


async def damage(store: Store, sql: str) -> None:
    await store.writer.run("damage", lambda connection: connection.execute(sql).fetchall())


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event_log SET body = substr(body, 1, 40) WHERE position = 3",
        "UPDATE event_log SET body = zeroblob(length(body)) WHERE position = 3",
    ],
)
async def test_a_damaged_entry_is_named_and_one_out_of_range_is_not_touched(
    tmp_path: Path, sql: str
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([10 * number] * 3) for number in range(5)], [])
        await damage(store, sql)
        for series_id in (0, 99):
            with pytest.raises(StoreCorrupt, match=r"event_log entry 3: .*sqlite3"):
                await collected(store.events.read({series_id}, 0, 20))
        found = await collected(store.events.read({0}, 20, 40))
        assert [position for position, _ in found] == [4, 5]
        found = await collected(store.events.read({0}, 0, 40, through=2))
        assert [position for position, _ in found] == [2]


async def test_an_entry_that_retention_removes_meanwhile_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reads, "PART_BYTES", 1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at([1])] * 4, [])
        positions: list[int] = []
        async for position, _ in store.events.read({0}, 0, 100):
            if not positions:
                await damage(store, "DELETE FROM event_log WHERE position <= 3")
            positions.append(position)
        assert positions == [1, 4]
