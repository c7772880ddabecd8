"""A group that coasts, firing, through events that cannot end its breach: nobody can tell.

Peak values are what could give it away: they are found out when somebody asks. Groups are made to
try to coast at every other event, which they else do after 64.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from alertd.engine.resting import RestingGroup
from alertd.model import OnNoData, Operator, Rule, RuleType
from tests.property.engine_laws import (
    by_group,
    check_columns,
    check_snapshot,
    edited_retellings,
    rest_soon,
    tell_and_wake,
    told_both_ways,
    undated,
)
from tests.property.engine_worlds import (
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
def hot_rules(draw: st.DrawFn) -> Rule:
    """A rule that most events put in breach, or keep there."""
    is_count = draw(st.sampled_from([False, False, True]))
    aggregates = ["avg", "avg", "p50", "p90", "p25", "min", "max", "first", "last"]
    if is_count:
        comparison = draw(st.sampled_from([Operator.GT, Operator.GE]))
        threshold = float(draw(st.integers(1, 3)))
    else:
        comparison = draw(st.sampled_from([Operator.GT, Operator.GE, Operator.LT, Operator.LE]))
        is_rising = comparison in (Operator.GT, Operator.GE)
        threshold = float(draw(st.integers(-4, 0) if is_rising else st.integers(3, 6)))
    return make_rule(
        type=RuleType.SIMPLE_COUNT if is_count else RuleType.MOVING_WINDOW,
        aggregate="count" if is_count else draw(st.sampled_from(aggregates)),
        group_by=draw(st.sampled_from([(), ("host",)])),
        operator=comparison,
        threshold=threshold,
        resolve_threshold=draw(resolve_thresholds(comparison, threshold)),
        window_us=draw(st.integers(4, 80)),
        min_samples=draw(st.integers(0 if is_count else 1, 3)),
        for_us=draw(st.sampled_from([0, 0, 3])),
        keep_firing_us=draw(st.sampled_from([0, 0, 5])),
        allowed_lateness_us=draw(st.sampled_from([0, 5, 20])),
        on_no_data=draw(st.sampled_from([OnNoData.RESOLVE, OnNoData.KEEP])),
    )


def coasting_soon() -> AbstractContextManager[None]:
    """Have groups try to coast at every other event; note in the statistics whether any did."""
    return rest_soon("_coasts_through", "coasted through")


def nobody_coasting() -> AbstractContextManager[object]:
    """Let groups sleep, which may have what is overdue found early, but not coast."""
    return patch.object(RestingGroup, "_try_to_coast", lambda self: None)


@given(worlds(hot_rules()))
def test_peaks_found_out_later_are_those_of_a_brute_force_rescan(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    with coasting_soon():
        transitions = tell(engine, one_by_one(world))
    assert episodes(incidents(transitions, engine).values()) == expected(world)


@given(st.one_of(worlds(hot_rules()), late_worlds(hot_rules(), overdue=True)), st.data())
def test_coasting_is_invisible(world: World, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    engine = new_engine(world.rule, world.active_us)
    with coasting_soon():
        coasted = tell(engine, inputs)
    with nobody_coasting():
        watchful = new_engine(world.rule, world.active_us)
        plain = tell(watchful, inputs)
    assert by_group(undated(coasted)) == by_group(undated(plain))
    assert engine.open_incidents() == watchful.open_incidents()
    assert engine.overdue() == watchful.overdue()


@given(worlds(hot_rules()), st.data())
def test_an_edit_finds_a_group_that_coasts_where_it_would_be_anyway(
    world: World, data: st.DataObject
) -> None:
    changed = data.draw(edited_retellings(world, hot_rules()))
    coasted, plain = told_both_ways(world, changed, coasting_soon(), nobody_coasting())
    assert by_group(undated(coasted)) == by_group(undated(plain))


@given(st.one_of(worlds(hot_rules()), late_worlds(hot_rules(), overdue=True)), st.data())
def test_a_snapshot_of_a_group_that_coasts_changes_nothing(
    world: World, data: st.DataObject
) -> None:
    with coasting_soon():
        check_snapshot(world, data)


@given(worlds(hot_rules()))
def test_one_that_coasts_asks_to_be_woken_in_time(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    with coasting_soon():
        transitions = tell_and_wake(engine, one_by_one(world))
    assert episodes(incidents(transitions, engine).values()) == expected(world)


@given(
    st.one_of(
        worlds(hot_rules()),
        late_worlds(hot_rules(), overdue=True),
        late_worlds(forgetful(hot_rules()), overdue=True),
    ),
    st.data(),
)
def test_coasting_in_columns_leaves_the_same_state_byte_for_byte(
    world: World, data: st.DataObject
) -> None:
    with coasting_soon():
        check_columns(world, data)
