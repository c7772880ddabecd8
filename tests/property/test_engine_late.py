"""Events that come late, but within the allowed lateness, are judged as if they had come in time.

SEMANTICS, section 6, consequences 2 and 4: for a condition that further events can only
strengthen, the incidents cover exactly what a rescan of all the data finds; for any other they
cover at least that. Nothing that was told is taken back, and a restart changes nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import replace

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Reconsider
from alertd.engine.rescan import Arrival, Episode, horizon
from alertd.model import (
    DetectedBy,
    Incident,
    Labels,
    OnNoData,
    Operator,
    Rule,
    Transition,
    TransitionKind,
)
from tests.intervals import Interval, covered
from tests.property.engine_laws import frozen, thawed, undated
from tests.property.engine_worlds import (
    SEEN_SERIES,
    Receipt,
    World,
    expected,
    group_of,
    new_engine,
    one_by_one,
    retellings,
    rules,
    sleepy_rules,
    tell,
    without_rest,
)

_STEPS = st.tuples(
    st.sampled_from([0, 0, 0, 0, 1, 2, 3]),  # the series
    st.one_of(st.just(0), st.integers(0, 8), st.integers(0, 50)),  # wall time that passes before
    st.one_of(st.integers(-3, 3), st.integers(0, 40)),  # how far behind the clock it is
    st.one_of(st.integers(-2, 5).map(float), st.sampled_from([0.1, 1e308, -1e308])),
)


@st.composite
def late_worlds(draw: st.DrawFn, rule: st.SearchStrategy[Rule], *, overdue: bool = False) -> World:
    """Events in any order of event time; unless ``overdue``, none behind the allowed lateness."""
    of_rule = draw(rule)
    active_us = draw(st.sampled_from([0, 1_700_000_000_000_003]))
    receipts: list[Receipt] = []
    heard: dict[Labels, list[Arrival]] = {}
    now_us = active_us
    for series_id, passes_us, behind_us, value in draw(st.lists(_STEPS, max_size=20)):
        now_us += passes_us
        arrivals = heard.setdefault(group_of(of_rule, series_id), [])
        judged_us = horizon(of_rule, active_us, arrivals, now_us)
        time_us = now_us - behind_us
        if judged_us is not None and not overdue:
            time_us = max(time_us, judged_us - of_rule.allowed_lateness_us + 1)
        receipts.append(Receipt(series_id, time_us, value, now_us))
        if series_id in SEEN_SERIES:
            arrivals.append(Arrival(time_us, value, now_us))
    end_us = now_us + draw(st.one_of(st.integers(0, 60), st.just(500)))
    return World(of_rule, active_us, tuple(receipts), end_us)


def is_strengthened_by_events(rule: Rule) -> bool:
    """Whether a further event can only make the rule's condition true, never false."""
    if rule.operator not in (Operator.GT, Operator.GE) or rule.on_no_data is not OnNoData.RESOLVE:
        return False
    return rule.aggregate in ("count", "max", "distinct") and rule.threshold >= 1


def strengthened(rule: Rule) -> Rule:
    """Return ``rule`` with a condition that further events can only strengthen."""
    return msgspec.structs.replace(
        rule,
        operator=Operator.GE if rule.operator is Operator.GE else Operator.GT,
        threshold=max(1.0, rule.threshold),
        resolve_threshold=None,
        on_no_data=OnNoData.RESOLVE,
    )


def contains(outer: list[Interval], inner: list[Interval]) -> bool:
    return covered([*outer, *inner]) == outer


def of_episodes(episodes: Iterable[Episode], until_us: int) -> list[Interval]:
    return covered((e.started_us, until_us if e.ended_us is None else e.ended_us) for e in episodes)


def of_incidents(incidents: Iterable[Incident], until_us: int) -> list[Interval]:
    return covered(
        (i.started_us, until_us if i.ended_us is None else i.ended_us) for i in incidents
    )


