"""Start-up gives back the state as it was, from a snapshot, the log, or both."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest
import trio

from alertd.engine import dump
from alertd.engine.inputs import Tick
from alertd.model import Limits
from alertd.store.store import open_store
from alertd.turn import MOST_PAUSES
from alertd.upkeep import recovery, snapshotter
from alertd.upkeep.interpreter import tuned
from alertd.upkeep.recovery import recover
from tests.unit.parts import (
    SECOND,
    Parts,
    WatchedAnnouncer,
    dump_of,
    new_announcer,
    new_state,
    record_of,
    running,
    snapshotter_of,
)
from tests.unit.upkeep.test_interpreter import old_garbage

pytestmark = pytest.mark.usefixtures("form_of_the_log")


async def fill(parts: Parts) -> None:
    """Leave one group firing, one nearly so, and an edited rule."""
    await parts.pipeline.change_rules(put=(record_of(), record_of("r2", aggregate=None)))
    await parts.pipeline.append(parts.batch(-3, -2, -1, ids=["a", None, "b"]))
    await parts.pipeline.append(parts.batch(-2, -1, host="b"))
    await parts.pipeline.change_rules(put=(record_of("r2", threshold=1.0),))


async def test_replay_gives_the_state_that_was_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        parts.pipeline.engine.step(Tick(parts.clock.now_us()))
        incidents = await parts.history()
        assert len(incidents) == 3
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_events == 5
        assert await parts.history() == incidents
        assert await parts.pipeline.append(parts.batch(0, ids=["a"])) == 1
        await parts.pipeline.append(parts.batch(0, host="b"))
        await parts.until_judged()
        fired = [item for item in await parts.history() if item.incident.value == 3]
        assert len(fired) == 3, "two events from before the restart and one from after it"


async def test_snapshot_and_replay_equal_full_replay(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        await snapshotter_of(parts).take()
        await parts.pipeline.append(parts.batch(-0.5, host="c", ids=["c"]))
        await parts.until_judged()
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 4
        assert parts.recovered.replayed_events == 1
        from_snapshot = dump_of(parts.recovered.engine)
        assert sorted(parts.recovered.dedup.dump(), key=repr)
    for file in (tmp_path / "snapshots").glob("state-*"):
        file.unlink()
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 0
        assert dump_of(parts.recovered.engine) == from_snapshot


async def test_time_goes_on_from_the_end_of_the_log_though_nothing_has_to_be_replayed(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        await snapshotter_of(parts).take()
        end = await parts.store.events.end()
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_entries == 0
        assert parts.recovered.received_us == end.received_us > 0


async def test_time_goes_on_from_what_the_clock_alone_has_led_to(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        end_us = (await parts.store.events.end()).received_us
        (*_, last) = parts.pipeline.engine.step(Tick(end_us + 60 * SECOND))
        assert last.detected_us == end_us + 60 * SECOND
        announcement = new_announcer().announce(last)
        assert announcement is not None
        await parts.store.incidents.record([announcement], applied=parts.pipeline.applied)
    async with running(tmp_path) as parts:
        assert parts.recovered.received_us == end_us + 60 * SECOND
        assert parts.clock.now_us() >= end_us + 60 * SECOND


async def test_time_goes_on_from_where_the_snapshot_has_it(tmp_path: Path) -> None:
    """Though the wall clock may be behind: what was judged by then meets no earlier time."""
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        later_us = parts.clock.now_us() + 60 * SECOND
        parts.pipeline.engine.step(Tick(later_us))
        await snapshotter_of(parts).take()
    async with running(tmp_path) as parts:
        assert parts.recovered.received_us == later_us
        assert parts.clock.now_us() >= later_us


async def test_a_damaged_snapshot_is_passed_over(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        await snapshotter_of(parts).take()
    (file,) = (tmp_path / "snapshots").glob("state-*")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 0
        assert parts.recovered.replayed_events == 5
        (rejected,) = parts.recovered.rejected
        assert rejected.file == file.name
        assert "checksum" in rejected.reason


async def test_judging_goes_on_while_a_snapshot_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshotter, "PACK_SLICE_BYTES", 1)
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        position, judged = parts.pipeline.applied, 0
        async with trio.open_nursery() as nursery:
            taking = trio.Event()

            async def take() -> None:
                await snapshotter_of(parts).take()
                taking.set()

            nursery.start_soon(take)
            while parts.pipeline.engine._dump is None:
                await trio.lowlevel.checkpoint()
            while not taking.is_set():
                async with parts.pipeline.evaluator.between_steps:
                    parts.pipeline.engine.step(parts.batch(0, host=f"new {judged}"))
                judged += 1
                await trio.lowlevel.checkpoint()
        assert judged > 5
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == position
        assert parts.recovered.replayed_entries == 0
        hosts = {dict(i.group)["host"] for i in parts.recovered.engine.open_incidents()}
        assert hosts <= {"a", "b"}
        assert parts.recovered.engine.group_count() == 4


async def test_a_change_of_rules_while_a_snapshot_is_taken_has_it_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshotter, "PACK_SLICE_BYTES", 1)
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(snapshotter_of(parts).take)
            await parts.pipeline.change_rules(put=(record_of("r3"),))
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position in (4, 5)
        assert len(parts.recovered.engine.rules()) == 3


async def test_a_snapshot_is_taken_early_when_many_events_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshotter, "LOOK_EVERY_S", 0.001)
    async with running(tmp_path) as parts, trio.open_nursery() as nursery:
        taker = snapshotter_of(parts, every_events=5)
        nursery.start_soon(taker.run)
        await fill(parts)
        with trio.fail_after(5):
            while taker.position < 3:
                await trio.sleep(0.001)  # nothing tells of it
        nursery.cancel_scope.cancel()


async def test_a_snapshot_of_the_former_format_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        with monkeypatch.context() as former:
            former.setattr(dump, "FORMAT", dump.FORMAT - 1)
            await snapshotter_of(parts).take()
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 0
        assert len(await parts.history()) == 3


async def test_an_unchanged_state_is_not_written_again(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        taker = snapshotter_of(parts)
        await taker.take()
        taken_us = taker.taken_us
        await taker.take()
        assert taker.taken_us == taken_us


async def test_what_a_snapshot_rests_on_is_on_the_disk_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With relaxed durability commits are not fsynced, and the power may take the last of them."""
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix)
        fsync(descriptor)

    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        monkeypatch.setattr(os, "fsync", noted)
        await snapshotter_of(parts).take()
    assert [suffix for suffix in synced if suffix in (".db-wal", ".unfinished")] == [
        ".db-wal",
        ".unfinished",
    ]


