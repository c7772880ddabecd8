"""Rules start warm: what was stored before a rule is read and given to the engine.

Owns which stored events a new rule is told, for every rule that one change makes or gives new
windows: one walk over the store, whatever the number of rules. The judging is the engine's.
Live and in replay this same code runs right after the change was stepped, and it reads the log
no further than the change's own position, so a restart finds the same incidents.

Invariant: nothing is stepped while it runs (the caller sees to that), and the engine is not
touched before everything has been read, so what could not be read can be tried again.

Bound: ``MAX_EVENTS`` for one change. The rule with the most events starts cold when there are
more, again until the others fit; which one that is depends on the log alone.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import structlog
import trio

from alertd.engine.engine import Engine
from alertd.engine.inputs import Backfill, LookBack, StoredGroup
from alertd.engine.progress import Progress
from alertd.engine.window import NEVER_US
from alertd.model import EventBatch, Labels, Transition
from alertd.pipeline.sorted_events import SortedEvents
from alertd.store.failures import StoreCorrupt
from alertd.store.protocols import EventStore

MAX_EVENTS: Final = 5_000_000
"""At 16 bytes an event, twice while they are sorted, that is 160 MB."""
SLICE_EVENTS: Final = 5_000
SLICE_SERIES: Final = 250
"""Work between two looks at other tasks: less than 20 ms, with a thousand rules a metric too."""

log = structlog.get_logger(__name__)


class _Gathered:
    """The stored events of one group of one rule."""

    __slots__ = ("events", "labels", "progress", "rule")

    def __init__(self, rule: _Newcomer, labels: Labels) -> None:
        self.rule = rule
        self.labels = labels
        self.progress = Progress(rule.look_back.lateness_us)
        self.events = SortedEvents()

    def stored(self, at_us: int) -> StoredGroup:
        """Return what the engine is told when the rule became active at ``at_us``."""
        self.progress.close(at_us)
        return StoredGroup(
            labels=self.labels,
            times_us=self.events.times_us,
            values=self.events.values,
            newest_us=self.progress.newest_us,
            raised_us=self.progress.raised_us,
            heard_us=self.progress.heard_us,
            clock_us=self.progress.clock_us,
        )


@dataclass(slots=True, eq=False)
class _Newcomer:
    """A rule that is to start warm."""

    look_back: LookBack
    groups: dict[Labels, _Gathered] = field(default_factory=dict)
    events: int = 0
    is_cold: bool = False

    def group(self, labels: Labels) -> _Gathered:
        if labels not in self.groups:
            self.groups[labels] = _Gathered(self, labels)
        return self.groups[labels]


_BySeries = dict[int, list[_Gathered]]


async def start_warm(
    engine: Engine, events: EventStore, *, series_count: int, at_us: int, position: int
) -> list[Transition]:
    """Tell the rules of the change that was stepped last what is stored.

    The change stands in the log at ``position`` and was made at ``at_us``; series have the
    numbers below ``series_count``. Returns the transitions that follow. A rule that would need
    too many events, or whose events are damaged, starts cold, and the log says so.
    Raises ``StoreUnavailable``, after which it may be called again.
    """
    began_s = trio.current_time()
    rules = {each.rule_id: _Newcomer(each) for each in engine.look_backs}
    if not rules:
        return []
    by_series = await _find_groups(engine, rules, series_count)
    try:
        await _read(events, list(rules.values()), by_series, position)
    except StoreCorrupt as error:
        log.error("rules start cold: stored events are damaged", error=str(error), rules=[*rules])
        return []
    transitions: list[Transition] = []
    for rule in rules.values():
        if not rule.is_cold:
            transitions += await _judge(engine, rule, at_us)
            rule.groups.clear()  # a large rule's events are not kept while the next is judged
    log.info(
        "rules looked back",
        rules=len(rules),
        cold=sum(rule.is_cold for rule in rules.values()),
        events=sum(rule.events for rule in rules.values()),
        seconds=round(trio.current_time() - began_s, 3),
    )
    return transitions


async def _find_groups(engine: Engine, rules: dict[str, _Newcomer], series_count: int) -> _BySeries:
    """Return the groups that each series belongs to, without making any in the engine."""
    by_series: _BySeries = {}
    for series_id in range(series_count):
        groups = [
            rules[rule_id].group(labels)
            for rule_id, labels in engine.watchers(series_id)
            if rule_id in rules
        ]
        if groups:
            by_series[series_id] = groups
        if series_id % SLICE_SERIES == 0:
            await trio.lowlevel.checkpoint()
    return by_series


async def _read(
    events: EventStore, rules: list[_Newcomer], by_series: _BySeries, position: int
) -> None:
    """Read what the groups need, up to ``position`` in the log."""
    after_us = min(rule.look_back.read_after_us for rule in rules)
    async with aclosing(events.read(by_series, after_us, NEVER_US, through=position)) as read:
        async for _, batch in read:
            for part in batch.slices(SLICE_EVENTS):
                _take(part, by_series)
                await trio.lowlevel.checkpoint()
            while sum(rule.events for rule in rules if not rule.is_cold) > MAX_EVENTS:
                _leave_cold(max(rules, key=lambda rule: 0 if rule.is_cold else rule.events))


def _take(batch: EventBatch, by_series: _BySeries) -> None:
    """Give each group its events of ``batch``."""
    columns = zip(batch.series_ids, batch.times_us, batch.values, strict=True)
    for series_id, time_us, value in columns:
        for each in by_series[series_id]:
            rule = each.rule
            if time_us > rule.look_back.read_after_us and not rule.is_cold:
                each.progress.see(time_us, batch.received_us)
                each.events.add(time_us, value)
                rule.events += 1


def _leave_cold(rule: _Newcomer) -> None:
    rule.is_cold = True
    for each in rule.groups.values():
        each.events = SortedEvents()
    log.warning(
        "rule starts cold: there are too many stored events to fill its windows with; it judges "
        "what comes from now on. A shorter window or narrower matchers need fewer",
        rule_id=rule.look_back.rule_id,
        events_so_far=rule.events,
        limit=MAX_EVENTS,
    )


async def _judge(engine: Engine, rule: _Newcomer, at_us: int) -> list[Transition]:
    """Have the engine judge what a rule was told; return the transitions that follow."""
    groups = [rule.groups[labels] for labels in sorted(rule.groups)]
    groups = [each for each in groups if len(each.events)]
    for each in groups:
        for _ in each.events.sort():
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
    backfill = Backfill(
        now_us=at_us,
        rule_id=rule.look_back.rule_id,
        groups=tuple(each.stored(at_us) for each in groups),
    )
    transitions: list[Transition] = []
    for found in engine.in_slices(backfill):
        transitions += found
        await trio.lowlevel.checkpoint()
    return transitions
