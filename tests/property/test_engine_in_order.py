"""For data in order the engine is exact, and nobody can tell how it was driven or optimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgpack
import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Input, Tick
from alertd.engine.rescan import Episode
from alertd.model import EventBatch, Labels, Transition
from tests.property.engine_worlds import (
    SEEN_SERIES,
    World,
    empty_engine,
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


def frozen(engine: Engine) -> bytes:
    return b"".join(msgpack.packb(item) for item in engine.dump())


def thawed(state: bytes) -> Engine:
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(state)
    engine = empty_engine()
    engine.load(unpacker)
    return engine


def undated(transitions: list[Transition]) -> list[Transition]:
    """Return transitions without what may depend on when the engine was asked to look."""
    return [
        msgspec.structs.replace(
            transition,
            detected_us=0,
            incident=transition.incident
            and msgspec.structs.replace(transition.incident, detected_us=0),
        )
        for transition in transitions
    ]


def by_group(transitions: list[Transition]) -> dict[object, list[Transition]]:
    """Return the transitions of each group: which of two groups tells first is nobody's promise."""
    found: dict[object, list[Transition]] = {}
    for transition in transitions:
        found.setdefault(transition.group, []).append(transition)
    return found


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
    transitions: list[Transition] = []
    inputs: list[Input] = [*one_by_one(world)[:-1], Tick(world.end_us)]
    for entry in inputs:
        now_us = entry.received_us if isinstance(entry, EventBatch) else world.end_us
        while (wake_us := engine.next_wake_us()) is not None and wake_us <= now_us:
            transitions += engine.step(Tick(wake_us))
            asked_us = engine.next_wake_us()
            assert asked_us is None or asked_us > wake_us
        if isinstance(entry, EventBatch):
            transitions += engine.step(entry)
    # The clock alone may raise a peak, for which nobody has to be woken: who looks finds it out.
    found = episodes(incidents(transitions, engine).values())
    assert without_peaks(found) == without_peaks(expected(world))
    assert engine.step(Tick(world.end_us)) == []
    assert episodes(incidents(transitions, engine).values()) == expected(world)


def without_peaks(found: Mapping[Labels, Sequence[Episode]]) -> dict[Labels, list[Episode]]:
    return {
        group: [each._replace(peak_value=None) for each in told] for group, told in found.items()
    }


@given(worlds(), st.data())
def test_a_snapshot_after_any_prefix_changes_nothing(world: World, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    cut = data.draw(st.integers(0, len(inputs)))
    plain, untouched = told(world, inputs)
    before, engine = told(world, inputs[:cut])
    state = frozen(engine)
    restored = thawed(state)
    assert frozen(restored) == state
    assert restored.next_wake_us() == engine.next_wake_us()
    assert before + tell(restored, inputs[cut:]) == plain
    assert frozen(restored) == frozen(untouched)


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
