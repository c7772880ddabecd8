"""The log: what was acknowledged is read again, in order, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest
import trio

from alertd.model import EventBatch
from alertd.store import event_log
from alertd.store.failures import StoreCorrupt
from alertd.store.store import open_store
from tests.unit.store.store_samples import (
    START_US,
    batch,
    change,
    record,
    replayed,
    seen_by_another,
    series,
)


async def test_what_was_appended_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    batches = [batch(3), batch(1, received_us=START_US + 1, ids=("é",)), batch(1000)]
    async with open_store(path) as store:
        assert await store.events.append(batches[:2], series(3)) == 1
        assert await store.events.append(batches[2:], series(2, first=3)) == 3
    async with open_store(path) as store:
        assert await replayed(store) == [(1, batches[0]), (2, batches[1]), (3, batches[2])]
        assert await replayed(store, after=2) == [(3, batches[2])]
        assert await replayed(store, after=3) == []
        assert await store.events.all_series() == series(5)


async def test_an_append_returns_only_when_others_can_see_it(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await store.events.append([batch(3), batch(2, ids=("a", None))], series(3))
        assert seen_by_another(
            path, "SELECT position, received_us, kind, count, has_ids FROM event_log"
        ) == [(1, START_US, "events", 3, 0), (2, START_US, "events", 2, 1)]
        assert seen_by_another(path, "SELECT id, labels ->> 'host' FROM series LIMIT 1") == [
            (0, "web-0")
        ]


async def test_a_group_is_one_transaction(tmp_path: Path) -> None:
    commits = 0

    def count_commit() -> bool:
        nonlocal commits
        commits += 1
        return False

    async with open_store(tmp_path / "alertd.db") as store:
        await store.writer.run("watch", lambda connection: connection.set_commit_hook(count_commit))
        commits = 0
        await store.events.append([batch(3)] * 16, series(3))
        assert commits == 1


async def test_a_group_that_fails_leaves_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(3)], series(3))
        with pytest.raises(apsw.ConstraintError):
            await store.events.append([batch(3)], series(4))  # series 0 to 2 are there already
        assert await store.events.all_series() == series(3)
        assert [position for position, _ in await replayed(store)] == [1]
        assert await store.events.append([batch(3)], series(1, first=3)) == 2


async def test_a_batch_that_does_not_fit_is_refused_before_its_neighbours(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        with pytest.raises(ValueError, match="id"):
            await store.events.append([batch(3), batch(3, ids=("a",))], series(3))
        assert await replayed(store) == []
        assert await store.events.all_series() == []


async def test_series_can_be_stored_without_events(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.events.append([], series(2)) == 1
        assert await store.events.append([batch(2)], []) == 1
        assert await store.events.all_series() == series(2)


async def test_the_end_of_the_log_is_known(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.events.end() == (0, 0)
        await store.events.append([batch(), batch(received_us=START_US + 7)], series(3))
        assert await store.events.end() == (2, START_US + 7)


async def test_a_cancelled_append_is_committed_whole_or_not_begun(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        returned: list[int] = []

        async def append(sequence: int) -> None:
            returned.append(
                await store.events.append(
                    [batch(received_us=sequence), batch(received_us=sequence)], []
                )
            )

        choose = random.Random(7)  # noqa: S311 - not a secret
        for sequence in range(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(append, sequence)
                for _ in range(choose.randrange(4)):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        entries = await replayed(store)
        stored = [body.received_us for _, body in entries if isinstance(body, EventBatch)]
        assert stored == sorted(stored)
        assert all(stored.count(sequence) == 2 for sequence in stored)
        assert [position for position, _ in entries[::2]] == returned
        assert 0 < len(returned) < 60


async def test_a_replay_is_read_in_short_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "CHUNK_ENTRIES", 3)
    monkeypatch.setattr(event_log, "CHUNK_BYTES", 2500)
    monkeypatch.setattr(event_log, "CHUNK_SERIES", 2)
    async with open_store(tmp_path / "alertd.db") as store:
        sizes = [1, 1, 1, 1, 100, 100, 1, 200, 1]
        await store.events.append([batch(size) for size in sizes], series(5))
        positions = []
        async for entry in store.events.replay(0):
            assert isinstance(entry.body, EventBatch)
            positions.append((entry.position, len(entry.body)))
            # A reader that was still open would make this fail with BusyError.
            other = apsw.Connection(str(tmp_path / "alertd.db"))
            other.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            other.close()
        assert positions == list(enumerate(sizes, start=1))
        assert await store.events.all_series() == series(5)


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE event_log SET body = substr(body, 1, 40) WHERE position = 2", "entry 2"),
        ("UPDATE event_log SET body = zeroblob(length(body)) WHERE position = 2", "entry 2"),
        ("DELETE FROM event_log WHERE position = 2", "no entry 2"),
        ("UPDATE event_log SET kind = 'rules' WHERE position = 2", "entry 2"),
        ("UPDATE event_log SET kind = 'events' WHERE position = 4", "entry 4"),
    ],
)
async def test_a_damaged_entry_is_named(tmp_path: Path, damage: str, finding: str) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(), batch(), batch()], series(3))
        await store.rules.apply(change(record()))
        await store.writer.run("damage", lambda connection: connection.execute(damage).fetchall())
        with pytest.raises(StoreCorrupt, match=rf"{finding}.*sqlite3"):
            await replayed(store)


async def test_events_and_rule_changes_are_one_order(tmp_path: Path) -> None:
    first, second = change(record()), change(record(version=2, threshold=3.0))
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.rules.apply(first) == 1
        assert await store.events.append([batch()], series(3)) == 2
        assert await store.rules.apply(second) == 3
        assert await replayed(store) == [(1, first), (2, batch()), (3, second)]
