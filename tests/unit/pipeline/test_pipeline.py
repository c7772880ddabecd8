"""The pipeline on a real store: durable before answered, in order, each once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import pytest
import trio
import trio.testing

from alertd.config.settings import Config
from alertd.engine.engine import Engine
from alertd.engine.inputs import Tick
from alertd.errors import Overloaded, StoreUnavailable
from alertd.model import DetectedBy, EndReason, EventBatch, Transition
from alertd.notify.settings import InhibitSpec
from alertd.outbound import Announcement
from alertd.pipeline import work
from alertd.pipeline.appender import MAX_JOINED_EVENTS
from alertd.pipeline.evaluator import (
    LARGEST_PORTION,
    LONGEST_PAUSE_S,
    SMALLEST_PORTION,
    announced,
    foresee,
)
from alertd.pipeline.work import FEW_EVENTS, Work
from alertd.rule_checks import MAX_ANNOTATIONS
from alertd.store.connection import open_readonly
from alertd.store.incidents import IncidentStore
from alertd.store.protocols import LogEntry
from alertd.turn import MOST_PAUSES
from tests.unit.delivery.desk import OPS, begin
from tests.unit.parts import Parts, WatchedAnnouncer, new_announcer, record_of, running


async def stored(parts: Parts) -> list[LogEntry]:
    return [entry async for entry in parts.store.events.replay(0)]


def stored_events(path: Path) -> int:
    connection = open_readonly(path)
    try:
        count: int = connection.execute("SELECT coalesce(sum(count), 0) FROM event_log").get
        return count
    finally:
        connection.close()


async def test_an_answered_batch_is_visible_to_another_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        for expected in (2, 4, 6):
            assert await parts.pipeline.append(parts.batch(-1, 0)) == 0
            assert stored_events(parts.store.path) == expected


async def test_batches_that_wait_together_share_one_commit(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(0))
        before = parts.pipeline.evaluator._metrics.commits._value.get()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(parts.pipeline.append, parts.batch(0))
        commits = parts.pipeline.evaluator._metrics.commits._value.get() - before
        assert stored_events(parts.store.path) == 51
        assert commits <= 5


async def test_a_small_batch_that_comes_a_turn_of_the_loop_later_is_in_the_same_commit(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:

        async def push_a_turn_later() -> None:
            await trio.lowlevel.checkpoint()
            await parts.pipeline.append(parts.batch(0))

        commits = parts.pipeline.evaluator._metrics.commits._value
        before = commits.get()
        for _ in range(20):  # which task goes first is chance
            async with trio.open_nursery() as nursery:
                nursery.start_soon(parts.pipeline.append, parts.batch(0))
                nursery.start_soon(push_a_turn_later)
        assert commits.get() - before == 20


async def test_small_batches_of_a_commit_are_one_entry_and_keep_their_order_and_ids(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        small = [
            parts.batch(-number, ids=[f"id {number}"] if number % 2 else None)
            for number in range(50)
        ]
        large = [parts.batch(*[-60] * MAX_JOINED_EVENTS) for _ in range(2)]
        order: list[EventBatch] = []

        async def append(batch: EventBatch) -> None:
            order.append(batch)
            await parts.pipeline.append(batch)

        async with trio.open_nursery() as nursery:
            for batch in [*small, *large]:
                nursery.start_soon(append, batch)
        found = [e.body for e in await stored(parts) if isinstance(e.body, EventBatch)]
        assert len(found) < 10
        assert max(map(len, found)) == MAX_JOINED_EVENTS
        assert found[-1].received_us == max(batch.received_us for batch in order)
        together, in_order = EventBatch.joined(found), EventBatch.joined(order)
        assert together.times_us == in_order.times_us
        assert together.ids == in_order.ids


async def test_the_log_has_receive_times_that_never_decrease(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(parts.pipeline.append, parts.batch(0))
        times = [entry.body.received_us for entry in await stored(parts)]  # type: ignore[union-attr]
        assert times == sorted(times)


async def test_nothing_is_received_before_a_tick_that_came_first(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path) as parts:
        stale = parts.batch(0)
        mock_clock.jump(20)
        evaluator = parts.pipeline.evaluator
        async with evaluator.between_steps:
            ticked_us = await evaluator.tick()
        await parts.pipeline.append(stale)
        (entry,) = await stored(parts)
        assert isinstance(entry.body, EventBatch)
        assert (entry.body.received_us, entry.body.times_us) == (ticked_us, stale.times_us)


async def test_an_id_is_accepted_once_within_a_batch_a_group_and_later(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        assert await parts.pipeline.append(parts.batch(0, 0, 0, ids=["x", "x", None])) == 1
        assert await parts.pipeline.append(parts.batch(0, 0, ids=["x", "y"])) == 1
        assert await parts.pipeline.append(parts.batch(0, 0, ids=["x", "y"])) == 2
        duplicates: list[int] = []

        async def append() -> None:
            duplicates.append(await parts.pipeline.append(parts.batch(0, ids=["z"])))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(append)
        assert sorted(duplicates) == [0] + [1] * 9
        assert stored_events(parts.store.path) == 4


async def test_a_full_queue_refuses_at_once_and_takes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, max_queued_events=10) as parts:
        refused = 0

        async def append() -> None:
            nonlocal refused
            try:
                await parts.pipeline.append(parts.batch(*[0] * 4))
            except Overloaded as error:
                refused += error.retry_after_s > 0

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(append)
        assert refused > 0
        assert stored_events(parts.store.path) == 4 * (10 - refused)
        assert await parts.pipeline.append(parts.batch(0)) == 0


async def test_a_batch_larger_than_the_queue_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    async with running(tmp_path, max_queued_events=10) as parts:
        await parts.pipeline.append(parts.batch(*[0] * 50))
        assert stored_events(parts.store.path) == 50


async def test_while_the_store_is_full_nothing_is_answered_and_then_all_is_well_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(0, ids=["before"]))
        pages = await parts.store.writer.run("measure", _page_count)
        await parts.store.writer.run("fill", lambda c: _limit_pages(c, pages))
        with pytest.raises(StoreUnavailable):
            await parts.pipeline.append(parts.batch(*[0] * 5_000, ids=["retried"] + [None] * 4_999))
        refusal = parts.pipeline.refusal
        assert refusal is not None
        assert stored_events(parts.store.path) == 1
        await parts.store.writer.run("free", lambda c: _limit_pages(c, 1 << 30))
        again = parts.batch(0, 0, host="new", ids=["retried", "before"])
        assert await parts.pipeline.append(again) == 1, "an id that was refused is not a duplicate"
        assert parts.pipeline.refusal is None
        assert len(await parts.store.events.all_series()) == 2, "its series was stored with it"


def _page_count(connection: apsw.Connection) -> int:
    count: int = connection.pragma("page_count")
    return count


def _limit_pages(connection: apsw.Connection, pages: int) -> None:
    connection.pragma("max_page_count", pages)


async def test_a_client_that_leaves_does_not_undo_what_it_sent(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        with trio.CancelScope() as scope:
            scope.cancel()
            await parts.pipeline.append(parts.batch(0))
        assert scope.cancelled_caught
        await parts.pipeline.append(parts.batch(0))
        assert stored_events(parts.store.path) == 2


async def test_rules_start_with_exactly_the_events_before_them_in_the_log(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-2, -1))
        await parts.pipeline.change_rules(put=(record_of(),))
        assert await parts.history() == []
        await parts.pipeline.append(parts.batch(-0.5))
        await parts.pipeline.change_rules(put=(record_of("r2"),))
        await parts.pipeline.append(parts.batch(-0.4))
        await parts.pipeline.change_rules(deleted=("r2",))
        items = {item.rule_name: item.incident for item in await parts.history()}
        assert (items["rule r1"].value, items["rule r1"].detected_by) == (3, DetectedBy.STREAM)
        assert (items["rule r2"].value, items["rule r2"].detected_by) == (3, DetectedBy.BACKFILL)
        assert items["rule r2"].end_reason is EndReason.RULE_DELETED


async def test_deleting_a_rule_ends_its_incident_with_the_reason(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-3, -2, -1))
        await parts.pipeline.change_rules(deleted=("r1",))
        (item,) = await parts.history()
        assert item.incident.end_reason is EndReason.RULE_DELETED


async def test_a_quiet_group_resolves_by_the_clock_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(window_duration_secs=0.2),))
        await parts.pipeline.append(parts.batch(-0.03, -0.02, -0.01))
        await parts.until_judged()
        (item,) = await parts.history()
        started_us = item.incident.started_us
        with trio.fail_after(5):
            while item.incident.ended_us is None:
                await trio.sleep(0.01)  # nothing tells of what is recorded
                (item,) = await parts.history()
        assert item.incident.ended_us == started_us + 180_000
        assert item.incident.end_reason is EndReason.RECOVERED


async def test_closing_judges_what_was_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        async with trio.open_nursery() as nursery:
            for host in "abcde":
                nursery.start_soon(parts.pipeline.append, parts.batch(-3, -2, -1, host=host))
    async with running(tmp_path) as parts:
        assert len(await parts.history()) == 5
        parts.pipeline.close()
        with pytest.raises(Overloaded):
            await parts.pipeline.append(parts.batch(0))


class Counting:
    """A store of incidents that notes how many come at a time."""

    def __init__(self, incidents: IncidentStore) -> None:
        self._incidents = incidents
        self.portions: list[int] = []

    async def record(self, announcements: Sequence[Announcement], *, applied: int | None) -> None:
        self.portions.append(len(announcements))
        await self._incidents.record(announcements, applied=applied)


@pytest.mark.parametrize(
    ("most_unjudged", "portion"), [(80_000, SMALLEST_PORTION), (120, LARGEST_PORTION // 2)]
)
async def test_a_storm_is_recorded_in_portions_larger_the_more_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_unjudged: int, portion: int
) -> None:
    monkeypatch.setattr(work, "MAX_UNJUDGED_EVENTS", most_unjudged)
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(threshold=0.0),))
        parts.pipeline.evaluator._incidents = counting = Counting(parts.store.incidents)
        await parts.pipeline.append(parts.storm(60))
        await parts.until_judged()
        assert len(await parts.history()) == 60
    full, rest = divmod(60, portion)
    assert counting.portions == [portion] * full + [rest] * bool(rest)


async def test_the_next_portion_of_a_storm_waits_for_events_on_their_way_to_the_disk(
    tmp_path: Path,
) -> None:
    is_slow, release = trio.Event(), threading.Event()
    async with running(tmp_path) as parts, trio.open_nursery() as nursery:

        class Interrupted(Counting):
            """After the first portion somebody sends, and the disk is slow."""

            async def record(
                self, announcements: Sequence[Announcement], *, applied: int | None
            ) -> None:
                await super().record(announcements, applied=applied)
                if len(self.portions) == 1:
                    writer = parts.store.writer
                    nursery.start_soon(writer.run, "be slow", lambda connection: release.wait())
                    nursery.start_soon(parts.pipeline.append, parts.batch(0))
                    await trio.testing.wait_all_tasks_blocked()
                    is_slow.set()

        await parts.pipeline.change_rules(put=(record_of(threshold=0.0),))
        parts.pipeline.evaluator._incidents = counting = Interrupted(parts.store.incidents)
        await parts.pipeline.append(parts.storm(60))
        await is_slow.wait()
        await trio.testing.wait_all_tasks_blocked()
        before = list(counting.portions)
        release.set()
        await parts.until_judged()
    assert before == [SMALLEST_PORTION]
    assert sum(counting.portions) >= 60


@pytest.mark.parametrize(("size", "waits"), [(FEW_EVENTS, True), (FEW_EVENTS + 1, False)])
async def test_a_long_step_waits_a_moment_for_few_events_on_their_way_to_the_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mock_clock: trio.testing.MockClock,
    size: int,
    waits: bool,
) -> None:
    slices, judged = 4 * MOST_PAUSES, list[EventBatch | Tick]()

    def in_slices(engine: Engine, event: EventBatch | Tick) -> Iterator[list[Transition]]:
        for _ in range(slices):
            judged.append(event)
            yield []

    async with running(tmp_path) as parts, trio.open_nursery() as nursery:
        monkeypatch.setattr(Engine, "in_slices", in_slices)
        evaluator, few = parts.pipeline.evaluator, parts.batch(*[0] * size)
        with evaluator._backlog.committing([Work(few)]):
            nursery.start_soon(evaluator._step, few)
            for turn in range(1, 4):
                await trio.testing.wait_all_tasks_blocked()
                assert len(judged) == (turn * MOST_PAUSES if waits else slices)
                mock_clock.jump(LONGEST_PAUSE_S)
        await trio.testing.wait_all_tasks_blocked()
        assert judged == [few] * slices
        monkeypatch.undo()


class FullOfIncidents:
    """A store that takes no incident."""

    def __init__(self) -> None:
        self.asked = trio.Event()

    async def record(self, announcements: Sequence[Announcement], *, applied: int | None) -> None:
        self.asked.set()
        raise StoreUnavailable("the disk is full")


async def test_a_stop_does_not_wait_for_a_store_that_refuses_and_the_next_start_records(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def stop_while_an_incident_cannot_be_recorded() -> None:
        async with running(tmp_path) as parts:
            await parts.pipeline.change_rules(put=(record_of(),))
            parts.pipeline.evaluator._incidents = full = FullOfIncidents()
            await parts.pipeline.append(parts.batch(-3, -2, -1))
            await full.asked.wait()
            parts.pipeline.hurry()

    with pytest.RaisesGroup(pytest.RaisesExc(StoreUnavailable), flatten_subgroups=True):
        await stop_while_an_incident_cannot_be_recorded()
    async with running(tmp_path) as parts:
        assert len(await parts.history()) == 1


async def test_nobody_waits_for_ever_when_the_pipeline_dies(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    def explode(_event: object) -> list[object]:
        raise Broken

    async def change_rules_in_a_broken_engine() -> None:
        async with running(tmp_path) as parts:
            parts.pipeline.engine.step = explode  # type: ignore[method-assign, assignment]
            with trio.CancelScope(shield=True), pytest.raises(StoreUnavailable):
                await parts.pipeline.change_rules(put=(record_of(),))

    with pytest.RaisesGroup(pytest.RaisesExc(Broken), flatten_subgroups=True):
        await change_rules_in_a_broken_engine()


async def test_others_have_turns_while_costly_annotations_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alertd.turn.TURN_S", 0.0)  # each incident takes longer
    announcer = WatchedAnnouncer()
    costly = {f"a{number}": "{{ labels.host }}" for number in range(MAX_ANNOTATIONS)}
    async with running(tmp_path, announcer=announcer) as parts, trio.open_nursery() as nursery:
        await parts.pipeline.change_rules(put=(record_of(threshold=0.0, annotations=costly),))
        nursery.start_soon(announcer.others)
        await parts.pipeline.append(parts.storm(SMALLEST_PORTION))
        await parts.until_judged()
        assert len(await parts.history()) == SMALLEST_PORTION
        nursery.cancel_scope.cancel()
    assert len(announcer.worded_after) >= SMALLEST_PORTION, "they have a turn after each incident"


async def test_others_have_turns_while_it_is_looked_at_what_inhibits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alertd.turn.TURN_S", 0.0)  # each incident takes longer
    announcer = WatchedAnnouncer()
    transitions = [begin(number) for number in range(10)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announcer.others)
        await foresee(transitions, announcer)
        assert announcer.foreseen_after == set(), "it makes no difference without inhibitions"
        everything = InhibitSpec(source={"severity": "CRITICAL"}, target={"severity": "WARNING"})
        announcer.policy.use(*Config(inhibit=(everything,)).policies())
        await foresee(transitions, announcer)
        nursery.cancel_scope.cancel()
    assert len(announcer.foreseen_after) == len(transitions)


async def test_what_is_found_is_put_into_words_though_it_is_cancelled_meanwhile() -> None:
    transitions = [begin(number) for number in range(MOST_PAUSES + 1)]
    with trio.CancelScope() as scope:
        scope.cancel()
        found = await announced(transitions, new_announcer())
    assert [each.transition for each in found] == transitions


async def test_what_is_found_together_is_known_before_any_of_it_is_announced(
    tmp_path: Path,
) -> None:
    """So an incident inhibits those that were found before it."""
    rules = [
        record_of(f"r{number}", name=name, threshold=0.0, notifications=(OPS,))
        for number, name in enumerate(("Effect", "Cause", "Other effect"))
    ]
    explained = InhibitSpec(
        source={"ruleName": "Cause"}, target={"ruleName": "=~.*ffect"}, equal=("host",)
    )
    announcer = new_announcer()
    announcer.policy.use(*Config(inhibit=(explained,)).policies())
    async with running(tmp_path, announcer=announcer) as parts:
        await parts.pipeline.change_rules(put=tuple(rules))
        await parts.pipeline.append(parts.batch(0))
        await parts.until_judged()
        assert len(await parts.history()) == 3
        [sent] = await parts.store.outbox.claim(parts.clock.now_us(), limit=10)
        assert [b"Cause" in view for _, view in sent.parts] == [True]
