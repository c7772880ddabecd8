"""What must be true at the end of every world, whatever happened in it.

Each checker takes what was seen from outside (``Story``) and what is left on disk (``Remains``)
and yields what is wrong, in words. They know nothing of how the daemon works; what the incidents
should be they ask a replay of the whole log in one go, and ``rescan``, which is the contract by
brute force.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import apsw
import msgspec

from alertd.channels.message import IncidentView
from alertd.engine.engine import Engine
from alertd.engine.group import WindowGroup
from alertd.engine.inputs import Tick
from alertd.engine.rescan import Arrival, Episode, horizon, rescan
from alertd.engine.window import BEFORE_TIME_US
from alertd.model import EventBatch, Incident, Labels, OnNoData, Operator, Rule, Series
from alertd.pipeline.backfill import start_warm
from alertd.pipeline.evaluator import rules_changed
from alertd.rules import RuleChange, compile_rule
from alertd.store.protocols import LogEntry
from alertd.store.store import Store
from tests.simulation.story import EventName, Story

GroupKey = tuple[str, Labels]
Interval = tuple[int, int]


class IncidentRow(NamedTuple):
    """An incident as the database has it."""

    id: str
    rule_id: str
    group: Labels
    started_us: int
    fired_us: int
    ended_us: int | None
    end_reason: str | None
    merged_into: str | None


class NotificationRow(NamedTuple):
    """A notification as the database has it, with the message that tells it."""

    seq: int
    key: str | None
    """The message's idempotency key."""
    incident_id: str
    kind: str
    channel: str
    status: str | None
    """None: it is, or was to the end, held back."""
    attempts: int | None
    held_by: str | None
    waits: bool
    """Whether it is to be looked at again."""


@dataclass
class Remains:
    """What is left when the daemon has stopped for good."""

    log: list[LogEntry]
    series: list[Series]
    incidents: list[IncidentRow]
    notifications: list[NotificationRow]
    now_us: int
    live: Engine
    """The engine as the last life left it."""
    replayed: Engine
    """A new one that was told the whole log in one go."""
    seen: dict[str, Incident]
    """Every incident that the replay found, as it saw it last."""
    overdue: set[GroupKey]
    """The groups that ever had events behind the allowed lateness: they were the reconciler's."""


async def remains_of(store: Store, live: Engine, now_us: int) -> Remains:
    """Read what is left in ``store``, and replay its log; ``now_us`` is the time by then."""
    series = await store.events.all_series()
    log = [entry async for entry in store.events.replay(0)]
    replayed, seen = Engine(lambda number: series[number]), dict[str, Incident]()
    overdue = set[GroupKey]()
    for entry in log:
        if isinstance(entry.body, RuleChange):
            found = replayed.step(rules_changed(entry.body))
            found += await start_warm(
                replayed,
                store.events,
                series_count=len(series),
                at_us=entry.body.at_us,
                position=entry.position,
            )
        else:
            found = replayed.step(entry.body)
        seen |= {t.incident.id: t.incident for t in found if t.incident is not None}
        overdue.update(replayed._overdue)
    found = replayed.step(Tick(now_us))
    seen |= {t.incident.id: t.incident for t in found if t.incident is not None}
    live.step(Tick(now_us))

    def read(connection: apsw.Connection) -> tuple[list[IncidentRow], list[NotificationRow]]:
        incidents = [
            IncidentRow(incident_id, rule_id, _labels(group), *rest)
            for incident_id, rule_id, group, *rest in connection.execute(
                "SELECT id, rule_id, group_labels, started_us, fired_us, ended_us, end_reason, "
                "merged_into FROM incidents ORDER BY started_us, id"
            )
        ]
        notifications = [
            NotificationRow(*row)
            for row in connection.execute(
                "SELECT n.seq, m.id, n.incident_id, n.kind, n.channel, m.status, m.attempts, "
                "n.held_by, n.look_us IS NOT NULL AND n.message_seq IS NULL "
                "FROM notifications n LEFT JOIN messages m ON m.seq = n.message_seq ORDER BY n.seq"
            )
        ]
        return incidents, notifications

    incidents, notifications = await store.writer.run("read what is left", read)
    return Remains(log, series, incidents, notifications, now_us, live, replayed, seen, overdue)


