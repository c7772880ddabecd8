"""A group that cruises, because its value keeps to a band, where each event could matter.

Nobody can tell it from one that judges every change point, by anything that it tells. Values and
thresholds are such that windows come near the limits of their bands, and onto them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from alertd.engine.resting import RestingGroup
from alertd.model import OnNoData, Operator, Rule, RuleType
from tests.property.engine_laws import (
    by_group,
    check_snapshot,
    edited_retellings,
    rest_soon,
    tell_and_wake,
    told_both_ways,
    without_peaks,
)
from tests.property.engine_worlds import (
    NUMBERS,
    Receipt,
    World,
    episodes,
    expected,
    forgetful,
    incidents,
    make_rule,
    new_engine,
    one_by_one,
    resolve_thresholds,
    retellings,
    tell,
    worlds,
)
from tests.property.test_engine_late import late_worlds


@st.composite
def even_rules(draw: st.DrawFn) -> Rule:
    """A rule whose threshold lies in the midst of the values."""
    aggregate = draw(st.sampled_from(["avg", "avg", "sum", "rate", "p50", "p90", "p25", "last"]))
    comparison = draw(st.sampled_from(Operator))
    threshold = draw(st.one_of(st.sampled_from([0.5, 1.0, 2.0]), NUMBERS))
    return make_rule(
        type=RuleType.MOVING_WINDOW,
        aggregate=aggregate,
        group_by=draw(st.sampled_from([(), ("host",)])),
        operator=comparison,
        threshold=threshold,
        resolve_threshold=draw(resolve_thresholds(comparison, threshold)),
        window_us=draw(st.integers(4, 80)),
        min_samples=draw(st.integers(0 if aggregate in ("sum", "rate") else 1, 3)),
        for_us=draw(st.sampled_from([0, 0, 3])),
        keep_firing_us=draw(st.sampled_from([0, 0, 5])),
        allowed_lateness_us=draw(st.sampled_from([0, 5, 20])),
        on_no_data=draw(st.sampled_from(OnNoData)),
    )


@contextmanager
def cruising_soon() -> Iterator[None]:
    """Have groups look after their columns often; note in the statistics whether any cruised."""
    with (
        patch("alertd.engine.window._TRIM_AT_LEAST", 2),
        rest_soon("_cruises_through", "cruised through"),
    ):
        yield


def nobody_cruising() -> AbstractContextManager[object]:
    return patch.object(RestingGroup, "_try_to_cruise", lambda self: None)


@st.composite
def steady_worlds(draw: st.DrawFn, steps_us: Sequence[int] = (0, 1, 1, 2, 5)) -> World:
    """Many events of one group, each soon after the one before, and received as it happens."""
    rule = draw(even_rules())
    now_us = active_us = draw(st.sampled_from([0, 1_700_000_000_000_003]))
    receipts = []
    values = st.one_of(st.sampled_from([0.0, 0.1, 1.0, 2.0, 3.0]), NUMBERS)
    steps = st.lists(st.tuples(st.sampled_from(steps_us), values), min_size=10, max_size=40)
    for step_us, value in draw(steps):
        now_us += step_us
        receipts.append(Receipt(0, now_us, value, now_us))
    return World(rule, active_us, tuple(receipts), now_us + 200)


orderly_world = st.one_of(worlds(even_rules()), steady_worlds((1, 1, 2, 5)))
any_world = st.one_of(
    steady_worlds(),
    steady_worlds(),
    worlds(even_rules()),
    late_worlds(even_rules(), overdue=True),
    late_worlds(forgetful(even_rules()), overdue=True),
)


@given(orderly_world)
def test_what_cruises_finds_what_a_brute_force_rescan_does(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    with cruising_soon():
        transitions = tell(engine, one_by_one(world))
    assert episodes(incidents(transitions, engine).values()) == expected(world)


@given(any_world, st.data())
def test_cruising_is_invisible(world: World, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    engine, watchful = (new_engine(world.rule, world.active_us) for _ in range(2))
    with cruising_soon():
        cruised = tell(engine, inputs)
    with nobody_cruising():
        plain = tell(watchful, inputs)
    assert by_group(cruised) == by_group(plain)
    assert engine.open_incidents() == watchful.open_incidents()
    assert engine.overdue() == watchful.overdue()


@given(orderly_world, st.data())
def test_an_edit_finds_a_group_that_cruises_where_it_would_be_anyway(
    world: World, data: st.DataObject
) -> None:
    changed = data.draw(edited_retellings(world, even_rules()))
    cruised, plain = told_both_ways(world, changed, cruising_soon(), nobody_cruising())
    assert by_group(cruised) == by_group(plain)


@given(any_world, st.data())
def test_a_snapshot_of_a_group_that_cruises_changes_nothing(
    world: World, data: st.DataObject
) -> None:
    with cruising_soon():
        check_snapshot(world, data)


@given(orderly_world)
def test_one_that_cruises_asks_to_be_woken_in_time(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    with cruising_soon():
        transitions = tell_and_wake(engine, one_by_one(world))
    found = episodes(incidents(transitions, engine).values())
    assert without_peaks(found) == without_peaks(expected(world))
