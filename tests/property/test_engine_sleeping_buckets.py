"""A bucketed group that sleeps, and lets windows close without a look: nobody can tell.

Groups look often after what they keep, which they else do after 64 events.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Input
from alertd.engine.resting_bucketed import RestingBucketedGroup
from alertd.model import Evaluate, Limits, OnNoData, Operator, Rule, RuleType
from tests.property.engine_laws import (
    by_group,
    check_columns,
    check_snapshot,
    edited_retellings,
    now_of,
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
    without_rest,
    worlds,
)
from tests.property.test_engine_late import late_worlds, reconciled


@st.composite
def bucket_rules(draw: st.DrawFn) -> Rule:
    """A rule that judges short windows when they close, of which most are quiet."""
    aggregate = draw(
        st.sampled_from(
            [
                *("avg", "avg", "p50", "min", "max", "first", "last", "count", "sum"),
                *("stddev", "stddev", "delta"),
            ]
        )
    )
    is_rising = aggregate in ("count", "sum", "stddev", "delta") or draw(st.booleans())
    comparison = draw(
        st.sampled_from([Operator.GT, Operator.GE] if is_rising else [Operator.LT, Operator.LE])
    )
    threshold = float(draw(st.integers(2, 6) if is_rising else st.integers(-2, 1)))
    threshold *= {"sum": 4, "stddev": 0.25}.get(aggregate, 1)
    bucket_us = draw(st.integers(2, 12))
    return make_rule(
        type=RuleType.BUCKETED_WINDOW,
        evaluate=Evaluate.ON_CLOSE,
        group_by=draw(st.sampled_from([(), ("host",)])),
        aggregate=aggregate,
        operator=comparison,
        threshold=threshold,
        resolve_threshold=draw(resolve_thresholds(comparison, threshold)),
        window_us=bucket_us * draw(st.integers(1, 4)),
        bucket_us=bucket_us,
        min_samples=draw(st.integers(1, 3)),
        for_us=draw(st.sampled_from([0, 0, 3, 15])),
        keep_firing_us=draw(st.sampled_from([0, 0, 3, 15])),
        allowed_lateness_us=draw(st.sampled_from([0, 5, 12, 30])),
        on_no_data=draw(st.sampled_from([OnNoData.RESOLVE, OnNoData.RESOLVE, OnNoData.KEEP])),
    )


ANY_WORLD = st.one_of(
    worlds(bucket_rules()),
    late_worlds(bucket_rules()),
    late_worlds(bucket_rules(), overdue=True),
    late_worlds(forgetful(bucket_rules()), overdue=True),
)


@contextmanager
def looked_after_often() -> Iterator[None]:
    """Note in the statistics how many groups slept, and how many of them woke."""
    slept = woken = 0
    fall_asleep, wake_up = RestingBucketedGroup._fall_asleep, RestingBucketedGroup._wake_up

    def fall(self: RestingBucketedGroup) -> None:
        nonlocal slept
        slept += 1
        fall_asleep(self)

    def wake(self: RestingBucketedGroup, now_us: int) -> None:
        nonlocal woken
        woken += self._asleep
        wake_up(self, now_us)

    with (
        patch("alertd.engine.sleeping.LEAST_ROOM", 2),
        patch("alertd.engine.sleepers.LEAST_ROOM", 2),
        patch.object(RestingBucketedGroup, "_fall_asleep", fall),
        patch.object(RestingBucketedGroup, "_wake_up", wake),
    ):
        yield
    event(f"{min(3, slept)} slept")
    event(f"{min(3, woken)} woke")


def seen(world: World, inputs: list[Input], *, in_columns: bool = True) -> list[object]:
    """Return what follows from each input, and what else anybody can know then."""
    engine = new_engine(world.rule, world.active_us, in_columns=in_columns)
    return [seen_after(engine, world.rule, each) for each in inputs]


def seen_after(engine: Engine, rule: Rule, each: Input) -> tuple[object, ...]:
    told = by_group(engine.step(each))
    states = engine.group_states(rule.id, now_of(each))
    return told, states, engine.overdue(), engine.open_incidents(), len(list(engine.observed()))


@given(ANY_WORLD, st.booleans(), st.data())
def test_sleeping_is_invisible(world: World, in_columns: bool, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    with looked_after_often():
        slept = seen(world, inputs, in_columns=in_columns)
    with without_rest():
        assert slept == seen(world, inputs)


@given(ANY_WORLD, st.data())
def test_what_the_reconciler_finds_is_the_same(world: World, data: st.DataObject) -> None:
    inputs = data.draw(retellings(world))
    with looked_after_often():
        engine = new_engine(world.rule, world.active_us)
        slept = tell(engine, inputs)
        slept += reconciled(engine, world, slept)
    with without_rest():
        watchful = new_engine(world.rule, world.active_us)
        plain = tell(watchful, inputs)
        plain += reconciled(watchful, world, plain)
    assert by_group(slept) == by_group(plain)


@given(ANY_WORLD, st.data())
def test_an_edit_finds_a_group_that_sleeps_where_it_would_be_anyway(
    world: World, data: st.DataObject
) -> None:
    changed = data.draw(edited_retellings(world, bucket_rules()))
    slept, plain = told_both_ways(world, changed, looked_after_often(), without_rest())
    assert by_group(slept) == by_group(plain)


@given(ANY_WORLD, st.data())
def test_a_snapshot_of_a_group_that_sleeps_changes_nothing(
    world: World, data: st.DataObject
) -> None:
    with looked_after_often():
        check_snapshot(world, data)


@given(ANY_WORLD, st.data())
def test_sleeping_in_columns_leaves_the_same_state_byte_for_byte(
    world: World, data: st.DataObject
) -> None:
    with looked_after_often():
        check_columns(world, data)


@given(worlds(bucket_rules()))
def test_one_that_sleeps_asks_to_be_woken_in_time(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    with looked_after_often():
        transitions = tell_and_wake(engine, one_by_one(world))
    assert episodes(incidents(transitions, engine).values()) == expected(world)


@given(late_worlds(bucket_rules(), overdue=True), st.integers(1, 6), st.data())
def test_limits_refuse_a_group_that_sleeps_the_same(
    world: World, most: int, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(world))
    limits = Limits(events_per_group=most)

    def refused() -> tuple[object, list[int]]:
        engine = new_engine(world.rule, world.active_us, limits=limits)
        told = by_group(undated(tell(engine, inputs)))
        return told, [each.overflow_events for _, each in engine.observed()]

    with looked_after_often():
        slept = refused()
    with without_rest():
        assert slept == refused()