def _labels(text: str) -> Labels:
    return tuple(msgspec.json.decode(text, type=dict[str, str]).items())


def findings(story: Story, remains: Remains) -> list[str]:
    """Return everything that is wrong with a world."""
    return [*story.findings, *(f for check in CHECKS for f in check(story, remains))]


# ---- events


def stored_events(remains: Remains) -> Counter[EventName]:
    """Return how often each event is in the log."""
    hosts = [dict(series.labels).get("host", "") for series in remains.series]
    return Counter(
        (hosts[series_id], time_us)
        for entry in remains.log
        if isinstance(entry.body, EventBatch)
        for series_id, time_us in zip(entry.body.series_ids, entry.body.times_us, strict=True)
    )


def nothing_acknowledged_is_lost(story: Story, remains: Remains) -> Iterator[str]:
    stored = stored_events(remains)
    for request in story.requests:
        if request.answers:
            for name, _ in request.good:
                if not stored[name]:
                    yield f"event {name} of request {request.number} was acknowledged and is lost"


def nothing_is_stored_twice(story: Story, remains: Remains) -> Iterator[str]:
    stored, known = stored_events(remains), set[EventName]()
    for request in story.requests:
        most = 1 if request.key is not None else len(request.answers) + request.unanswered
        for name, event in request.good:
            known.add(name)
            if stored[name] > (1 if event.has_id else most):
                yield f"event {name} of request {request.number} is stored {stored[name]} times"
    for name in stored:
        if name not in known:
            yield f"event {name} is stored and was never sent, or should have been refused"


def positions_have_no_gaps_and_time_goes_forward(story: Story, remains: Remains) -> Iterator[str]:
    received_us = 0
    for place, entry in enumerate(remains.log, start=1):
        at_us = entry.body.at_us if isinstance(entry.body, RuleChange) else entry.body.received_us
        if entry.position != place:
            yield f"log entry {place} has the position {entry.position}"
        if at_us < received_us:
            yield f"log entry {place} was received before the one in front of it"
        received_us = at_us


# ---- incidents


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


def fixed_rules(story: Story, remains: Remains) -> Iterator[tuple[Rule, int]]:
    """Yield the rules that nobody edits, and when each became active."""
    names = {spec.name for spec in story.plan.rules}
    for entry in remains.log:
        if isinstance(entry.body, RuleChange):
            for record in entry.body.put:
                if record.spec.name in names:
                    yield compile_rule(record), entry.body.at_us


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


def covered(intervals: Iterable[Interval]) -> list[Interval]:
    """Return the union of ``intervals`` as disjoint ones, in order; empty ones are left out."""
    union: list[Interval] = []
    for start_us, end_us in sorted(intervals):
        if start_us >= end_us:
            continue
        if union and start_us <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end_us))
        else:
            union.append((start_us, end_us))
    return union


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


# ---- notifications


def everybody_was_told(story: Story, remains: Remains) -> Iterator[str]:
    """Every notification was sent, and nothing was sent that is not one."""
    arrived = Counter(d.message.idempotency_key for d in story.deliveries)
    for row in remains.notifications:
        flapped = row.status is None and row.held_by == "flapping" and not row.waits
        if row.status not in ("SUCCESS", "FAILED") and not flapped:
            yield f"notification {row} is still to be sent"
        if row.status == "SUCCESS" and (row.key is None or not arrived[row.key]):
            yield f"notification {row} is recorded as sent and never arrived"
    unknown = arrived.keys() - {row.key for row in remains.notifications}
    for key in sorted(unknown):
        yield f"something was told that is not recorded: {key}"


