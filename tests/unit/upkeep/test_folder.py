"""When the log is folded: when there is enough, or when it has waited long enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.store.folding import Folding, Rest, Unfolded
from alertd.store.readers import Readers
from alertd.store.store import Store, open_store
from alertd.store.writer import Writer
from alertd.upkeep.folder import HURRY_SEGMENTS, LOOK_EVERY_S, Folder
from alertd.upkeep.pace import MAX_REST_S
from tests.unit.store.store_samples import START_US, batch, replayed, seen_by_another, series

SECOND_US = 1_000_000


def folder_of(
    folding: Folding,
    metrics: Metrics,
    *,
    after_events: int = 10,
    now_us: int = START_US,
    is_busy: Callable[[], bool] = lambda: False,
) -> Folder:
    return Folder(
        folding,
        lambda: now_us,
        metrics,
        after_events=after_events,
        after_us=60 * SECOND_US,
        is_busy=is_busy,
    )


def segments(store: Store) -> list[object]:
    return [events for (events,) in seen_by_another(store.path, "SELECT events FROM segments")]


async def test_as_many_events_as_make_a_segment_are_folded_and_the_rest_waits(
    tmp_path: Path,
) -> None:
    metrics = Metrics()
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(5)] * 6, series(5))
        entries = await replayed(store)
        await folder_of(store.folding, metrics).fold()
        assert segments(store) == [10, 10]
        assert await replayed(store) == entries
        assert store.folding.unfolded_events == 5
        assert metrics.registry.get_sample_value("alertd_events_folded_total") == 20
        assert metrics.registry.get_sample_value("alertd_unfolded_events") == 5


async def test_fewer_are_folded_when_they_have_waited_long_enough(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(5)] * 2, series(5))
        await folder_of(store.folding, Metrics(), now_us=START_US + 60 * SECOND_US - 1).fold()
        assert segments(store) == []
        await folder_of(store.folding, Metrics(), now_us=START_US + 60 * SECOND_US).fold()
        assert segments(store) == [5]
        await folder_of(store.folding, Metrics(), now_us=START_US + 99 * SECOND_US).fold()
        assert segments(store) == [5], "the newest entry waits for the next"


async def test_what_a_crash_left_undone_is_done_first(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(5)] * 4, series(5))
        await store.folding.fold(10)
        await store.writer.run(
            "leave a block behind",
            lambda connection: connection.execute(
                "INSERT INTO blocks SELECT NULL, 99, first_series, last_series, events, "
                "least_us, greatest_us, body FROM blocks"
            ).fetchall(),
        )
        await folder_of(store.folding, Metrics()).fold()
        assert seen_by_another(store.path, "SELECT count(*) FROM blocks WHERE segment = 99") == [
            (0,)
        ]


async def test_damage_stops_the_folding_and_nothing_else(tmp_path: Path) -> None:
    metrics = Metrics()
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch(5)] * 4, series(5))
        await store.writer.run(
            "damage",
            lambda connection: connection.execute(
                "UPDATE event_log SET body = x'00' WHERE position = 2"
            ).fetchall(),
        )
        with capture_logs() as logs:
            await folder_of(store.folding, metrics).run()
        assert "event_log entry 2" in logs[-1]["error"]
        assert metrics.registry.get_sample_value("alertd_folding_stopped") == 1
        assert await store.events.append([batch(5)], []) == 5


class Working(Folding):
    """Folds nothing, in a time that is known."""

    def __init__(self, events: int, work_s: float) -> None:
        super().__init__(cast("Writer", None), cast("Readers", None), "nowhere")
        self.left = events
        self.work_s = work_s
        self.rests_s: list[float] = []
        self.failures = 0

    async def settle(self, rest: Rest = trio.lowlevel.checkpoint) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        await trio.lowlevel.checkpoint()

    async def unfolded(self) -> Unfolded:
        await trio.lowlevel.checkpoint()
        return Unfolded(self.left, START_US if self.left else None)

    async def fold(self, max_events: int, rest: Rest = trio.lowlevel.checkpoint) -> int:
        await trio.sleep(self.work_s)
        began_s = trio.current_time()
        await rest()
        self.rests_s.append(trio.current_time() - began_s)
        folded = min(max_events, self.left)
        self.left -= folded
        return folded


async def test_it_rests_as_long_as_it_worked(autojump_clock: trio.testing.MockClock) -> None:
    working = Working(events=20, work_s=0.03)
    await folder_of(working, Metrics()).fold()
    assert working.rests_s == [pytest.approx(0.03)] * 2
    slow = Working(events=10, work_s=5)
    await folder_of(slow, Metrics()).fold()
    assert slow.rests_s == [pytest.approx(MAX_REST_S)]


async def test_it_rests_longer_while_events_come(autojump_clock: trio.testing.MockClock) -> None:
    working = Working(events=20, work_s=0.03)
    await folder_of(working, Metrics(), is_busy=lambda: True).fold()
    assert working.rests_s == [pytest.approx(MAX_REST_S)] * 2


async def test_it_does_not_rest_when_the_log_grows_faster(
    autojump_clock: trio.testing.MockClock,
) -> None:
    working = Working(events=10 * (HURRY_SEGMENTS + 1), work_s=0.03)
    await folder_of(working, Metrics()).fold()
    unhurried = [pytest.approx(0.03)] * (HURRY_SEGMENTS - 1)
    assert working.rests_s == [pytest.approx(0), pytest.approx(0), *unhurried]


async def test_a_store_that_cannot_write_is_asked_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    working = Working(events=10, work_s=0)
    working.failures = 2
    with capture_logs() as logs:
        with trio.move_on_after(2.5 * LOOK_EVERY_S):
            await folder_of(working, Metrics()).run()
        assert len(logs) == 2
    assert working.left == 0
