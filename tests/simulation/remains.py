"""What is left of a world when its daemon has stopped for good, and what a replay makes of it.

Owns reading it. ``Remains`` is what the checkers hold against the ``Story``; what a store has
forgotten by then is in it too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import cast

from alertd.engine.engine import Engine
from alertd.engine.inputs import Tick
from alertd.model import EventBatch, Incident, Labels, Rule, Series
from alertd.pipeline.backfill import start_warm
from alertd.pipeline.evaluator import rules_changed
from alertd.rules import RuleChange, RuleRecord, compile_rule
from alertd.store.protocols import EventStore, LogEntry, StoredEvents
from alertd.store.quarantine import QuarantineQuery
from alertd.store.rollup import MINUTE_US, Summary
from alertd.store.rollup_pages import RollupQuery
from alertd.store.store import Store
from tests.simulation.chronicle import Chronicle, Held, IncidentRow, NotificationRow
from tests.simulation.story import Story

GroupKey = tuple[str, Labels]
SumName = tuple[int, int]
"""What a sum is known by: its series and where its minute begins."""


@dataclass
class Remains:
    """What is left when the daemon has stopped for good, and what was there before it went."""

    log: list[LogEntry]
    series: list[Series]
    incidents: list[IncidentRow]
    notifications: list[NotificationRow]
    collapsed: set[str]
    """The ids of notifications that moved to the message of their incident's end."""
    held: Held
    """What of these is in the store still."""
    sums: dict[SumName, Summary]
    """What the store says of each series, minute by minute."""
    rules: list[RuleRecord]
    refused_us: list[int]
    """When the events that are in quarantine were received."""
    now_us: int
    live: Engine
    """The engine as the last life left it."""
    replayed: Engine
    """A new one that was told the whole log in one go."""
    seen: dict[str, Incident]
    """Every incident that the replay found, as it saw it last."""
    overdue: set[GroupKey]
    """The groups that ever had events behind the allowed lateness: they were the reconciler's."""


async def remains_of(store: Store, chronicle: Chronicle, live: Engine, now_us: int) -> Remains:
    """Read what is left in ``store``, and replay all that was in its log; it is ``now_us``."""
    await chronicle.look(store)
    series, log = await store.events.all_series(), list(chronicle.log.values())
    replayed, seen = Engine(lambda number: series[number]), dict[str, Incident]()
    overdue = set[GroupKey]()
    for entry in log:
        if isinstance(entry.body, RuleChange):
            found = replayed.step(rules_changed(entry.body))
            found += await start_warm(
                replayed,
                cast("EventStore", Remembered(log)),
                series_count=len(series),
                at_us=entry.body.at_us,
                position=entry.position,
            )
        else:
            found = replayed.step(entry.body)
        seen |= {t.incident.id: t.incident for t in found if t.incident is not None}
        overdue.update((each.rule_id, each.group) for each in replayed._overdue)
    found = replayed.step(Tick(now_us))
    seen |= {t.incident.id: t.incident for t in found if t.incident is not None}
    live.step(Tick(now_us))
    refused = await store.quarantine.page(QuarantineQuery(limit=1000))
    buckets = await store.rollup_pages.buckets(RollupQuery(resolution_us=MINUTE_US, limit=1000))
    return Remains(
        log=log,
        series=series,
        incidents=sorted(chronicle.incidents.values(), key=lambda row: (row.started_us, row.id)),
        notifications=sorted(chronicle.notifications.values()),
        collapsed=chronicle.collapsed,
        held=chronicle.held,
        sums={(b.series.id, b.start_us): b.summary for b in buckets.items},
        rules=await store.rules.all(),
        refused_us=[event.received_us for event in refused.items],
        now_us=now_us,
        live=live,
        replayed=replayed,
        seen=seen,
        overdue=overdue,
    )


class Remembered:
    """The events of a log, whatever a store has kept of them."""

    def __init__(self, log: list[LogEntry]) -> None:
        self._log = log

    async def read(
        self, series_ids: Collection[int], from_us: int, until_us: int, *, through: int
    ) -> AsyncGenerator[StoredEvents, None]:
        """Yield what ``EventStore.read`` would."""
        for entry in self._log:
            if entry.position > through or not isinstance(entry.body, EventBatch):
                continue
            body = entry.body
            kept = [
                place
                for place, (number, time_us) in enumerate(
                    zip(body.series_ids, body.times_us, strict=True)
                )
                if number in series_ids and from_us < time_us <= until_us
            ]
            if kept:
                yield StoredEvents(entry.position, body.select(kept))


def fixed_rules(story: Story, remains: Remains) -> Iterator[tuple[Rule, int]]:
    """Yield the rules that nobody edits, and when each became active."""
    names = {spec.name for spec in (*story.plan.rules, story.plan.filed[0])}
    for entry in remains.log:
        if isinstance(entry.body, RuleChange):
            for record in entry.body.put:
                if record.spec.name in names:
                    yield compile_rule(record), entry.body.at_us


Checker = Callable[[Story, Remains], Iterator[str]]
"""Yields what is wrong, in words."""
