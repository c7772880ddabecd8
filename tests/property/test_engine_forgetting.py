"""Groups that have been quiet for ``groupTtlSecs`` are dropped, and nothing is missed by it.

SEMANTICS, section 7. For data in order ``test_engine_in_order.py`` has the incidents; here is
what is left in memory, and what late events find that belong with events of a dropped group.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.condition import Condition, Level
from alertd.engine.engine import Engine
from alertd.engine.rescan import Arrival, Episode, Life, horizon, lives, rescan
from alertd.model import EndReason, Labels, Rule, TransitionKind
from tests.intervals import Interval, covered
from tests.property.engine_laws import frozen, thawed, undated
from tests.property.engine_worlds import (
    World,
    forgetful,
    new_engine,
    one_by_one,
    retellings,
    rules,
    sleepy_rules,
    tell,
    without_rest,
    worlds,
)
from tests.property.test_engine_late import (
    contains,
    groups_of,
    last_seen,
    late_worlds,
    of_episodes,
    of_incidents,
    reconciled,
)

FOREVER_US = 1 << 60

any_rule = forgetful(st.one_of(rules(), rules(), sleepy_rules()))


def is_there(lives_of: Sequence[Life]) -> bool:
    return bool(lives_of) and lives_of[-1].dropped_us is None


def held(engine: Engine) -> set[Labels]:
    return {labels for groups in engine._router for labels in groups.by_labels}


@given(worlds(any_rule))
def test_a_group_is_kept_until_it_has_been_quiet_for_its_time(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    tell(engine, one_by_one(world))
    by_group = {g: lives(world.rule, those, world.end_us) for g, those in world.groups().items()}
    assert held(engine) == {labels for labels, those in by_group.items() if is_there(those)}
    dropped = [life for those in by_group.values() for life in those if life.dropped_us is not None]
    event(f"{min(3, len(dropped))} dropped")
    assert engine.dropped_groups == len(dropped)


@given(late_worlds(any_rule, overdue=True), st.data())
def test_ticks_change_nothing_about_late_data_of_groups_that_come_and_go(
    world: World, data: st.DataObject
) -> None:
    inputs = one_by_one(world)
    plain = tell(new_engine(world.rule, world.active_us), inputs)
    ticked = tell(new_engine(world.rule, world.active_us), data.draw(retellings(world, cuts=False)))
    event(f"expired: {any(t.incident and t.incident.end_reason == 'expired' for t in plain)}")
    assert groups_of(undated(ticked)) == groups_of(undated(plain))


@given(late_worlds(any_rule, overdue=True), st.data())
def test_a_restart_changes_nothing_about_groups_that_come_and_go(
    world: World, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(world))
    cut = data.draw(st.integers(0, len(inputs)))
    whole = new_engine(world.rule, world.active_us)
    tell(whole, inputs[:cut])
    restarted = thawed(frozen(whole))
    assert tell(restarted, inputs[cut:]) == tell(whole, inputs[cut:])
    assert frozen(restarted) == frozen(whole)


@given(late_worlds(any_rule, overdue=True))
def test_nobody_can_tell_from_groups_that_come_and_go_that_there_is_a_screen(world: World) -> None:
    screened = tell(new_engine(world.rule, world.active_us), one_by_one(world))
    with without_rest():
        plain = tell(new_engine(world.rule, world.active_us), one_by_one(world))
    assert groups_of(undated(screened)) == groups_of(undated(plain))


def without(interval: Interval, gap: Interval) -> list[Interval]:
    (start_us, end_us), (gone_us, back_us) = interval, gap
    return [(start_us, min(end_us, gone_us)), (max(start_us, back_us), end_us)]


def gaps(rule: Rule, active_us: int, of_group: Sequence[Life]) -> list[Interval]:
    """Return the stretches of event time in which there is no group that could be judged."""
    found = []
    for number, life in enumerate(of_group):
        if life.dropped_us is not None:
            judged_us = horizon(rule, active_us, life.arrivals, life.dropped_us)
            assert judged_us is not None
            later = [a.time_us for other in of_group[number + 1 :] for a in other.arrivals]
            found.append((judged_us, min((t for t in later if t > judged_us), default=FOREVER_US)))
    return found


def breaches(world: World, arrivals: Sequence[Arrival], judged_us: int) -> list[Interval]:
    """Return where all of a group's events are in breach, but for where there is no group.

    That is known up to ``judged_us``. What only keeps an incident from ending is no breach, and
    may end with a life.
    """
    rule = msgspec.structs.replace(
        world.rule, group_ttl_us=FOREVER_US, keep_firing_us=0, resolve_threshold=None
    )
    now_us = world.end_us
    while (reached_us := horizon(rule, world.active_us, arrivals, now_us)) is not None:
        if reached_us >= judged_us:
            break
        # Where another group was forgotten, a new one begins behind that: ahead of its own clock.
        now_us += judged_us - reached_us
    episodes: list[Episode] = rescan(rule, world.active_us, arrivals, now_us)
    until_us = judged_us + 1
    found = of_episodes(episodes, until_us)
    for gap in gaps(world.rule, world.active_us, lives(world.rule, arrivals, world.end_us)):
        found = [part for interval in found for part in without(interval, gap)]
    return covered((start_us, min(end_us, until_us)) for start_us, end_us in found)


def ends_in_silence(rule: Rule) -> bool:
    """Whether nothing goes on from one life of a group to the next."""
    condition = Condition(rule)
    return not condition.true_on_empty and condition.initial_level is not Level.HELD


@given(late_worlds(any_rule.filter(ends_in_silence), overdue=True))
def test_no_breach_is_missed_because_a_group_was_dropped_before_its_late_events_came(
    world: World,
) -> None:
    engine = new_engine(world.rule, world.active_us)
    told = tell(engine, one_by_one(world))
    judged_until = {
        group.labels: group.horizon_us(world.end_us)
        for groups in engine._router
        for group in groups.by_labels.values()
    }
    told += reconciled(engine, world, told)
    assert engine.overdue() == []
    found = last_seen(told).values()
    event(f"dropped: {min(3, engine.dropped_groups)}")
    for labels, arrivals in world.groups().items():
        of_group = lives(world.rule, arrivals, world.end_us)
        if not of_group:
            continue
        until_us = judged_until.get(labels)
        if until_us is None:
            last = of_group[-1]
            assert last.dropped_us is not None
            until_us = horizon(world.rule, world.active_us, last.arrivals, last.dropped_us)
            assert until_us is not None
        mine = of_incidents([i for i in found if i.group == labels], until_us + 1)
        data = breaches(world, arrivals, until_us)
        assert contains(mine, data), (mine, data)


@given(late_worlds(any_rule, overdue=True))
def test_an_incident_on_a_dropped_group_has_an_end_and_is_told_of_it(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    told = tell(engine, one_by_one(world))
    open_now = {incident.id for incident in engine.open_incidents()}
    for incident in last_seen(told).values():
        assert (incident.ended_us is None) == (incident.id in open_now)
    expired = [t for t in told if t.incident and t.incident.end_reason is EndReason.EXPIRED]
    assert all(t.kind in (TransitionKind.RESOLVED, TransitionKind.CORRECTED) for t in expired)
