"""A dump is of the instant at which it was asked for, whatever is stepped while it is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.engine.dump import DumpEnded
from alertd.engine.inputs import RulesChanged
from tests.property.engine_laws import check_snapshot, edited_retellings
from tests.property.engine_worlds import World, new_engine, one_by_one, rules, sleepy_rules, tell
from tests.property.test_engine_late import late_worlds


@given(late_worlds(st.one_of(rules(), sleepy_rules()), overdue=True), st.data())
def test_what_is_stepped_while_a_dump_is_taken_is_not_in_it(
    world: World, data: st.DataObject
) -> None:
    inputs = one_by_one(world)
    cut = data.draw(st.integers(0, len(inputs)))
    engine, twin = new_engine(world.rule, world.active_us), new_engine(world.rule, world.active_us)
    tell(engine, inputs[:cut])
    tell(twin, inputs[:cut])
    at_once = list(twin.dump())
    items, taken = iter(engine.dump()), []
    for event in inputs[cut:]:
        taken += [item for _, item in zip(range(data.draw(st.integers(0, 2))), items, strict=False)]
        assert engine.step(event) == twin.step(event)
    taken += items
    assert taken == at_once
    assert list(engine.dump()) == list(twin.dump())


@given(late_worlds(rules()))
def test_a_change_of_rules_ends_a_dump(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    tell(engine, one_by_one(world))
    items = iter(engine.dump())
    next(items)
    engine.step(RulesChanged(at_us=world.end_us + 1, put=(world.rule,)))
    with pytest.raises(DumpEnded):
        list(items)
    assert list(engine.dump())


@given(late_worlds(st.one_of(rules(), sleepy_rules())), st.data())
def test_a_snapshot_before_or_behind_an_edit_changes_nothing(
    world: World, data: st.DataObject
) -> None:
    check_snapshot(world, data, data.draw(edited_retellings(world, rules())))
