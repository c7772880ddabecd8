"""A rule that starts warm goes on as one that had been there for as long as it looks back.

SEMANTICS, section 7. The oracle is the brute-force rescan, whose levels before the look back are
wiped off; what had ended when the rule became active is not told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from unittest.mock import patch

import msgspec
from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine import rescan
from alertd.engine.condition import Condition
from alertd.engine.engine import Engine
from alertd.engine.journal import Journal
from alertd.engine.plan import Plan
from alertd.engine.rescan import Arrival, Episode, Segment
from alertd.engine.timers import Timers
from alertd.model import DetectedBy, Labels, Rule, Transition
from tests.property.engine_laws import by_group, frozen, thawed, undated
from tests.property.engine_worlds import (
    World,
    empty_engine,
    episodes,
    forgetful,
    incidents,
    one_by_one,
    rules,
    sleepy_rules,
    tell,
    warm_start,
    without_rest,
    worlds,
)


@dataclass(frozen=True)
class Start:
    """A world in which the rule comes after the first ``cut`` receipts, at ``at_us``."""

    world: World
    cut: int
    at_us: int

    @property
    def before(self) -> World:
        return replace(self.world, receipts=self.world.receipts[: self.cut], end_us=self.at_us)

    @property
    def after(self) -> World:
        return replace(self.world, receipts=self.world.receipts[self.cut :])


def watches_silence(rule: Rule) -> bool:
    return Condition(rule).true_on_empty and not rule.group_by


def draw_start(draw: st.DrawFn, world: World) -> Start:
    cut = draw(st.integers(0, len(world.receipts)))
    last_us = world.receipts[cut - 1].received_us if cut else world.active_us
    next_us = world.receipts[cut].received_us if cut < len(world.receipts) else world.end_us
    at_us = draw(st.sampled_from([last_us, next_us, (last_us + next_us) // 2]))
    return Start(world, cut, at_us)


keyed_rules = st.one_of(rules(), rules(), sleepy_rules()).filter(
    lambda rule: not watches_silence(rule)
)


@st.composite
def starts(draw: st.DrawFn, rule: st.SearchStrategy[Rule] = keyed_rules) -> Start:
    """Data in order, for a rule whose groups exist by their events alone."""
    return draw_start(draw, draw(worlds(rule)))


def started(start: Start) -> tuple[Engine, list[Transition]]:
    engine = empty_engine()
    with patch("alertd.engine.window_group.BACKFILL_SLICE_EVENTS", 3):
        return engine, warm_start(engine, start.before, start.at_us)


def plan_of(start: Start) -> Plan:
    return Plan(start.world.rule, start.at_us, Journal(), Timers())


def seen_by_the_rule(start: Start) -> dict[Labels, tuple[list[Arrival], list[Arrival]]]:
    """Return what the rule may see of each group: what was stored, and that with the rest."""
    read_after_us = plan_of(start).read_after_us
    before, after = start.before.groups(), start.after.groups()
    found = {}
    for labels in before.keys() | after.keys():
        stored = [a for a in before.get(labels, []) if a.time_us > read_after_us]
        found[labels] = (stored, stored + after.get(labels, []))
    return found


def clipped(segments: list[Segment], horizon_us: int | None, start: Start) -> list[Segment]:
    """Wipe off what lies before the look back; all of it if nothing was judged since."""
    from_us = plan_of(start).look_back_us
    if horizon_us is None:
        return segments
    if horizon_us < from_us:
        return [s for s in segments if s.start_us > horizon_us]
    kept = [s for s in segments if s.end_us is None or s.end_us > from_us]
    if plan_of(start).judges_on_close:
        return [s for s in kept if s.start_us >= from_us]
    return [s._replace(start_us=max(from_us, s.start_us)) for s in kept]


def scan(
    start: Start, arrivals: list[Arrival], judged_us: int | None, now_us: int
) -> list[Episode]:
    rule = start.world.rule
    horizon_us = rescan.horizon(rule, start.at_us, arrivals, now_us)
    if horizon_us is None:
        return []
    in_order = sorted(arrivals, key=lambda arrival: arrival.time_us)
    segments = rescan._segments(rule, start.at_us, in_order, horizon_us)
    return rescan._episodes(rule, clipped(segments, judged_us, start), horizon_us)


def expected(start: Start) -> dict[Labels, list[Episode]]:
    """Return the incidents to be told: all but those that had ended at the activation."""
    found = {}
    for labels, (stored, arrivals) in seen_by_the_rule(start).items():
        judged_us = rescan.horizon(start.world.rule, start.at_us, stored, start.at_us)
        ended = {
            episode.started_us
            for episode in scan(start, stored, judged_us, start.at_us)
            if episode.ended_us is not None
        }
        in_all = scan(start, arrivals, judged_us, start.world.end_us)
        told = [episode for episode in in_all if episode.started_us not in ended]
        if told:
            found[labels] = told
    return found


@given(starts())
def test_what_holds_is_told_and_all_that_follows_is_as_if_the_rule_had_been_there(
    start: Start,
) -> None:
    engine, transitions = started(start)
    at_once = [t.incident for t in transitions if t.incident is not None]
    event(f"{min(2, len(at_once))} by backfill")
    assert all(i.detected_by is DetectedBy.BACKFILL and i.ended_us is None for i in at_once)
    assert all(i.started_us >= plan_of(start).look_back_us for i in at_once)
    assert all(i.detected_us == start.at_us for i in at_once)
    transitions += tell(engine, one_by_one(start.after))
    found = incidents(transitions, engine).values()
    event(f"{min(3, len(found))} incidents")
    assert {i.detected_by for i in found} <= {DetectedBy.BACKFILL, DetectedBy.STREAM}
    assert episodes(found) == expected(start)
    assert engine.overdue_events == 0


@given(starts())
def test_what_is_told_at_once_is_what_holds_at_the_horizon(start: Start) -> None:
    engine, _ = started(start)
    holding = {
        labels: open_now
        for labels, (stored, _) in seen_by_the_rule(start).items()
        if (judged_us := rescan.horizon(start.world.rule, start.at_us, stored, start.at_us))
        is not None
        and (
            open_now := [
                episode
                for episode in scan(start, stored, judged_us, start.at_us)
                if episode.ended_us is None
            ]
        )
    }
    assert episodes(engine.open_incidents()) == holding
    wake_us = engine.next_wake_us()
    assert wake_us is None or wake_us > start.at_us, "what is over has been judged"


@given(starts(forgetful(keyed_rules)))
def test_a_pause_longer_than_a_groups_time_parts_nothing_that_is_stored(start: Start) -> None:
    engine, _ = started(start)
    patient = msgspec.structs.replace(start.world.rule, group_ttl_us=1 << 50)
    patient_engine, _ = started(replace(start, world=replace(start.world, rule=patient)))
    (groups,), found = engine._router, episodes(engine.open_incidents())
    unforgotten = episodes(patient_engine.open_incidents())
    assert found == {
        labels: unforgotten[labels] for labels in groups.by_labels if labels in unforgotten
    }
    event(f"forgotten: {len(found) < len(unforgotten)}")


@given(starts(), st.data())
def test_a_snapshot_after_a_warm_start_changes_nothing(start: Start, data: st.DataObject) -> None:
    engine, _ = started(start)
    inputs = one_by_one(start.after)
    cut = data.draw(st.integers(0, len(inputs)))
    tell(engine, inputs[:cut])
    restored = thawed(frozen(engine))
    assert tell(restored, inputs[cut:]) == tell(engine, inputs[cut:])
    assert frozen(restored) == frozen(engine)


@given(starts())
def test_nobody_can_tell_from_a_warm_start_that_there_is_a_screen(start: Start) -> None:
    engine, screened = started(start)
    screened += tell(engine, one_by_one(start.after))
    with without_rest():
        engine, plain = started(start)
        plain += tell(engine, one_by_one(start.after))
    assert by_group(undated(screened)) == by_group(undated(plain))
