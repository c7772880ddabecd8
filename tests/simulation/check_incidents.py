"""What must be true of incidents: those of a run without crashes, and every breach among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from alertd.engine.engine import Engine
from alertd.engine.rescan import Arrival, Episode, horizon, rescan
from alertd.engine.window import BEFORE_TIME_US
from alertd.engine.window_group import WindowGroup
from alertd.model import EventBatch, Labels, OnNoData, Operator, Rule
from tests.intervals import Interval, covered
from tests.simulation.chronicle import IncidentRow
from tests.simulation.remains import Checker, GroupKey, Remains, fixed_rules
from tests.simulation.story import Story


def incidents_are_those_of_a_run_without_crashes(story: Story, remains: Remains) -> Iterator[str]:
    """Where nothing was left to the reconciler, which comes when it comes."""
    overdue, told = remains.overdue, defaultdict(set)
    for row in remains.incidents:
        if (row.rule_id, row.group) not in overdue:
            told[row.rule_id, row.group].add(
                (row.id, row.started_us, row.fired_us, row.ended_us, row.end_reason)
            )
    wanted = defaultdict(set)
    for each in remains.seen.values():
        if (each.rule_id, each.group) not in overdue:
            reason = None if each.end_reason is None else each.end_reason.value
            wanted[each.rule_id, each.group].add(
                (each.id, each.started_us, each.fired_us, each.ended_us, reason)
            )
    for key in sorted(told.keys() | wanted.keys()):
        if told[key] != wanted[key]:
            missing, invented = wanted[key] - told[key], told[key] - wanted[key]
            yield f"incidents of {key}: missing {sorted(missing)}, invented {sorted(invented)}"


def every_breach_is_covered(story: Story, remains: Remains) -> Iterator[str]:
    """For rules that nobody edited, by ``rescan``: in any order of arrival."""
    hosts = [dict(series.labels).get("host", "") for series in remains.series]
    for rule, active_us in fixed_rules(story, remains):
        for labels, arrivals in arrivals_of(rule, remains, hosts, active_us).items():
            until_us = horizon(rule, active_us, arrivals, remains.now_us)
            if until_us is None:
                continue
            wanted = covered(_ends(rescan(rule, active_us, arrivals, remains.now_us), until_us + 1))
            told = covered(
                _ends(
                    (
                        row
                        for row in remains.incidents
                        if row.rule_id == rule.id and row.group == labels
                    ),
                    until_us + 1,
                )
            )
            if covered([*told, *wanted]) != told:
                yield f"breaches of {rule.name} {labels}: {wanted}, but told was only {told}"
            elif is_strengthened_by_events(rule) and told != wanted:
                yield f"breaches of {rule.name} {labels}: {wanted}, but told was {told}"


def arrivals_of(
    rule: Rule, remains: Remains, hosts: list[str], active_us: int
) -> dict[Labels, list[Arrival]]:
    """Return what a rule sees, by group."""
    groups: dict[Labels, list[Arrival]] = {} if rule.group_by else {(): []}
    for entry in remains.log:
        body = entry.body
        if not isinstance(body, EventBatch):
            continue
        for number, time_us, value in zip(body.series_ids, body.times_us, body.values, strict=True):
            labels = (("host", hosts[number]),) if rule.group_by else ()
            groups.setdefault(labels, []).append(Arrival(time_us, value, body.received_us))
    return groups


def is_strengthened_by_events(rule: Rule) -> bool:
    """Whether a further event can only make the rule's condition true, never false."""
    if rule.operator not in (Operator.GT, Operator.GE) or rule.on_no_data is not OnNoData.RESOLVE:
        return False
    return rule.aggregate in ("count", "max") and rule.threshold >= 1


def _ends(found: Iterable[Episode | IncidentRow], until_us: int) -> Iterator[Interval]:
    for each in found:
        yield each.started_us, until_us if each.ended_us is None else each.ended_us


def the_state_is_that_of_a_replay(story: Story, remains: Remains) -> Iterator[str]:
    """But for groups that the reconciler has been at, which a replay has not."""
    live = states(remains.live, remains.now_us)
    replayed = states(remains.replayed, remains.now_us)
    for key in sorted(live.keys() | replayed.keys()):
        if key not in remains.overdue and live.get(key) != replayed.get(key):
            yield f"state of {key}: live {live.get(key)}, replayed {replayed.get(key)}"


def states(engine: Engine, now_us: int) -> dict[GroupKey, object]:
    """Return of each group its clock, where it stands, and what is open on it."""
    found: dict[GroupKey, object] = {}
    for groups in engine._router:
        for labels, group in groups.by_labels.items():
            assert isinstance(group, WindowGroup)
            incident = group.lifecycle.incident
            if group._newest_us == BEFORE_TIME_US:
                continue  # somebody asked for its route; it has no state yet
            found[groups.plan.rule.id, labels] = (
                (group._newest_us, group._raised_us, group._first_us),
                group.state(now_us),
                None if incident is None else (incident.id, incident.started_us),
            )
    return found


CHECKS: Final[tuple[Checker, ...]] = (
    incidents_are_those_of_a_run_without_crashes,
    every_breach_is_covered,
    the_state_is_that_of_a_replay,
)