def a_key_stands_for_one_content(story: Story, remains: Remains) -> Iterator[str]:
    """When it is sent again, it tells nothing else; and nothing is told under two keys."""
    contents: dict[str, set[tuple[str, str]]] = {}
    keys: dict[tuple[str, str, str], str] = {}
    for delivery in story.deliveries:
        key = delivery.message.idempotency_key
        content = {(view.id, _what(view)) for view in delivery.message.incidents}
        first = contents.setdefault(key, content)
        if content != first:
            yield f"message {key} told {first} and then {content}"
        for what in content:
            known = keys.setdefault((delivery.channel, *what), key)
            if known != key:
                yield f"{what} was told under {known} and {key}"


def _what(view: IncidentView) -> str:
    """Return what is told of an incident: that it fires, or has ended, or that its series flaps."""
    return "flapping" if "changed its state more than" in view.message else view.state


def what_nobody_heard_of_is_of_a_series_that_was_told_to_flap(
    story: Story, remains: Remains
) -> Iterator[str]:
    series = {row.id: (row.rule_id, row.group) for row in remains.incidents}
    told = {
        (*series[row.incident_id], row.channel)
        for row in remains.notifications
        if row.kind == "flapping" and row.status is not None
    }
    for row in remains.notifications:
        if row.held_by is not None and (*series[row.incident_id], row.channel) not in told:
            yield f"{row} is held back, and nobody was told that it flaps"


def nobody_is_told_twice_without_a_reason(story: Story, remains: Remains) -> Iterator[str]:
    arrived = Counter(d.message.idempotency_key for d in story.deliveries)
    repeats = sum(count - 1 for count in arrived.values())
    # Of each crash at most those that were under way: two receivers with two places each.
    allowed = story.repeats_allowed + story.crashes * 4 + (story.lives - 1) * 4
    if story.lives == 1:
        allowed = story.repeats_allowed
    if repeats > allowed:
        yield f"{repeats} messages were sent again, and only {allowed} may have been"


def every_incident_is_told(story: Story, remains: Remains) -> Iterator[str]:
    """Of each incident of a rule that nobody edited, beginning and end, to each of its channels."""
    told = Counter((row.incident_id, row.kind, row.channel) for row in remains.notifications)
    targets = {
        rule.id: {target.channel for target in rule.targets}
        for rule, _ in fixed_rules(story, remains)
    }
    for row in remains.incidents:
        for channel in targets.get(row.rule_id, ()):
            kinds = ["firing"] if row.ended_us is None else ["firing", "resolved"]
            for kind in kinds:
                if told[row.id, kind, channel] != 1:
                    count = told[row.id, kind, channel]
                    yield f"{kind} of {row} has {count} notifications to {channel}"


def nobody_hears_of_an_end_before_the_beginning(story: Story, remains: Remains) -> Iterator[str]:
    failed = {
        (row.incident_id, row.channel) for row in remains.notifications if row.status == "FAILED"
    }
    begun = set[tuple[str, str]]()
    for delivery in story.deliveries:
        for view in delivery.message.incidents:
            key = (view.id, delivery.channel)
            if view.state == "firing":
                begun.add(key)
            elif key not in begun | failed:
                yield f"{delivery.channel} heard of the end of {view.id} before its beginning"


def bounds_are_kept(story: Story, remains: Remains) -> Iterator[str]:
    if story.most_under_way > 2:
        yield f"{story.most_under_way} attempts were under way to one receiver"


Checker = Callable[[Story, Remains], Iterator[str]]

CHECKS: Final[tuple[Checker, ...]] = (
    nothing_acknowledged_is_lost,
    nothing_is_stored_twice,
    positions_have_no_gaps_and_time_goes_forward,
    incidents_are_those_of_a_run_without_crashes,
    every_breach_is_covered,
    the_state_is_that_of_a_replay,
    everybody_was_told,
    what_nobody_heard_of_is_of_a_series_that_was_told_to_flap,
    a_key_stands_for_one_content,
    every_incident_is_told,
    nobody_is_told_twice_without_a_reason,
    nobody_hears_of_an_end_before_the_beginning,
    bounds_are_kept,
)