def last_seen(transitions: Iterable[Transition]) -> dict[str, Incident]:
    """Return each incident as it was seen last; check that each is told properly."""
    found: dict[str, Incident] = {}
    for transition in transitions:
        incident = transition.incident
        if incident is None:
            continue
        known = found.get(incident.id)
        assert (known is None) == (transition.kind is TransitionKind.FIRING)
        if known is not None:
            assert incident.started_us <= known.started_us
            if known.ended_us is not None:
                assert transition.kind is TransitionKind.CORRECTED
                assert incident.ended_us is not None
                assert incident.ended_us >= known.ended_us
        found[incident.id] = incident
    return found


def check(world: World, transitions: list[Transition]) -> None:
    found = last_seen(transitions)
    event(f"{min(3, len(found))} incidents")
    event(f"late: {any(i.detected_by is DetectedBy.LATE for i in found.values())}")
    wanted = expected(world)
    for labels, arrivals in world.groups().items():
        until_us = horizon(world.rule, world.active_us, arrivals, world.end_us)
        if until_us is None:
            continue
        told = of_incidents([i for i in found.values() if i.group == labels], until_us + 1)
        data = of_episodes(wanted.get(labels, []), until_us + 1)
        assert contains(told, data), (told, data)
        if is_strengthened_by_events(world.rule):
            assert told == data


