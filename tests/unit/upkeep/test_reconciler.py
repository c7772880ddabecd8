"""Events later than the allowed lateness are judged from the store, and nothing is missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from pathlib import Path

import pytest
import trio

from alertd.model import DetectedBy
from alertd.store.failures import StoreCorrupt
from alertd.store.protocols import StoredEvents
from tests.unit.parts import Parts, reconciler_of, record_of, running

pytestmark = pytest.mark.usefixtures("form_of_the_log")

HOUR_S = 3600.0


async def test_a_breach_an_hour_late_is_found_and_has_both_its_ends(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        in_time = parts.batch(-HOUR_S, -1)
        await parts.pipeline.append(in_time)
        late = parts.batch(-HOUR_S + 2, -HOUR_S + 1)
        await parts.pipeline.append(late)
        await parts.until_judged()
        assert await parts.history() == []
        await reconciler_of(parts).reconcile()
        (item,) = await parts.history()
        incident = item.incident
        assert incident.detected_by is DetectedBy.RECONCILE
        assert incident.value == incident.peak_value == 3
        assert incident.started_us == late.times_us[0]
        assert incident.ended_us == in_time.times_us[0] + 10_000_000
        assert incident.late_by_us >= (HOUR_S - 3) * 1_000_000
        assert parts.pipeline.engine.overdue() == []


async def test_an_incident_that_was_told_grows_in_silence(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        start = -HOUR_S
        await parts.pipeline.append(parts.batch(start, start + 1, start + 2))
        await parts.pipeline.append(parts.batch(-1))
        await parts.until_judged()
        (before,) = await parts.history()
        await parts.pipeline.append(parts.batch(start + 3))
        await parts.until_judged()
        await reconciler_of(parts).reconcile()
        (after,) = await parts.history()
        assert after.incident.id == before.incident.id
        assert before.incident.ended_us is not None
        assert after.incident.ended_us is not None
        assert after.incident.ended_us > before.incident.ended_us
        assert after.incident.peak_value == 4


async def test_what_is_overdue_survives_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-HOUR_S, -1))
        await parts.pipeline.append(parts.batch(-HOUR_S + 2, -HOUR_S + 1))
    async with running(tmp_path) as parts:
        await reconciler_of(parts).reconcile()
        assert len(await parts.history()) == 1
        await reconciler_of(parts).reconcile()
        assert len(await parts.history()) == 1


async def test_only_the_groups_own_events_are_looked_at(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-HOUR_S, -1, host="a"))
        await parts.pipeline.append(parts.batch(-HOUR_S, -HOUR_S, -1, host="b"))
        await parts.pipeline.append(parts.batch(-HOUR_S + 1, host="a"))
        await parts.until_judged()
        await reconciler_of(parts).reconcile()
        assert await parts.history() == []


async def test_events_from_before_the_rule_are_not_judged_by_it(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.append(parts.batch(-HOUR_S, -HOUR_S + 1, -HOUR_S + 2))
        await parts.pipeline.change_rules(put=(record_of(),))
        await parts.pipeline.append(parts.batch(-1))
        await parts.pipeline.append(parts.batch(-HOUR_S + 3))
        await parts.until_judged()
        await reconciler_of(parts).reconcile()
        assert await parts.history() == []


async def test_a_series_that_is_new_while_another_group_is_judged_again_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of("r1"), record_of("r2", group_by=())))
        await parts.pipeline.append(parts.batch(-HOUR_S, -1, host="a"))
        await parts.pipeline.append(parts.batch(-HOUR_S + 2, host="a"))
        await parts.until_judged()

        async def append() -> None:
            await parts.pipeline.append(parts.batch(-HOUR_S + 1, host="new"))

        between = BetweenGroups(parts, append)
        monkeypatch.setattr(parts.pipeline.evaluator, "between_steps", between)
        await reconciler_of(parts).reconcile()
        (item,) = await parts.history()
        assert (item.incident.rule_id, item.incident.value) == ("r2", 3)


async def test_a_rule_that_sees_other_series_meanwhile_is_judged_by_those(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as parts:
        narrow = record_of("r2", group_by=(), matchers={"host": "a"})
        await parts.pipeline.change_rules(put=(record_of("r1"), narrow))
        for host in ("b", "a"):
            await parts.pipeline.append(parts.batch(-HOUR_S, -1, host=host))
            await parts.pipeline.append(parts.batch(-HOUR_S, host=host))
        await parts.until_judged()
        stretches = parts.pipeline.engine.overdue()
        assert [stretch.overdue.rule_id for stretch in stretches] == ["r1", "r1", "r2"]

        async def edit() -> None:
            await parts.pipeline.change_rules(put=(record_of("r2", group_by=()),))

        async def append() -> None:
            await parts.pipeline.append(parts.batch(*(-HOUR_S + s for s in range(3)), host="b"))

        between = BetweenGroups(parts, edit, append)
        monkeypatch.setattr(parts.pipeline.evaluator, "between_steps", between)
        reconciler = reconciler_of(parts)
        await reconciler.reconcile()
        await reconciler.reconcile()
        found = [item.incident for item in await parts.history()]
        assert [incident.value for incident in found if incident.rule_id == "r2"] == [3]


class BetweenGroups:
    """A lock that a task takes once for each group, and what comes before all but the first."""

    def __init__(self, parts: Parts, *inputs: Callable[[], Awaitable[None]]) -> None:
        self._parts = parts
        self._lock = parts.pipeline.evaluator.between_steps
        self._to_come = [trio.lowlevel.checkpoint, *inputs]
        self._task = trio.lowlevel.current_task()

    async def __aenter__(self) -> None:
        if trio.lowlevel.current_task() is self._task and self._to_come:
            await self._to_come.pop(0)()
            await self._parts.until_judged()
        await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


async def test_damaged_events_leave_their_group_overdue_and_stop_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(record_of(),))
        for host in ("a", "b"):
            await parts.pipeline.append(parts.batch(-HOUR_S, -1, host=host))
            await parts.pipeline.append(parts.batch(-HOUR_S + 2, -HOUR_S + 1, host=host))
        await parts.until_judged()
        read, damaged = (
            parts.store.events.read,
            parts.recovered.registry.resolve("m", {"host": "a"}),
        )

        def read_around_damage(
            series_ids: Collection[int], from_us: int, until_us: int, **bounds: int
        ) -> AsyncGenerator[StoredEvents]:
            if damaged in series_ids:
                raise StoreCorrupt("block 1")
            return read(series_ids, from_us, until_us, **bounds)

        monkeypatch.setattr(parts.store.events, "read", read_around_damage)
        await reconciler_of(parts).reconcile()
        (item,) = await parts.history()
        assert item.incident.group == (("host", "b"),)
        (left,) = parts.pipeline.engine.overdue()
        assert left.overdue.group == (("host", "a"),)
