"""After a replay that may lead elsewhere than the first time, what was told counts.

The beginning of the log is gone by retention, or the code is another: nobody is told anything
twice, and no incident stays on that nobody will ever end.
"""

from __future__ import annotations

from array import array
from pathlib import Path

import apsw
import msgspec
import pytest

from alertd.engine.condition import Condition, Level
from alertd.model import DetectedBy, EndReason, Incident, RuleType, Target
from tests.unit.parts import Parts, reconciler_of, record_of, running
from tests.unit.store.store_samples import seen_by_another

HYSTERESIS = record_of(
    "hysteresis",
    type=RuleType.MOVING_WINDOW,
    aggregate="last",
    threshold=10.0,
    resolve_threshold=5.0,
    window_duration_secs=10.0,
    notifications=(Target("ops"),),
)
HOT, BETWEEN, COLD = 20.0, 7.0, 1.0


async def append(parts: Parts, *values: float, host: str = "a") -> None:
    """Append values of one host, each a batch of its own, every 5 s up to now."""
    for place, value in enumerate(values, start=1):
        batch = parts.batch(5.0 * (place - len(values)), host=host)
        await parts.pipeline.append(msgspec.structs.replace(batch, values=array("d", [value])))
        await parts.until_judged()


async def forget_beginning(parts: Parts, entries: int) -> None:
    """Have retention remove the first ``entries`` events' entries of the log."""
    assert await parts.store.folding.fold(entries) == entries
    assert await parts.store.retention.roll_up(1 << 62) == entries


async def incidents(parts: Parts) -> list[Incident]:
    return [item.incident for item in await parts.history()]


def told(path: Path) -> list[object]:
    """Return the kinds of all notifications ever made, in their order."""
    rows = seen_by_another(
        path / "alertd.db",
        "SELECT kind FROM notifications WHERE kind != 'flapping' ORDER BY seq",
    )
    return [kind for (kind,) in rows]


async def test_an_incident_whose_beginning_is_gone_goes_on_as_it_was_told(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT, *[BETWEEN] * 9)
        (first,) = await incidents(parts)
        await forget_beginning(parts, 2)
    async with running(tmp_path) as parts:
        assert parts.pipeline.engine.open_incidents() == [], "what is left shows no breach"
        await reconciler_of(parts).reconcile()
        assert [each.id for each in parts.pipeline.engine.open_incidents()] == [first.id]
        assert await incidents(parts) == [first]
        assert told(tmp_path) == ["firing"]
        await append(parts, COLD)
        (ended,) = await incidents(parts)
        assert ended.id == first.id
        assert ended.end_reason is EndReason.RECOVERED
    assert told(tmp_path) == ["firing", "resolved"]


async def test_an_incident_that_is_over_by_what_is_left_ends_and_its_end_is_told(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT, COLD, COLD, COLD, COLD)
        (first,) = await incidents(parts)
        await parts.store.writer.run("open it again", open_again)
        await forget_beginning(parts, 1)
    assert told(tmp_path) == ["firing", "resolved"]
    async with running(tmp_path) as parts:
        await reconciler_of(parts).reconcile()
        (ended,) = await incidents(parts)
        assert ended.id == first.id
        assert ended.end_reason is EndReason.RECOVERED
        assert ended.ended_us is not None
        assert parts.pipeline.engine.open_incidents() == []
    assert told(tmp_path) == ["firing", "resolved"], "a notification has one id, however it came"


async def test_an_incident_of_which_nothing_is_left_ends_as_expired(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT)
        await append(parts, HOT, HOT, host="b")
        await forget_beginning(parts, 1)
    async with running(tmp_path) as parts:
        by_host = {dict(each.group)["host"]: each for each in await incidents(parts)}
        assert by_host["a"].end_reason is EndReason.EXPIRED
        await reconciler_of(parts).reconcile()
        assert [dict(each.group) for each in parts.pipeline.engine.open_incidents()] == [
            {"host": "b"}
        ]
    assert told(tmp_path) == ["firing", "firing", "resolved"]


