"""For data in order the engine is exact, and nobody can tell how it was driven or optimised."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Input, Tick
from alertd.model import Transition
from tests.property.engine_laws import (
    by_group,
    check_snapshot,
    frozen,
    tell_and_wake,
    undated,
    wake,
    without_peaks,
)
from tests.property.engine_worlds import (
    SEEN_SERIES,
    World,
    episodes,
    expected,
    incidents,
    new_engine,
    one_by_one,
    retellings,
    rules,
    sleepy_rules,
    tell,
    without_rest,
    worlds,
)


def told(
    world: World, inputs: list[Input], *, in_columns: bool = True
) -> tuple[list[Transition], Engine]:
    engine = new_engine(world.rule, world.active_us, in_columns=in_columns)
    return tell(engine, inputs), engine


@given(worlds())
def test_the_incidents_are_those_of_a_brute_force_rescan(world: World) -> None:
    transitions, engine = told(world, one_by_one(world))
    found = episodes(incidents(transitions, engine).values())
    event(f"{min(3, sum(map(len, found.values())))} incidents")
    assert found == expected(world)
    assert engine.overdue_events == 0


@given(worlds(), st.data())
def test_ticks_and_batch_cuts_change_nothing_but_the_time_of_detection(
    world: World, data: st.DataObject
) -> None:
    plain, _ = told(world, one_by_one(world))
    retold, engine = told(world, data.draw(retellings(world)))
    assert by_group(undated(retold)) == by_group(undated(plain))
    assert episodes(incidents(retold, engine).values()) == expected(world)


@given(worlds())
def test_whoever_ticks_when_asked_to_misses_nothing_and_is_never_kept_busy(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    transitions = tell_and_wake(engine, one_by_one(world)[:-1])
    transitions += wake(engine, world.end_us)
    # The clock alone may raise a peak, for which nobody has to be woken: who looks finds it out.
    found = episodes(incidents(transitions, engine).values())
    assert without_peaks(found) == without_peaks(expected(world))
    assert engine.step(Tick(world.end_us)) == []
    assert episodes(incidents(transitions, engine).values()) == expected(world)


@given(worlds(), st.data())
def test_a_snapshot_after_any_prefix_changes_nothing(world: World, data: st.DataObject) -> None:
    check_snapshot(world, data)


@given(worlds(st.one_of(rules(), sleepy_rules(), sleepy_rules())), st.data())
def test_screening_is_invisible(world: World, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    screened, _ = told(world, inputs)
    with without_rest():
        plain, _ = told(world, inputs)
    assert by_group(screened) == by_group(plain)


@given(worlds(st.one_of(rules(), sleepy_rules(), sleepy_rules())), st.data())
def test_screening_in_columns_leaves_the_same_state_byte_for_byte(
    world: World, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(world))
    in_columns, columnar = told(world, inputs)
    one_by_one, plain = told(world, inputs, in_columns=False)
    assert in_columns == one_by_one
    assert frozen(columnar) == frozen(plain)


@given(worlds())
def test_series_that_no_rule_sees_change_nothing(world: World) -> None:
    seen = tuple(r for r in world.receipts if r.series_id in SEEN_SERIES)
    alone = replace(world, receipts=seen)
    with_others, _ = told(world, one_by_one(world))
    without, _ = told(alone, one_by_one(alone))
    assert by_group(undated(with_others)) == by_group(undated(without))