@given(late_worlds(rules()))
def test_no_breach_of_the_final_data_is_missed(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    check(world, tell(engine, one_by_one(world)))
    assert engine.overdue() == []


@given(late_worlds(rules(("count", "max", "distinct")).map(strengthened)))
def test_what_events_can_only_strengthen_is_covered_exactly(world: World) -> None:
    check(world, tell(new_engine(world.rule, world.active_us), one_by_one(world)))


def told_at_once(rule: Rule) -> Rule:
    """Return ``rule`` so that events can only strengthen its condition, and nothing is pending.

    When a late event goes on with what was pending and dropped, it is not known any more how bad
    that was before the lateness.
    """
    return msgspec.structs.replace(strengthened(rule), for_us=0)


@given(late_worlds(rules(("count", "max", "distinct")).map(told_at_once)))
def test_peaks_are_those_of_the_final_data_whatever_the_order(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    check_peaks(world, tell(engine, one_by_one(world)), engine)


def check_peaks(world: World, told: list[Transition], engine: Engine) -> None:
    """What is told of each breach of the final data has its peak, if events can only add to it."""
    found = last_seen(told) | {incident.id: incident for incident in engine.open_incidents()}
    for labels, episodes in expected(world).items():
        for episode in episodes:
            peaks = [
                incident.peak_value
                for incident in found.values()
                if incident.group == labels
                and (episode.ended_us is None or incident.started_us < episode.ended_us)
                and (incident.ended_us is None or episode.started_us < incident.ended_us)
            ]
            assert max(peak for peak in peaks if peak is not None) == episode.peak_value


@given(late_worlds(rules()), st.data())
def test_late_data_is_not_missed_however_it_is_cut_and_ticked(
    world: World, data: st.DataObject
) -> None:
    check(world, tell(new_engine(world.rule, world.active_us), data.draw(retellings(world))))


@given(late_worlds(rules()), st.data())
def test_ticks_change_nothing_about_late_data(world: World, data: st.DataObject) -> None:
    inputs = one_by_one(world)
    plain = tell(new_engine(world.rule, world.active_us), inputs)
    ticked = tell(new_engine(world.rule, world.active_us), data.draw(retellings(world, cuts=False)))
    assert groups_of(undated(ticked)) == groups_of(undated(plain))


@given(late_worlds(rules(), overdue=True), st.data())
def test_a_restart_changes_nothing_about_late_data(world: World, data: st.DataObject) -> None:
    inputs = one_by_one(world)
    cut = data.draw(st.integers(0, len(inputs)))
    whole = new_engine(world.rule, world.active_us)
    tell(whole, inputs[:cut])
    restarted = thawed(frozen(whole))
    after = tell(whole, inputs[cut:])
    assert tell(restarted, inputs[cut:]) == after
    assert restarted.overdue() == whole.overdue()
    assert frozen(restarted) == frozen(whole)


@given(late_worlds(st.one_of(rules(), sleepy_rules())))
def test_nobody_can_tell_from_late_data_that_there_is_a_screen(world: World) -> None:
    screened = tell(new_engine(world.rule, world.active_us), one_by_one(world))
    with without_rest():
        plain = tell(new_engine(world.rule, world.active_us), one_by_one(world))
    assert groups_of(undated(screened)) == groups_of(undated(plain))


@given(late_worlds(st.one_of(rules(), sleepy_rules(), sleepy_rules()), overdue=True), st.data())
def test_late_data_screened_in_columns_leaves_the_same_state_byte_for_byte(
    world: World, data: st.DataObject
) -> None:
    inputs = data.draw(retellings(world))
    columnar = new_engine(world.rule, world.active_us)
    plain = new_engine(world.rule, world.active_us, in_columns=False)
    assert tell(columnar, inputs) == tell(plain, inputs)
    assert columnar.overdue() == plain.overdue()
    assert frozen(columnar) == frozen(plain)


def groups_of(transitions: list[Transition]) -> dict[Labels, list[Transition]]:
    found: dict[Labels, list[Transition]] = {}
    for transition in transitions:
        found.setdefault(transition.group, []).append(transition)
    return found


def reconciled(engine: Engine, world: World, told: list[Transition]) -> list[Transition]:
    """Do what the reconciler does, with the events of ``world`` for a store."""
    found: list[Transition] = []
    for stretch in engine.overdue():
        labels = stretch.overdue.group
        arrivals = [
            arrival
            for arrival in world.groups()[labels]
            if arrival.time_us > stretch.read_after_us
            and arrival.received_us <= world.end_us
            and (
                arrival.received_us >= stretch.received_from_us
                or arrival.time_us > stretch.warm_after_us
            )
        ]
        arrivals.sort(key=lambda arrival: arrival.time_us)
        before = [a for a in arrivals if a.received_us < stretch.received_from_us]
        known = last_seen([*told, *found]).values()
        found += engine.step(
            Reconsider(
                now_us=world.end_us,
                stretch=stretch,
                times_us=array("q", [arrival.time_us for arrival in arrivals]),
                values=array("d", [arrival.value for arrival in arrivals]),
                before_times_us=array("q", [arrival.time_us for arrival in before]),
                before_values=array("d", [arrival.value for arrival in before]),
                told=tuple(
                    sorted(
                        (
                            incident
                            for incident in known
                            if incident.group == labels
                            and (incident.ended_us is None or incident.ended_us >= stretch.from_us)
                        ),
                        key=lambda incident: incident.started_us,
                    )
                ),
            )
        )
    return found


@given(late_worlds(rules(), overdue=True))
def test_no_breach_is_missed_in_any_order_once_the_reconciler_has_run(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    told = tell(engine, one_by_one(world))
    told += reconciled(engine, world, told)
    assert engine.overdue() == []
    check(world, told)


@given(late_worlds(rules(("count", "max", "distinct")).map(told_at_once), overdue=True))
def test_peaks_are_those_of_the_complete_data_once_the_reconciler_has_run(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    told = tell(engine, one_by_one(world))
    check_peaks(world, told + reconciled(engine, world, told), engine)


@given(late_worlds(rules(), overdue=True))
def test_reconciling_again_finds_nothing_more(world: World) -> None:
    engine = new_engine(world.rule, world.active_us)
    told = tell(engine, one_by_one(world))
    overdue = [stretch.overdue for stretch in engine.overdue()]
    told += reconciled(engine, world, told)
    for each in overdue:
        engine._overdue.restore(each)
    again = reconciled(engine, world, told)
    assert [transition for transition in again if transition.kind is TransitionKind.FIRING] == []


@given(late_worlds(rules(), overdue=True), st.data())
def test_what_comes_after_a_reconciliation_is_judged_as_well(
    world: World, data: st.DataObject
) -> None:
    engine = new_engine(world.rule, world.active_us)
    inputs = one_by_one(world)
    cut = data.draw(st.integers(0, len(inputs) - 1))
    told = tell(engine, inputs[:cut])
    so_far = replace(
        world,
        receipts=world.receipts[:cut],
        end_us=world.receipts[cut - 1].received_us if cut else world.active_us,
    )
    told += reconciled(engine, so_far, told)
    told += tell(engine, inputs[cut:])
    told += reconciled(engine, world, told)
    check(world, told)
