"""What holds for the engine's incidents even when events tie or come late."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from alertd.model import DetectedBy, Incident, Labels, OnNoData, Rule, Transition, TransitionKind
from tests.property.engine_worlds import (
    NUMBERS,
    World,
    expected,
    judges_on_close,
    new_engine,
    one_by_one,
    retellings,
    rules,
    tell,
    worlds,
)

Interval = tuple[int, int | None]


def plain(rule: Rule) -> Rule:
    """Return ``rule`` such that an incident is open exactly while its condition holds."""
    return msgspec.structs.replace(
        rule,
        for_us=0,
        keep_firing_us=0,
        resolve_threshold=None,
        on_no_data=OnNoData.ALERT if rule.on_no_data is OnNoData.ALERT else OnNoData.RESOLVE,
    )


@st.composite
def tied_worlds(draw: st.DrawFn) -> World:
    """Worlds in order, where every event has a twin with another value."""
    world = draw(worlds(rules().map(plain)))
    twins = draw(st.lists(NUMBERS, min_size=len(world.receipts), max_size=len(world.receipts)))
    return replace(
        world,
        receipts=tuple(
            receipt
            for first, value in zip(world.receipts, twins, strict=True)
            for receipt in (first, replace(first, value=value))
        ),
    )


@st.composite
def shuffled_worlds(draw: st.DrawFn) -> World:
    """Worlds in which any event may be late by any time."""
    world = draw(worlds())
    delays = st.one_of(st.just(0), st.integers(0, 15), st.integers(0, 90))
    receipts = tuple(replace(r, time_us=r.time_us - draw(delays)) for r in world.receipts)
    return replace(world, receipts=receipts)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the intervals in order, those that touch joined, those of no length left out."""
    joined: list[Interval] = []
    for started_us, ended_us in sorted(intervals, key=lambda interval: interval[0]):
        if started_us == ended_us:
            continue
        if joined and (joined[-1][1] is None or joined[-1][1] >= started_us):
            last_end_us = joined[-1][1]
            both = last_end_us is not None and ended_us is not None
            joined[-1] = (joined[-1][0], max(last_end_us, ended_us) if both else None)  # type: ignore[type-var]  # neither is None
        else:
            joined.append((started_us, ended_us))
    return joined


def told(world: World) -> dict[Labels, list[Transition]]:
    engine = new_engine(world.rule, world.active_us)
    by_group: dict[Labels, list[Transition]] = {}
    for transition in tell(engine, one_by_one(world)):
        by_group.setdefault(transition.group, []).append(transition)
    return by_group


def intervals(transitions: Iterable[Transition]) -> list[Interval]:
    """Return each incident's interval, as it was told last."""
    found: dict[str, Interval] = {}
    for transition in transitions:
        if transition.incident is not None:
            incident = transition.incident
            found[incident.id] = (incident.started_us, incident.ended_us)
    return list(found.values())


def last_told(by_group: dict[Labels, list[Transition]]) -> dict[Labels, list[Interval]]:
    """Return each group's intervals, without groups that have none."""
    found = {group: intervals(those) for group, those in by_group.items()}
    return {group: those for group, those in found.items() if those}


@given(tied_worlds())
def test_events_at_one_instant_leave_the_same_stretches_of_time_in_breach(world: World) -> None:
    found = {group: union(intervals(those)) for group, those in told(world).items()}
    wanted = {
        group: union((episode.started_us, episode.ended_us) for episode in those)
        for group, those in expected(world).items()
    }
    assert {group: those for group, those in found.items() if those} == wanted


@given(tied_worlds().filter(lambda world: judges_on_close(world.rule)), st.data())
def test_a_closed_window_does_not_care_in_which_order_it_was_filled(
    world: World, data: st.DataObject
) -> None:
    rule = msgspec.structs.replace(
        world.rule, aggregate=data.draw(st.sampled_from(["count", "p50", "avg", "max", "stddev"]))
    )
    if rule.min_samples == 0:
        rule = msgspec.structs.replace(rule, min_samples=1)
    forward = replace(world, rule=rule)
    # The other aggregate may make the rule one that watches from its activation on, and events
    # late: then each is judged as it comes.
    engine = new_engine(rule, world.active_us)
    tell(engine, one_by_one(forward))
    assume(engine.overdue_events == 0)
    receipts = tuple(
        receipt
        for first, twin in zip(world.receipts[::2], world.receipts[1::2], strict=True)
        for receipt in (twin, first)
    )
    assert told(replace(forward, receipts=receipts)) == told(forward)


@given(shuffled_worlds())
def test_an_incident_never_ends_before_it_fires_nor_fires_before_it_starts(world: World) -> None:
    """And one that is told while another is open was over long ago: its end is told with it."""
    for transitions in told(world).values():
        open_now: list[Incident] = []
        for transition in transitions:
            incident = transition.incident
            if transition.kind is TransitionKind.FIRING:
                assert incident is not None
                assert not open_now or incident.detected_by is DetectedBy.LATE
                if incident.continues is None:
                    assert incident.started_us + world.rule.for_us == incident.fired_us
                assert incident.started_us <= incident.fired_us
                open_now.append(incident)
            else:
                assert len(open_now) <= 1 or transition.kind is TransitionKind.RESOLVED
            if transition.kind is TransitionKind.RESOLVED:
                assert incident is not None
                assert incident.id == open_now.pop().id
                assert incident.ended_us is not None
                assert incident.fired_us <= incident.ended_us


@given(shuffled_worlds(), st.data())
def test_late_events_too_are_judged_alike_however_often_the_clock_is_looked_at(
    world: World, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(world))
    engine = new_engine(world.rule, world.active_us)
    retold: dict[Labels, list[Transition]] = {}
    for transition in tell(engine, inputs):
        retold.setdefault(transition.group, []).append(transition)
    assert last_told(retold) == last_told(told(world))
