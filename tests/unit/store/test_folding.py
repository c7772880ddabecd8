"""Folding changes the form of what is stored, never the content."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import apsw
import pytest
import trio

from alertd.errors import StoreUnavailable
from alertd.model import EventBatch
from alertd.rules import RuleChange
from alertd.store import event_log, event_reads, folding, segment_draft
from alertd.store.connection import Durability
from alertd.store.failures import StoreCorrupt
from alertd.store.store import Store, open_store
from tests.unit.store.log_samples import (
    SERIES_IDS,
    collected,
    events_at,
    filtered,
    random_log,
)
from tests.unit.store.store_samples import (
    START_US,
    batch,
    change,
    record,
    replayed,
    seen_by_another,
    series,
)

Replayed = list[tuple[int, EventBatch | RuleChange]]
ALL_TIMES = (-(1 << 60), 1 << 60)
EVERYTHING = 1 << 30


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_draft, "BLOCK_EVENTS", 7)
    monkeypatch.setattr(segment_draft, "BLOCK_RUNS", 3)
    monkeypatch.setattr(folding, "READ_BYTES", 300)
    monkeypatch.setattr(folding, "WRITE_BYTES", 500)
    monkeypatch.setattr(folding, "COUNT_SERIES", 4)
    monkeypatch.setattr(folding, "DELETE_ENTRIES", 5)
    monkeypatch.setattr(folding, "DELETE_BYTES", 500)
    monkeypatch.setattr(folding, "DELETE_BLOCKS", 2)


async def read_all(store: Store) -> list[tuple[int, EventBatch]]:
    return [(position, body) async for position, body in store.events.read(SERIES_IDS, *ALL_TIMES)]


async def check_totals(store: Store, entries: Replayed) -> None:
    """Folded events are in the totals of their series, and only those."""
    ((folded,),) = seen_by_another(
        store.path, "SELECT value FROM meta WHERE key = 'folded_position'"
    )
    assert isinstance(folded, int)
    times: dict[int, list[int]] = {}
    for position, body in entries:
        if isinstance(body, EventBatch) and position <= folded:
            for series_id, time_us in zip(body.series_ids, body.times_us, strict=True):
                times.setdefault(series_id, []).append(time_us)
    rows = seen_by_another(
        store.path, "SELECT id, event_count, first_us, last_us FROM series WHERE event_count > 0"
    )
    assert rows == [
        (series_id, len(found), min(found), max(found))
        for series_id, found in sorted(times.items())
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_replayed_and_read_is_the_same_in_either_form(
    tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311 - not a secret
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([], [s for n in SERIES_IDS for s in series(1, first=n)])
        log = await random_log(store, choose)
        entries = await replayed(store)
        while await store.folding.fold(choose.randrange(1, 150)):
            assert await replayed(store) == entries
            after = choose.randrange(entries[-1][0])
            assert await replayed(store, after) == [e for e in entries if e[0] > after]
            for _ in range(12):
                wanted = choose.sample(SERIES_IDS, choose.choice((1, 2, 8, len(SERIES_IDS))))
                from_us = choose.randrange(-20, 420)
                until_us = from_us + choose.choice((0, 1, 5, 50, 500))
                after, through = choose.choice(((0, None), (0, 30), (17, None), (17, 18), (30, 17)))
                expected = filtered(log, wanted, from_us, until_us, after, through)
                read = store.events.read(wanted, from_us, until_us, after=after, through=through)
                assert await collected(read) == expected
            await check_totals(store, entries)
    async with open_store(tmp_path / "alertd.db") as store:
        assert await replayed(store) == entries
        kinds = Counter(
            kind for (kind,) in seen_by_another(store.path, "SELECT kind FROM event_log")
        )
        assert kinds["events"] == 1, "the newest entry is never folded"


async def test_positions_go_on_after_everything_was_folded(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await store.events.append([batch()] * 3, series(3))
        assert await store.folding.fold(EVERYTHING) == 6
        assert await store.folding.fold(EVERYTHING) == 0
    async with open_store(path) as store:
        assert await store.events.end() == (3, START_US)
        assert await store.events.append([batch()], []) == 4
        assert await store.folding.fold(EVERYTHING) == 3
        assert await replayed(store) == [(position, batch()) for position in (1, 2, 3, 4)]


async def test_changes_of_the_rules_stay_in_the_log_in_their_places(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        for version in range(1, 8):
            await store.rules.apply(change(record(version=version)))
            await store.events.append([batch(), batch(ids=("a", None, "ä"))], [])
        entries = await replayed(store)
        assert await store.folding.fold(20)
        assert await store.folding.fold(EVERYTHING)
        assert await replayed(store) == entries
        assert seen_by_another(
            store.path, "SELECT count(*) FROM event_log WHERE kind = 'rules'"
        ) == [(7,)]


class Interrupted(Exception):
    """What stops a folding in the tests."""


def interrupt(store: Store, monkeypatch: pytest.MonkeyPatch, at: int, *, before: bool) -> None:
    """Have the ``at``-th transaction fail, or succeed and nothing come after it."""
    run = store.writer.run
    numbers = count()

    async def run_or_fail(
        operation: str, work: Callable[[apsw.Connection], object], **options: int
    ) -> object:
        is_last = next(numbers) == at
        if is_last and before:
            raise Interrupted
        result = await run(operation, work)
        if is_last:
            raise Interrupted
        return result

    monkeypatch.setattr(store.writer, "run", run_or_fail)


@pytest.mark.parametrize("before", [True, False])
async def test_a_folding_that_stops_between_two_transactions_leaves_the_content_as_it_was(
    tmp_path: Path, *, before: bool
) -> None:
    original, path = tmp_path / "original.db", tmp_path / "alertd.db"
    async with open_store(original) as store:
        await store.events.append([], [s for n in SERIES_IDS for s in series(1, first=n)])
        await random_log(store, random.Random(3), rounds=12)  # noqa: S311 - not a secret
        assert await store.folding.fold(50)
        entries, events = await replayed(store), await read_all(store)
    for stop_at in count():
        shutil.copy(original, path)
        with pytest.MonkeyPatch.context() as monkeypatch:
            async with open_store(path, durability=Durability.RELAXED) as store:
                interrupt(store, monkeypatch, stop_at, before=before)
                try:
                    await store.folding.fold(70)
                    is_over = True
                except Interrupted:
                    is_over = False
                assert await replayed(store) == entries
                assert await read_all(store) == events
        async with open_store(path, durability=Durability.RELAXED) as store:
            assert await replayed(store) == entries
            assert await read_all(store) == events
            await store.folding.settle()
            await check_totals(store, entries)
            assert await store.folding.fold(70)
            assert await replayed(store) == entries
            assert await read_all(store) == events
            await check_totals(store, entries)
            assert seen_by_another(
                path,
                "SELECT count(*) FROM blocks WHERE segment NOT IN "
                "(SELECT first_position FROM segments)",
            ) == [(0,)]
        if is_over:
            break
        assert stop_at < 300, "it never comes through"
    assert stop_at > 12


async def test_a_read_and_a_replay_see_everything_once_while_it_is_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_reads, "PART_BYTES", 1)
    monkeypatch.setattr(event_reads, "FOUND_ENTRIES", 7)
    monkeypatch.setattr(event_log, "CHUNK_ENTRIES", 2)
    choose = random.Random(4)  # noqa: S311 - not a secret
    async with open_store(tmp_path / "alertd.db") as store:
        await random_log(store, choose)
        entries, events = await replayed(store), await read_all(store)
        replay, read = store.events.replay(0), store.events.read(SERIES_IDS, *ALL_TIMES)
        replayed_meanwhile: Replayed = []
        read_meanwhile: list[tuple[int, EventBatch]] = []
        while len(replayed_meanwhile) < len(entries):
            for _ in range(choose.randrange(9)):
                async for entry in replay:
                    replayed_meanwhile.append((entry.position, entry.body))
                    break
                async for stored in read:
                    read_meanwhile.append((stored.position, stored.batch))
                    break
            await store.folding.fold(choose.randrange(1, 60))
        read_meanwhile += [(stored.position, stored.batch) async for stored in read]
        assert replayed_meanwhile == entries
        assert read_meanwhile == events


async def test_a_folding_can_be_cancelled_at_any_step(tmp_path: Path) -> None:
    choose = random.Random(5)  # noqa: S311 - not a secret
    async with open_store(tmp_path / "alertd.db") as store:
        await random_log(store, choose, rounds=6)
        entries = await replayed(store)

        for steps in count():
            left = steps
            with trio.CancelScope() as scope:

                async def rest() -> None:
                    nonlocal left
                    if left == 0:
                        scope.cancel()
                    left -= 1
                    await trio.lowlevel.checkpoint()

                folded = await store.folding.fold(EVERYTHING, rest)
            assert await replayed(store) == entries
            if not scope.cancelled_caught and not folded:
                break


async def test_events_that_are_too_many_for_a_block_are_in_several(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        body = events_at(range(100), series_id=1)
        await store.events.append(
            [events_at(range(3)), body, events_at([5], series_id=2), body], []
        )
        assert await store.folding.fold(EVERYTHING) == 104
        found = await collected(store.events.read({1}, 49, 60))
        assert [(position, list(part.times_us)) for position, part in found] == [
            (2, list(range(50, 61))),
            (4, list(range(50, 61))),
        ]


async def test_a_read_touches_only_the_blocks_that_it_needs(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        for time_us in range(0, 400, 4):
            times_us = range(time_us, time_us + 4)
            await store.events.append([events_at(times_us, series_id=n) for n in range(9)], [])
        while await store.folding.fold(900):
            pass
        needed = seen_by_another(
            store.path,
            "SELECT id FROM blocks WHERE first_series <= 4 AND last_series >= 4 "
            "AND greatest_us > 200 AND least_us <= 250",
        )
        blocks = seen_by_another(store.path, "SELECT count(*) FROM blocks")[0][0]
        assert isinstance(blocks, int)
        assert len(needed) * 10 < blocks
        others = ", ".join(str(id_) for (id_,) in needed)
        await damage(store, f"UPDATE blocks SET body = x'00' WHERE id NOT IN ({others})")  # noqa: S608
        found = await collected(store.events.read({4}, 200, 250))
        assert [t for _, part in found for t in part.times_us] == list(range(201, 251))


async def damage(store: Store, sql: str) -> None:
    await store.writer.run("damage", lambda connection: connection.execute(sql).fetchall())


@pytest.mark.parametrize(
    ("sql", "finding"),
    [
        ("UPDATE blocks SET body = substr(body, 1, 40) WHERE id = 1", "block 1 "),
        ("UPDATE blocks SET body = zeroblob(length(body)) WHERE id = 1", "block 1 "),
        ("DELETE FROM blocks WHERE id = 1", "segment 1 has 3 of its 9 events"),
        ("UPDATE segments SET directory = x'00'", "directory of segment 1"),
        ("DELETE FROM event_log WHERE position = 2", "no entry 2"),
    ],
)
async def test_a_damage_of_folded_events_is_named(tmp_path: Path, sql: str, finding: str) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([events_at(range(6))], [])
        await store.rules.apply(change(record()))
        await store.events.append([events_at(range(3), series_id=1), events_at([1])], [])
        assert await store.folding.fold(EVERYTHING) == 9
        await damage(store, sql)
        with pytest.raises(StoreCorrupt, match=rf"{finding}.*sqlite3"):
            await replayed(store)


async def test_an_entry_that_is_damaged_is_not_folded(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(), batch(), batch()], series(3))
        await damage(store, "UPDATE event_log SET body = x'00' WHERE position = 2")
        with pytest.raises(StoreCorrupt, match="event_log entry 2"):
            await store.folding.fold(EVERYTHING)
        assert seen_by_another(store.path, "SELECT count(*) FROM event_log") == [(3,)]


async def test_a_disk_that_is_full_leaves_the_log_to_be_folded_later(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(), batch(2000), batch()], series(3))
        (page_count,) = seen_by_another(store.path, "PRAGMA page_count")[0]
        await damage(store, f"PRAGMA max_page_count = {page_count}")
        entries = await replayed(store)
        with pytest.raises(StoreUnavailable, match="full"):
            await store.folding.fold(EVERYTHING)
        assert await replayed(store) == entries
        await damage(store, "PRAGMA max_page_count = 1000000")
        assert await store.folding.fold(EVERYTHING)
        assert await replayed(store) == entries


async def test_what_could_be_folded_is_known(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.folding.unfolded() == (0, None)
        await store.events.append([batch(2), batch(3, received_us=START_US + 1)], series(3))
        assert await store.folding.unfolded() == (2, START_US)
        await store.rules.apply(change(record()))
        assert await store.folding.unfolded() == (5, START_US)
        await store.folding.fold(1)
        assert await store.folding.unfolded() == (3, START_US + 1)
