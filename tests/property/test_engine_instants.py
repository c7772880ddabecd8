"""Events of one instant are judged together, whatever the group does when they come.

The worlds of other files have hardly an instant with more than one event of a group. Here batches
have many, and none tears an instant apart: what comes later at an instant that was judged is late.
"""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.inputs import Input, Tick
from tests.property.engine_laws import by_group, frozen
from tests.property.engine_worlds import (
    NUMBERS,
    Receipt,
    World,
    batch,
    episodes,
    expected,
    incidents,
    new_engine,
    rules,
    sleepy_rules,
    tell,
    without_rest,
)

_EVENTS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1]), st.sampled_from([0, 0, 0, 1, 2]), NUMBERS),
    min_size=1,
    max_size=8,
)
"""Each with its series, the time since the one before it in its batch, and its value."""
_BATCHES = st.lists(st.tuples(st.sampled_from([1, 2, 5, 9]), _EVENTS), min_size=1, max_size=6)
"""Each with the time since the newest event of the one before it."""


@st.composite
def crowded(draw: st.DrawFn) -> tuple[World, list[Input]]:
    """A rule and events in order, received just when the newest of their batch happens."""
    rule = draw(st.one_of(rules(), sleepy_rules(), sleepy_rules(), sleepy_rules()))
    receipts: list[Receipt] = []
    inputs: list[Input] = []
    received_us = 0
    for passes_us, events in draw(_BATCHES):
        spread_us = min(passes_us, rule.allowed_lateness_us) - 1  # else the clock passes the first
        times_us = [max(0, spread_us)]
        for _, step_us, _ in events[1:]:
            times_us.append(max(0, times_us[-1] - step_us))
        received_us += passes_us
        together = [
            Receipt(series_id, received_us - before_us + times_us[-1], value, received_us)
            for (series_id, _, value), before_us in zip(events, times_us, strict=True)
        ]
        receipts += together
        inputs.append(batch(together))
    world = World(rule, 0, tuple(receipts), received_us + draw(st.integers(0, 60)))
    return world, [*inputs, Tick(world.end_us)]


@given(crowded())
def test_nobody_can_tell_from_a_crowded_instant_that_groups_rest(
    told: tuple[World, list[Input]],
) -> None:
    world, inputs = told
    resting = tell(new_engine(world.rule, world.active_us), inputs)
    with without_rest():
        plain = tell(new_engine(world.rule, world.active_us), inputs)
    event(f"{min(3, len(plain))} transitions")
    assert by_group(resting) == by_group(plain)


@given(crowded())
def test_what_is_screened_in_columns_leaves_the_same_state_behind_crowded_instants(
    told: tuple[World, list[Input]],
) -> None:
    world, inputs = told
    columnar = new_engine(world.rule, world.active_us)
    plain = new_engine(world.rule, world.active_us, in_columns=False)
    assert tell(columnar, inputs) == tell(plain, inputs)
    assert frozen(columnar) == frozen(plain)


@given(crowded())
def test_crowded_instants_have_the_incidents_of_a_brute_force_rescan(
    told: tuple[World, list[Input]],
) -> None:
    world, inputs = told
    engine = new_engine(world.rule, world.active_us)
    found = episodes(incidents(tell(engine, inputs), engine).values())
    assert found == expected(world)