async def test_one_that_what_is_left_shows_later_is_the_one_that_was_told(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, *[HOT] * 8)
        (first,) = await incidents(parts)
        await forget_beginning(parts, 2)
    async with running(tmp_path) as parts:
        (found,) = parts.pipeline.engine.open_incidents()
        assert found.id != first.id
        await reconciler_of(parts).reconcile()
        assert [each.id for each in parts.pipeline.engine.open_incidents()] == [first.id]
        await append(parts, COLD)
        (ended,) = await incidents(parts)
        assert (ended.id, ended.started_us) == (first.id, first.started_us)
        assert ended.ended_us is not None
    assert told(tmp_path) == ["firing", "resolved"]


async def test_a_full_replay_by_the_same_code_tells_nobody_anything(tmp_path: Path) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT, COLD, HOT, BETWEEN)
        await append(parts, HOT, host="b")
        before = await incidents(parts)
        assert len(before) == 3
    async with running(tmp_path) as parts:
        assert parts.recovered.snapshot_position == 0
        assert parts.pipeline.engine.overdue() == []
        await reconciler_of(parts).reconcile()
        assert await incidents(parts) == before
    assert told(tmp_path).count("firing") == 3
    assert told(tmp_path).count("resolved") == 1


async def test_what_was_found_but_not_recorded_before_a_crash_is_no_reason_for_doubt(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT)
        await parts.store.writer.run("note", note_told)
        await append(parts, COLD)
        await append(parts, HOT, host="b")
        before = await incidents(parts)
        await parts.store.writer.run("go back", be_as_noted)
    async with running(tmp_path) as parts:
        assert parts.pipeline.engine.overdue() == []
        assert await incidents(parts) == before


async def test_other_code_judges_the_present_and_leaves_the_past_as_it_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as parts:
        await parts.pipeline.change_rules(put=(HYSTERESIS,))
        await append(parts, HOT, COLD, COLD, COLD, COLD)  # is over
        await append(parts, BETWEEN, host="c")  # is not on, and by the new code would be
        await append(parts, HOT, host="b")  # is on, and by the new code would not be
        before = {incident.id: incident for incident in await incidents(parts)}
        assert len(before) == 2

    def other_level(self: Condition, value: float) -> Level:
        return Level.BREACH if value == BETWEEN else Level.CLEAR

    monkeypatch.setattr(Condition, "level", other_level)
    async with running(tmp_path) as parts:
        assert told(tmp_path) == ["firing", "resolved", "firing"], "nothing old is told again"
        await reconciler_of(parts).reconcile()
        after = {dict(each.group)["host"]: each for each in await incidents(parts)}
        assert after["a"] in before.values()
        assert after["b"].id in before
        assert after["b"].end_reason is EndReason.RECOVERED
        assert after["c"].ended_us is None
        assert after["c"].detected_by is DetectedBy.RECONCILE
        assert told(tmp_path) == ["firing", "resolved", "firing", "resolved", "firing"]
        await reconciler_of(parts).reconcile()
    async with running(tmp_path) as parts:
        await reconciler_of(parts).reconcile()
        assert {dict(each.group)["host"]: each for each in await incidents(parts)} == after
    assert len(told(tmp_path)) == 5


def note_told(connection: apsw.Connection) -> None:
    connection.execute("CREATE TABLE noted AS SELECT * FROM incidents")
    connection.execute(
        "INSERT INTO meta SELECT 'noted', value FROM meta WHERE key = 'applied_position'"
    )


def be_as_noted(connection: apsw.Connection) -> None:
    """Undo what was recorded since: the process was killed before that was committed."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    for table in ("notifications", "timeline"):
        connection.execute(
            f"DELETE FROM {table} WHERE incident_seq NOT IN (SELECT seq FROM noted)"  # noqa: S608  # constants
        )
    connection.execute("DELETE FROM incidents WHERE seq NOT IN (SELECT seq FROM noted)")
    connection.execute("UPDATE incidents SET ended_us = NULL, end_reason = NULL")
    connection.execute(
        "UPDATE meta SET value = (SELECT value FROM meta WHERE key = 'noted') "
        "WHERE key = 'applied_position'"
    )


def open_again(connection: apsw.Connection) -> None:
    connection.execute("UPDATE incidents SET ended_us = NULL, end_reason = NULL")
