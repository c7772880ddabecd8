"""The writer: a transaction is committed or rolled back, and the caller knows which."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from alertd import blocking
from alertd.errors import StoreUnavailable
from alertd.store import wal, writer
from alertd.store.checkpointer import Checkpointer
from alertd.store.connection import Durability
from alertd.store.failures import StoreCorrupt
from alertd.store.store import Store, open_store
from alertd.store.writer import CHECKPOINT, CommitUncertain, Turn
from tests.faults.disk import Fault, FaultAt, Kind, watched_by
from tests.unit.store.store_samples import batch, replayed, seen_by_another, series


@contextmanager
def no_file_may_exceed(size_bytes: int) -> Iterator[None]:
    """Make the kernel refuse to let any file grow beyond that size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_database_that_is_full_refuses_and_recovers(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        pages = await store.writer.run("look", lambda connection: connection.pragma("page_count"))
        await limit_pages(store, pages + 2)
        with pytest.raises(StoreUnavailable, match=r"store events.*free some space"):
            await store.events.append([batch(3), batch(5000)], [])
        await limit_pages(store, 1_000_000)
        assert await replayed(store) == [(1, batch())]
        assert await store.events.append([batch(5000)], []) == 2
    async with open_store(tmp_path / "alertd.db") as store:
        assert await replayed(store) == [(1, batch()), (2, batch(5000))]


async def test_a_checkpoint_lets_a_transaction_that_waits_go_first_but_not_for_ever(
    tmp_path: Path,
) -> None:
    """A step of the WAL may be copied to its end at once, two must be."""
    step_bytes = wal.END_BYTES
    async with open_store(tmp_path / "alertd.db") as store:
        log = store.writer._wal

        def grow(size_bytes: int, *, is_awaited: bool) -> bool:
            log._frames += size_bytes // log._frame_bytes
            return log.is_to_be_ended(is_awaited=is_awaited)

        log._frames = log._frames_at_end = 0
        assert not grow(step_bytes // 2, is_awaited=False)
        assert not grow(step_bytes, is_awaited=True)
        assert grow(step_bytes, is_awaited=True)
        log.checkpoint()
        assert not grow(step_bytes, is_awaited=True)
        assert grow(0, is_awaited=False)


async def test_the_log_file_is_copied_beside_the_writer_and_begun_again(tmp_path: Path) -> None:
    turns: list[Turn] = []
    path = tmp_path / "alertd.db"
    async with open_store(path, on_turn=turns.append) as store:
        await store.events.append([batch()], series(3))
        sizes_bytes = []
        for _ in range(4 * wal.CHECKPOINT_BYTES // 20_000):
            await store.events.append([batch(1000)], [])
            await store.writer.run("let it begin", lambda _: None)
            await store.writer._checkpointer.until_over()
            sizes_bytes.append(store.writer.wal_bytes)
        assert max(sizes_bytes) < 1.2 * wal.CHECKPOINT_BYTES
        assert any(after < before for before, after in pairwise(sizes_bytes))
        assert path.stat().st_size > 2 * wal.CHECKPOINT_BYTES
    assert CHECKPOINT not in {turn.work for turn in turns}, "the writer copies nothing itself"


async def test_where_events_come_without_a_pause_the_writer_ends_the_log_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "END_BYTES", 2 * wal.CHECKPOINT_BYTES)
    monkeypatch.setattr(Checkpointer, "_copy", leave_it)
    turns: list[Turn] = []
    async with open_store(tmp_path / "alertd.db", on_turn=turns.append) as store:
        await store.events.append([batch()], series(3))
        largest_bytes = 0
        for _ in range(6 * wal.CHECKPOINT_BYTES // 20_000):
            await store.events.append([batch(1000)], [])
            largest_bytes = max(largest_bytes, store.writer.wal_bytes)
    assert largest_bytes < 1.1 * wal.PATIENCE * wal.END_BYTES
    assert sum(turn.work == CHECKPOINT for turn in turns) >= 2


def leave_it(checkpointer: Checkpointer) -> None:
    """Copy nothing: as far as the end goes, that is what comes of it while others write."""
    checkpointer.is_at_work = False


async def test_what_may_be_redone_waits_for_a_checkpoint_and_events_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proceed, copy = threading.Event(), Checkpointer._copy

    def copy_slowly(checkpointer: Checkpointer) -> None:
        proceed.wait(5)
        copy(checkpointer)

    monkeypatch.setattr(Checkpointer, "_copy", copy_slowly)
    monkeypatch.setattr(wal, "CHECKPOINT_BYTES", 1 << 15)
    async with open_store(tmp_path / "alertd.db") as store, trio.open_nursery() as nursery:
        await store.events.append([batch(4000)], series(3))
        await store.events.append([batch()], [])  # by now the checkpoint is under way
        done = trio.Event()

        async def redo() -> None:
            await store.writer.run("redo", lambda _: None, may_be_redone=True)
            done.set()

        nursery.start_soon(redo)
        await trio.testing.wait_all_tasks_blocked()
        assert await store.events.append([batch()], []) == 3
        assert not done.is_set()
        proceed.set()
        await done.wait()


async def test_a_checkpoint_beside_the_writer_whose_fsync_fails_ends_all_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_BYTES", 1 << 15)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        # Its connection is opened when it is first needed; the writer's is not watched.
        with watched_by(FaultAt(Kind.SYNC, 1, Fault(apsw.SQLITE_IOERR_FSYNC))):
            await store.events.append([batch(4000)], [])
            while store.writer._wal.checkpoints.failure is None:
                await trio.sleep(0.001)  # nothing tells of a checkpoint
            with pytest.raises(apsw.IOError):
                store.writer._wal.checkpoint()  # as if it had waited for that one to be over
        for _ in range(2):
            with pytest.raises(CommitUncertain, match="checkpoint"):
                await store.events.append([batch()], [])
    async with open_store(tmp_path / "alertd.db") as store:
        assert await replayed(store) == [(1, batch()), (2, batch(4000))]


async def test_a_checkpoint_that_fails_beside_the_writer_is_made_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_BYTES", 1 << 15)
    turns: list[Turn] = []
    async with open_store(tmp_path / "alertd.db", on_turn=turns.append) as store:
        await store.events.append([batch()], series(3))
        with watched_by(FaultAt(Kind.WRITE, 1, Fault(apsw.SQLITE_FULL))):
            for _ in range(2):
                await store.events.append([batch(4000)], [])
                await store.writer.run("let it begin", lambda _: None)
                await store.writer._checkpointer.until_over()
        await store.events.append([batch(4000)], [])
        assert [turn.work for turn in turns].count(CHECKPOINT) == 1
        assert len(await replayed(store)) == 4


async def limit_pages(store: Store, pages: int) -> None:
    await store.writer.run("limit", lambda connection: connection.pragma("max_page_count", pages))


async def test_a_full_disk_is_found_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    async with open_store(path) as store:
        await store.events.append([batch()], series(3))
        with no_file_may_exceed(path.with_name("alertd.db-wal").stat().st_size):
            with pytest.raises(StoreUnavailable, match="free some space"):
                await store.events.append([batch(1_000_000)], [])
            assert store.writer.failure is None
            assert await replayed(store) == [(1, batch())]
        assert await store.events.append([batch(2000)], []) == 2
    async with open_store(path) as store:
        assert await replayed(store) == [(1, batch()), (2, batch(2000))]


async def test_only_what_may_be_redone_is_committed_without_an_fsync(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:

        def synchronous(connection: apsw.Connection) -> int:
            return connection.pragma("synchronous")  # type: ignore[no-any-return]

        def fail(connection: apsw.Connection) -> None:
            raise ZeroDivisionError

        full, normal = 2, 1  # https://sqlite.org/pragma.html#pragma_synchronous
        assert await store.writer.run("look", synchronous) == full
        assert await store.writer.run("look", synchronous, may_be_redone=True) == normal
        assert await store.writer.run("look", synchronous) == full
        with pytest.raises(ZeroDivisionError):
            await store.writer.run("fail", fail, may_be_redone=True)
        assert await store.writer.run("look", synchronous) == full


async def test_an_error_in_commit_is_uncertain_and_final(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        refusals = iter((False, True))  # the first answer is for this very transaction
        await store.writer.run(
            "break", lambda connection: connection.set_commit_hook(lambda: next(refusals))
        )
        for _ in range(2):
            with pytest.raises(CommitUncertain, match="the process must end"):
                await store.events.append([batch()], [])
        assert store.writer.failure is not None
        assert await replayed(store) == [(1, batch())]


async def test_a_commit_that_breaks_a_deferred_rule_is_not_acknowledged(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:

        def work(connection: apsw.Connection) -> None:
            connection.execute("PRAGMA defer_foreign_keys = ON")
            connection.execute("INSERT INTO rule_notifications VALUES ('none', 0, 'SLACK', NULL)")

        with pytest.raises(CommitUncertain):
            await store.writer.run("break a rule", work)
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.rules.all() == []
        assert seen_by_another(store.path, "SELECT * FROM rule_notifications") == []


async def test_what_the_work_raises_reaches_the_caller_and_undoes_the_work(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:

        def work(connection: apsw.Connection) -> None:
            connection.execute("INSERT INTO meta VALUES ('x', 1)")
            raise LookupError("of the caller")

        with pytest.raises(LookupError, match="of the caller"):
            await store.writer.run("try", work)
        assert seen_by_another(store.path, "SELECT value FROM meta WHERE key = 'x'") == []


async def test_a_cancelled_caller_learns_of_it_after_the_commit(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        begun, proceed = threading.Event(), threading.Event()

        def work(connection: apsw.Connection) -> str:
            begun.set()
            proceed.wait(5)
            connection.execute("INSERT INTO meta VALUES ('x', 1)")
            return "done"

        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await trio.to_thread.run_sync(begun.wait, 5)
                    assert store.writer.pending == 1
                    scope.cancel()
                    proceed.set()

                nursery.start_soon(cancel)
                result = await store.writer.run("write", work)
                assert result == "done"
                assert seen_by_another(store.path, "SELECT value FROM meta WHERE key = 'x'") == [
                    (1,)
                ]
                await trio.lowlevel.checkpoint()
                pytest.fail("the cancellation was lost")
        assert scope.cancelled_caught
        assert store.writer.pending == 0


async def test_a_caller_that_is_cancelled_already_submits_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.events.append([batch()], series(3))
        assert await replayed(store) == []


async def test_a_queue_that_is_full_refuses_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_PENDING", 2)
    async with open_store(tmp_path / "alertd.db") as store, trio.open_nursery() as nursery:
        proceed = threading.Event()
        nursery.start_soon(store.writer.run, "wait", lambda _: proceed.wait(5))
        nursery.start_soon(store.writer.run, "wait", lambda _: proceed.wait(5))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(StoreUnavailable, match="2 transactions wait"):
            await store.writer.run("write", lambda _: None)
        proceed.set()


async def test_the_heart_beats_while_idle_and_stands_still_while_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "HEARTBEAT_INTERVAL_S", 0.001)
    async with open_store(tmp_path / "alertd.db") as store:
        deadline_s = time.monotonic() + 5
        before_us = store.writer.heartbeat_us
        while store.writer.heartbeat_us == before_us and time.monotonic() < deadline_s:
            await trio.lowlevel.checkpoint()
        assert 0 < store.writer.heartbeat_us - before_us < 5_000_000

        def stuck(_connection: apsw.Connection) -> bool:
            beats = {store.writer.heartbeat_us}
            for _ in range(20):
                time.sleep(0.001)
                beats.add(store.writer.heartbeat_us)
            return len(beats) == 1

        assert await store.writer.run("hang", stuck)


async def test_checkpoints_keep_the_log_file_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_BYTES", 1 << 18)
    monkeypatch.setattr(wal, "END_BYTES", 1 << 18)
    async with open_store(tmp_path / "alertd.db", durability=Durability.RELAXED) as store:
        largest = 0
        for _ in range(100):
            await store.events.append([batch(1000)], [])
            largest = max(largest, store.writer.wal_bytes)
        frame_bytes = store.writer._wal._frame_bytes
        assert (1 << 18) // frame_bytes * frame_bytes <= largest < 1 << 20
        assert (tmp_path / "alertd.db").stat().st_size > 100 * 20_000 - (1 << 20)


async def test_a_reader_that_stays_makes_the_log_file_grow_to_its_bound_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "CHECKPOINT_BYTES", 1 << 18)
    monkeypatch.setattr(wal, "LIMIT_BYTES", 1 << 20)
    path = tmp_path / "alertd.db"
    async with open_store(path, durability=Durability.RELAXED) as store:
        await store.events.append([batch()], series(3))
        other = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        other.execute("BEGIN; SELECT count(*) FROM series").fetchall()
        stored = 1

        async def append_many() -> None:
            nonlocal stored
            for _ in range(200):
                await store.events.append([batch(1000)], [])
                stored += 1

        with pytest.raises(StoreUnavailable, match="keeps a read transaction open"):
            await append_many()
        assert store.writer.wal_bytes < (1 << 20) + 200_000
        other.close()
        await store.events.append([batch(1000)], [])
        assert store.writer.wal_bytes < 200_000
        assert len(await replayed(store)) == stored + 1


async def test_a_log_file_that_is_gone_is_noticed_before_anything_is_written(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        (tmp_path / "alertd.db-wal").unlink()
        with pytest.raises(StoreUnavailable, match="No such file"):
            await store.events.append([batch()], [])


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (apsw.SQLITE_FULL, StoreUnavailable),
        (apsw.SQLITE_READONLY, StoreUnavailable),
        (apsw.SQLITE_BUSY, StoreUnavailable),
        (apsw.SQLITE_IOERR_WRITE, StoreUnavailable),
        (apsw.SQLITE_IOERR_FSYNC, CommitUncertain),
        (apsw.SQLITE_CORRUPT, StoreCorrupt),
        (apsw.SQLITE_CONSTRAINT, apsw.ConstraintError),
    ],
)
async def test_a_failure_before_commit_is_undone_unless_it_was_an_fsync(
    tmp_path: Path, code: int, meaning: type[Exception]
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:

        def work(connection: apsw.Connection) -> None:
            connection.execute("INSERT INTO meta VALUES ('x', 1)")
            raise apsw.exception_for(code)

        with pytest.raises(meaning):
            await store.writer.run("try", work)
        assert (store.writer.failure is None) == (meaning is not CommitUncertain)
    async with open_store(tmp_path / "alertd.db") as store:
        assert seen_by_another(store.path, "SELECT value FROM meta WHERE key = 'x'") == []
