"""Limits refuse the newcomer, by the order of the events alone, and everything else goes on.

What a limit lets in is worked out by a plain simulation; the incidents must be those of a world
in which the rest never came. In that world the clock goes by what was let in alone, so an event
may be late in it that had come in time: then it corrects, as late events do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.rescan import Arrival, horizon, lives
from alertd.model import Evaluate, Labels, Limits
from tests.property.engine_laws import by_group, frozen, thawed, undated
from tests.property.engine_worlds import (
    SEEN_SERIES,
    Receipt,
    World,
    comes_in_time,
    episodes,
    expected,
    forgetful,
    group_of,
    incidents,
    judges_on_close,
    new_engine,
    one_by_one,
    retellings,
    rules,
    sleepy_rules,
    tell,
    without_rest,
    worlds,
)
from tests.property.test_engine_late import late_worlds

any_rule = st.one_of(rules(), sleepy_rules())
grouped = any_rule.filter(lambda rule: bool(rule.group_by))


@dataclass(frozen=True)
class Limited:
    """A world, what is kept at most, and whatever of it is refused."""

    world: World
    limits: Limits
    admitted: World

    @property
    def refused(self) -> int:
        return len(self.world.receipts) - len(self.admitted.receipts)


def new_limited_engine(limited: Limited, *, in_columns: bool = True) -> Engine:
    world = limited.world
    return new_engine(world.rule, world.active_us, limits=limited.limits, in_columns=in_columns)


@st.composite
def few_groups(draw: st.DrawFn, of: st.SearchStrategy[World]) -> Limited:
    """Worlds of more groups than there may be at a time."""
    world = draw(of)
    limits = Limits(groups_per_rule=draw(st.integers(1, 2)))
    admitted = tuple(of_few_groups(world, limits.groups_per_rule))
    return Limited(world, limits, replace(world, receipts=admitted))


def of_few_groups(world: World, limit: int) -> Iterator[Receipt]:
    heard: dict[Labels, list[Arrival]] = {}
    for receipt in world.receipts:
        labels = group_of(world.rule, receipt.series_id)
        alive = {
            other
            for other, arrivals in heard.items()
            if lives(world.rule, arrivals, receipt.received_us)[-1].dropped_us is None
        }
        if receipt.series_id in SEEN_SERIES:
            if labels not in alive and len(alive) >= limit:
                continue
            arrival = Arrival(receipt.time_us, receipt.value, receipt.received_us)
            heard.setdefault(labels, []).append(arrival)
        yield receipt


@st.composite
def small_buffers(draw: st.DrawFn, of: st.SearchStrategy[World]) -> Limited:
    """Worlds of more events than a group may keep."""
    world = draw(of)
    limits = Limits(events_per_group=draw(st.integers(1, 4)))
    admitted = tuple(of_small_buffers(world, limits.events_per_group))
    return Limited(world, limits, replace(world, receipts=admitted))


def of_small_buffers(world: World, limit: int) -> Iterator[Receipt]:
    rule = world.rule
    span_us = rule.window_us + (rule.bucket_us if rule.evaluate is Evaluate.EARLY else 0)
    lateness_us = (
        rule.allowed_lateness_us if judges_on_close(rule) else max(1, rule.allowed_lateness_us)
    )
    heard: dict[Labels, list[Arrival]] = {}
    for receipt in world.receipts:
        if receipt.series_id in SEEN_SERIES:
            arrivals = heard.setdefault(group_of(rule, receipt.series_id), [])
            judged_us = horizon(rule, world.active_us, arrivals, receipt.received_us)
            horizon_us = world.active_us if judged_us is None else judged_us
            needed = [a for a in arrivals if a.time_us > horizon_us - lateness_us - span_us]
            if len(needed) >= limit:
                continue
            arrivals.append(Arrival(receipt.time_us, receipt.value, receipt.received_us))
        yield receipt


limited_worlds = st.one_of(
    few_groups(worlds(st.one_of(grouped, forgetful(grouped)))), small_buffers(worlds(any_rule))
)
limited_late_worlds = st.one_of(
    few_groups(late_worlds(grouped, overdue=True)),
    small_buffers(late_worlds(any_rule, overdue=True)),
)


@given(st.one_of(limited_worlds, limited_worlds, limited_late_worlds))
def test_the_incidents_are_those_of_a_world_in_which_the_refused_never_came(
    limited: Limited,
) -> None:
    engine = new_limited_engine(limited)
    transitions = tell(engine, one_by_one(limited.world))
    event(f"{min(3, limited.refused)} refused")
    refused = sum(o.newcomer_events + o.overflow_events for _, o in engine.observed())
    assert refused == limited.refused
    unlimited = new_engine(limited.world.rule, limited.world.active_us)
    without_refused = tell(unlimited, one_by_one(limited.admitted))
    assert by_group(undated(transitions)) == by_group(undated(without_refused))
    assert engine.overdue() == unlimited.overdue()
    if comes_in_time(limited.admitted):
        assert episodes(incidents(transitions, engine).values()) == expected(limited.admitted)
    else:
        event("late in the world without the refused")


@given(limited_worlds, st.data())
def test_who_is_refused_does_not_depend_on_ticks_batches_or_the_screen(
    limited: Limited, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(limited.world))
    plain = tell(new_limited_engine(limited), one_by_one(limited.world))
    retold = tell(new_limited_engine(limited), inputs)
    assert by_group(undated(retold)) == by_group(undated(plain))
    with without_rest():
        unscreened = tell(new_limited_engine(limited), inputs)
    assert by_group(undated(unscreened)) == by_group(undated(plain))


@given(st.one_of(limited_worlds, limited_late_worlds), st.data())
def test_limited_groups_screened_in_columns_are_in_the_same_state_byte_for_byte(
    limited: Limited, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(limited.world))
    columnar, plain = (new_limited_engine(limited, in_columns=way) for way in (True, False))
    assert tell(columnar, inputs) == tell(plain, inputs)
    assert frozen(columnar) == frozen(plain)


@given(limited_worlds, st.data())
def test_a_restart_refuses_the_same_events(limited: Limited, data: st.DataObject) -> None:
    inputs = data.draw(retellings(limited.world))
    cut = data.draw(st.integers(0, len(inputs)))
    whole = new_limited_engine(limited)
    tell(whole, inputs[:cut])
    restarted = thawed(frozen(whole))
    assert restarted.limits == limited.limits
    assert tell(restarted, inputs[cut:]) == tell(whole, inputs[cut:])
    assert frozen(restarted) == frozen(whole)


@given(late_worlds(any_rule, overdue=True), st.integers(1, 3), st.data())
def test_late_events_are_refused_alike_however_often_the_clock_is_looked_at(
    world: World, limit: int, data: st.DataObject
) -> None:
    limits = Limits(events_per_group=limit, groups_per_rule=2)
    limited = Limited(world, limits, world)
    plain = tell(new_limited_engine(limited), one_by_one(world))
    engine = new_limited_engine(limited)
    ticked = tell(engine, data.draw(retellings(world, cuts=False)))
    assert by_group(undated(ticked)) == by_group(undated(plain))
    kept = [g._events.times for each in engine._router for g in each.by_labels.values()]  # type: ignore[attr-defined]  # behind the seam
    assert max(map(len, kept), default=0) <= 64 + limit
