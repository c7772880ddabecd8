"""Rules start warm from a real store, and a restart finds the same incidents."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path

import pytest
import trio

from alertd.errors import StoreUnavailable
from alertd.model import DetectedBy, EndReason, EventBatch, Target
from alertd.rules import RuleRecord
from alertd.store.failures import StoreCorrupt
from alertd.store.protocols import StoredEvents
from tests.unit.parts import SECOND, Parts, dump_of, record_of, running, snapshotter_of

pytestmark = pytest.mark.usefixtures("form_of_the_log")

HOOK = (Target("WEBHOOK", "https://example.org/hook"),)


def told_record(rule_id: str = "r1", **fields: object) -> RuleRecord:
    return record_of(rule_id, notifications=HOOK, **fields)


async def notifications(parts: Parts) -> list[tuple[str, str]]:
    """Return what people are told of each incident."""
    return sorted(
        (item.incident.id, each.kind)
        for item in await parts.history()
        for each in item.notifications
    )


async def test_a_rule_over_stored_events_fires_with_its_true_start(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        stored = parts.batch(-4, -3, -2, -1)
        await parts.pipeline.append(stored)
        await parts.pipeline.append(parts.batch(-1, host="b"))
        await parts.pipeline.change_rules(put=(told_record(),))
        (item,) = await parts.history()
        assert item.incident.started_us == stored.times_us[2]
        assert item.incident.detected_by is DetectedBy.BACKFILL
        assert item.incident.group == (("host", "a"),)
        assert len(await notifications(parts)) == 1
        await parts.pipeline.append(parts.batch(-0.5, 0, host="b"))
        await parts.until_judged()
        (newer, _) = await parts.history()
        assert (newer.incident.value, newer.incident.detected_by) == (3, DetectedBy.STREAM)


async def test_replay_finds_the_same_and_tells_nobody_twice(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        await parts.pipeline.change_rules(put=(told_record(), told_record("r2", threshold=3.0)))
        await parts.pipeline.append(parts.batch(-2.5, host="b"))
        await parts.pipeline.append(parts.batch(-0.5, 0, host="b"))
        await parts.until_judged()
        history, sent = await parts.history(), await notifications(parts)
        assert len(history) == len(sent) == 3
        state = dump_of(parts.pipeline.engine)
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_entries == 4
        assert await parts.history() == history
        assert await notifications(parts) == sent
        # Ticks move the live engine's clock, which is all that may differ.
        assert dump_of(parts.recovered.engine)[1:] == state[1:]


async def test_a_snapshot_after_the_change_and_one_before_it_lead_to_the_same(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        await parts.until_judged()
        await snapshotter_of(parts).take()
        await parts.pipeline.change_rules(put=(told_record(),))
        history = await parts.history()
    async with running(tmp_path) as parts:
        assert (parts.recovered.snapshot_position, parts.recovered.replayed_entries) == (1, 1)
        assert await parts.history() == history != []
        await snapshotter_of(parts).take()
        state = dump_of(parts.recovered.engine)
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_entries == 0
        assert dump_of(parts.recovered.engine) == state
        assert await parts.history() == history
        assert parts.pipeline.engine.cold_rules() == []


async def test_an_edit_that_changes_windows_and_a_rule_enabled_again_start_warm(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        await parts.pipeline.change_rules(put=(told_record(),))
        await parts.pipeline.change_rules(put=(told_record(window_duration_secs=11.0),))
        await parts.pipeline.change_rules(put=(told_record(is_active=False),))
        await parts.pipeline.change_rules(put=(told_record(),))
        incidents = [item.incident for item in await parts.history()]
        assert len({incident.id for incident in incidents}) == 3
        assert len({incident.started_us for incident in incidents}) == 1
        assert {incident.detected_by for incident in incidents} == {DetectedBy.BACKFILL}
        reasons = sorted(str(incident.end_reason) for incident in incidents)
        assert reasons == ["None", str(EndReason.RULE_CHANGED), str(EndReason.RULE_CHANGED)]
        assert len(await notifications(parts)) == 5


async def test_nothing_that_holds_is_nothing_to_tell(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-16, -15.5, -15, -1))
        await parts.pipeline.change_rules(put=(told_record(),))
        assert await parts.history() == []
        assert parts.pipeline.engine.group_count() == 1


async def test_one_change_reads_the_store_once_for_all_its_rules(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        reads = spy(parts)
        rules = (told_record(), told_record("r2", window_duration_secs=60.0, group_by=()))
        await parts.pipeline.change_rules(put=rules)
        assert reads == [1]
        assert len(await parts.history()) == 2


def spy(parts: Parts, *failures: Exception) -> list[int]:
    """Let the store's next reads fail; return a list that holds the number of reads."""
    reads, real, waiting = [0], parts.store.events.read, list(failures)

    def read(
        series_ids: Collection[int],
        from_us: int,
        until_us: int,
        *,
        after: int = 0,
        through: int | None = None,
    ) -> AsyncGenerator[StoredEvents, None]:
        reads[0] += 1
        found = real(series_ids, from_us, until_us, after=after, through=through)
        return failing(found, waiting.pop(0)) if waiting else found

    parts.store.events.read = read  # type: ignore[method-assign]
    return reads