async def test_a_snapshot_that_cannot_be_written_is_no_reason_to_stop(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        taker = snapshotter_of(parts)
        parts.snapshots.write_text("in the way")
        await taker.take()
        assert (taker.position, taker.taken_us) == (0, None)
        parts.snapshots.unlink()
        await taker.take()
        assert taker.position == 4


async def test_snapshots_that_are_taken_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        taker = snapshotter_of(parts)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(taker.take)
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 4


async def test_recovering_twice_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        incidents = await parts.history()
    for _ in range(2):
        async with open_store(tmp_path / "alertd.db") as store:
            await recover(
                store,
                new_announcer(),
                snapshots=tmp_path / "snapshots",
                new_state=new_state,
                on_progress=lambda phrase: None,
            )
    async with running(tmp_path) as parts:
        assert await parts.history() == incidents


async def test_what_is_overdue_is_part_of_a_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-3600, -1))
        await parts.pipeline.append(parts.batch(-3599))
        await parts.until_judged()
        overdue = parts.pipeline.engine.overdue()
        assert len(overdue) == 1
        await snapshotter_of(parts).take()
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_events == 0
        assert parts.pipeline.engine.overdue() == overdue


async def test_what_was_recorded_and_forgotten_is_not_told_again_by_a_replay(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        assert await parts.history()
        await snapshotter_of(parts).take()
        await parts.store.writer.run("forget", forget_incidents)
    for file in (tmp_path / "snapshots").glob("state-*"):
        file.unlink()
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 0
        assert parts.recovered.replayed_events == 5
        assert await parts.history() == []
        assert await parts.store.outbox.next_due_us() is None


async def test_what_was_found_but_not_recorded_before_a_crash_is_told_after_it(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
        incidents = await parts.history()
        await parts.store.writer.run("forget", forget_incidents)
        await parts.store.writer.run("forget", forget_position)
    async with running(tmp_path) as parts:
        assert await parts.history() == incidents


async def test_others_have_turns_while_a_start_words_what_it_has_found(tmp_path: Path) -> None:
    count = 3 * MOST_PAUSES
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(threshold=0.0),))
        await parts.pipeline.append(parts.storm(count))
        await parts.until_judged()
        await parts.store.writer.run("forget", forget_incidents)
        await parts.store.writer.run("forget", forget_position)
    announcer = WatchedAnnouncer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.others)
        async with running(tmp_path, announcer=announcer) as parts:
            assert len(announcer.worded_after) > 1
            assert len(await parts.history()) == count
        nursery.cancel_scope.cancel()


async def test_garbage_of_a_long_replay_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "LOG_EVERY_EVENTS", 5)
    async with running(tmp_path) as parts:
        await fill(parts)
        await parts.until_judged()
    with tuned():
        garbage = old_garbage()
        async with running(tmp_path) as parts:
            assert parts.recovered.replayed_events == 5
            assert garbage() is None


async def test_what_the_clock_alone_brought_about_is_in_the_next_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(window_duration_secs=0.2),))
        await parts.pipeline.append(parts.batch(-0.02, -0.01, 0))
        await parts.until_judged()
        snapshotter = snapshotter_of(parts)
        await snapshotter.take()
        with trio.fail_after(5):
            while (await parts.history())[0].incident.ended_us is None:
                await trio.sleep(0.01)  # the window drains, and no entry of the log says so
        await snapshotter.take()
        await parts.store.writer.run("forget", forget_incidents)
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 2
        await trio.sleep(0.1)
        assert await parts.history() == []


def forget_incidents(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM incidents")


def forget_position(connection: apsw.Connection) -> None:
    connection.execute("UPDATE meta SET value = 0 WHERE key = 'applied_position'")


async def test_limits_count_from_their_place_in_the_log_whatever_is_configured_later(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.limit(Limits(events_per_group=1))
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-3, -2, -1))
        await parts.pipeline.limit(Limits(events_per_group=5))
        await parts.pipeline.limit(Limits(events_per_group=5))
        await parts.until_judged()
        before = dump_of(parts.pipeline.engine)
        assert parts.pipeline.applied == 4, "what is no change is no entry"
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_events == 3
        assert parts.recovered.engine.limits == Limits(events_per_group=5)
        assert dump_of(parts.recovered.engine) == before
        ((_, observed),) = parts.recovered.engine.observed()
        assert observed.overflow_events == 2
        assert await parts.history() == []
