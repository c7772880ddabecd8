"""Whether the events of a group that sleeps are packed or stand in its window: nobody can tell.

Groups look often after what they keep, so that they unpack and pack it often.
"""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Input
from alertd.engine.packed import MOST_PACKED
from alertd.engine.sleeping import SleepingGroup
from alertd.model import GroupState, Transition
from tests.property.engine_laws import check_snapshot, edited_retellings, frozen, now_of
from tests.property.engine_worlds import (
    World,
    forgetful,
    new_engine,
    retellings,
    sleepy_rules,
    worlds,
)
from tests.property.test_engine_late import late_worlds

ANY_WORLD = st.one_of(
    worlds(sleepy_rules()),
    late_worlds(sleepy_rules(), overdue=True),
    worlds(forgetful(sleepy_rules())),
)


def told(
    world: World, inputs: list[Input], *, most_packed: int, in_columns: bool
) -> list[tuple[list[Transition], bytes, dict[GroupState, int]]]:
    """Return what follows from each input, and what the engine then shows."""
    engine = new_engine(world.rule, world.active_us, in_columns=in_columns)
    found, packed = [], 0
    with (
        patch("alertd.engine.continuous.LEAST_ROOM", 2),
        patch("alertd.engine.sleeping.LEAST_ROOM", 2),
        patch("alertd.engine.sleeping.MOST_PACKED", most_packed),
    ):
        for each in inputs:
            transitions = engine.step(each)
            packed += packed_groups(engine)
            found.append(
                (transitions, frozen(engine), engine.group_states(world.rule.id, now_of(each)))
            )
    event(f"{min(3, packed)} packed of {bool(most_packed)}")
    assert not packed or most_packed
    return found


def packed_groups(engine: Engine) -> int:
    groups = (each for rule in engine._router for each in rule.by_labels.values())
    return sum(isinstance(each, SleepingGroup) and bool(each._packed) for each in groups)


@given(ANY_WORLD, st.booleans(), st.data())
def test_packing_is_invisible(world: World, in_columns: bool, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    packed = told(world, inputs, most_packed=MOST_PACKED, in_columns=in_columns)
    assert packed == told(world, inputs, most_packed=0, in_columns=in_columns)


@given(worlds(sleepy_rules()), st.booleans(), st.data())
def test_an_edit_finds_a_group_whose_events_are_packed_where_it_would_be_anyway(
    world: World, in_columns: bool, data: st.DataObject
) -> None:
    engines = [new_engine(world.rule, world.active_us, in_columns=in_columns) for _ in range(2)]
    inputs = data.draw(edited_retellings(world, sleepy_rules()))
    found = []
    for engine, most_packed in zip(engines, (MOST_PACKED, 0), strict=True):
        with patch("alertd.engine.sleeping.MOST_PACKED", most_packed):
            found.append([(engine.step(each), frozen(engine)) for each in inputs])
    assert found[0] == found[1]


@given(late_worlds(sleepy_rules(), overdue=True), st.data())
def test_a_snapshot_of_a_group_whose_events_are_packed_changes_nothing(
    world: World, data: st.DataObject
) -> None:
    with patch("alertd.engine.sleeping.LEAST_ROOM", 2):
        check_snapshot(world, data)