async def failing(
    read: AsyncGenerator[StoredEvents, None], error: Exception
) -> AsyncGenerator[StoredEvents, None]:
    """Yield what was read, and fail only then."""
    async for stored in read:
        yield stored
    raise error


async def test_a_store_that_cannot_be_read_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.pipeline.evaluator.STORE_RETRY_S", 0.001)
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        await parts.until_judged()
        reads = spy(parts, StoreUnavailable("no descriptors"), StoreUnavailable("no descriptors"))
        await parts.pipeline.change_rules(put=(told_record(),))
        assert reads == [3]
        assert len(await parts.history()) == 1


async def test_damaged_events_leave_a_rule_cold_and_stop_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        spy(parts, StoreCorrupt("event_log entry 1"))
        await parts.pipeline.change_rules(put=(told_record(),))
        assert await parts.history() == []
        assert [rule.id for rule in parts.pipeline.engine.cold_rules()] == ["r1"]
        await parts.pipeline.append(parts.batch(-3, -2, -1))
        await parts.until_judged()
        (item,) = await parts.history()
        assert item.incident.detected_by is DetectedBy.STREAM


async def test_the_rule_with_the_most_events_starts_cold_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.pipeline.backfill.MAX_EVENTS", 9)
    large = told_record("large", window_duration_secs=600.0)
    small = told_record("small", threshold=3.0)
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-300, -200, -100, -90, -80))
        await parts.pipeline.append(parts.batch(-4, -3, -2, -1))
        await parts.pipeline.change_rules(put=(large, small))
        assert [rule.id for rule in parts.pipeline.engine.cold_rules()] == ["large"]
        history = await parts.history()
        assert [item.incident.rule_id for item in history] == ["small"]
    async with running(tmp_path) as parts:
        assert [rule.id for rule in parts.recovered.engine.cold_rules()] == ["large"]
        assert await parts.history() == history
        await snapshotter_of(parts).take()
    async with running(tmp_path) as parts:
        assert parts.recovered.replayed_entries == 0
        assert [rule.id for rule in parts.recovered.engine.cold_rules()] == ["large"]


async def test_events_in_any_order_and_of_many_batches_are_judged_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.pipeline.sorted_events.RUN_EVENTS", 4)
    async with running(tmp_path) as parts:
        base_us = parts.clock.now_us()
        offsets = (-3, -9, -1, -5, -7, -2, -8, -4, -6)
        for part in (offsets[:5], offsets[5:]):
            await parts.pipeline.append(at(parts, base_us, part))
        await parts.pipeline.change_rules(put=(told_record(aggregate=None),))
        (item,) = await parts.history()
        assert item.incident.started_us == base_us - 7 * SECOND
        assert item.incident.peak_value == 9


def at(parts: Parts, base_us: int, offsets: Sequence[int]) -> EventBatch:
    batch = parts.batch(*offsets)
    times_us = array("q", [base_us + offset * SECOND for offset in offsets])
    return EventBatch(batch.received_us, batch.series_ids, times_us, batch.values)


async def test_while_it_reads_the_loop_is_free_and_judging_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(*([-1] * 20_000), host="b"))
        await parts.until_judged()
        looks = 0

        async def look() -> None:
            nonlocal looks
            while True:
                await trio.lowlevel.checkpoint()
                looks += parts.pipeline.evaluator.between_steps.locked()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await parts.pipeline.change_rules(put=(told_record(),))
            nursery.cancel_scope.cancel()
        assert looks > 15, "four slices read, ten judged, and sorting"
