"""Judging the past again: events that came later than a rule's allowed lateness.

Owns when that is done and where the events come from: once after the start and then every
``interval_s``, group by group, from the event store. The judging is the engine's, the recording
the evaluator's. Because the engine's state names what is overdue, a restart forgets none of it.

Invariant: what is read and what the engine knows are of one position in the log: judging waits
while a group is read. Incidents are matched by overlap, so doing it twice finds nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog
import trio

from alertd.engine.engine import Engine
from alertd.engine.inputs import Overdue, Reconsider, Stretch
from alertd.engine.window import NEVER_US
from alertd.errors import StoreUnavailable
from alertd.ingest.series import SeriesRegistry
from alertd.model import Incident, Labels
from alertd.pipeline.backfill import SLICE_EVENTS, SLICE_SERIES
from alertd.pipeline.evaluator import Evaluator
from alertd.pipeline.sorted_events import SortedEvents
from alertd.store.failures import StoreCorrupt
from alertd.store.protocols import EventStore

log = structlog.get_logger(__name__)

_GroupKey = tuple[str, Labels]
"""A rule's id and the labels of one of its groups."""


class ToldIncidents(Protocol):
    """Where incidents are remembered."""

    async def of_group(self, rule_id: str, group: Labels, since_us: int) -> Sequence[Incident]:
        """Return a group's incidents that were still on at ``since_us`` or began later."""
        ...


class _Members:
    """Which series lead to each group that is to be judged again: one walk over all series.

    Its groups are judged one after the other, and events of new series come in between.
    """

    def __init__(
        self, engine: Engine, registry: SeriesRegistry, wanted: Collection[_GroupKey]
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._found: dict[_GroupKey, list[int]] = {key: [] for key in wanted}
        self._walked = 0

    async def of(self, overdue: Overdue) -> Sequence[int]:
        """Return the group's series, of all whose events the engine has; nothing steps meanwhile.

        Groups of a rule whose matchers are others than at the first call must not be asked for.
        """
        while (first := self._walked) < (end := len(self._registry)):
            part = range(first, min(first + SLICE_SERIES, end))
            for key, series_ids in self._engine.members(self._found.keys(), part).items():
                self._found[key] += series_ids
            self._walked = part.stop
            await trio.lowlevel.checkpoint()
        return self._found[_key(overdue)]


class Reconciler:
    """Does what the engine says is overdue."""

    def __init__(
        self,
        evaluator: Evaluator,
        events: EventStore,
        incidents: ToldIncidents,
        registry: SeriesRegistry,
        *,
        interval_s: float,
    ) -> None:
        self._evaluator = evaluator
        self._events = events
        self._incidents = incidents
        self._registry = registry
        self._interval_s = interval_s

    async def run(self) -> None:
        """Reconcile now and then, until cancelled."""
        while True:
            await self.reconcile()
            await trio.sleep(self._interval_s)

    async def reconcile(self) -> None:
        """Judge again what is overdue now. What the store cannot read is left for the next time.

        So is a group whose stored events are damaged: it stays overdue, and the others go on.
        """
        overdue = self._evaluator.engine.overdue()
        if not overdue:
            return
        wanted = {_key(stretch.overdue) for stretch in overdue}
        members = _Members(self._evaluator.engine, self._registry, wanted)
        for each in overdue:
            try:
                await self._reconsider(each, members)
            except StoreUnavailable as error:
                log.warning("reconciling waits for the store", error=str(error))
                return
            except StoreCorrupt as error:
                log.error(
                    "a group cannot be judged again: stored events are damaged",
                    rule=each.overdue.rule_id,
                    group=dict(each.overdue.group),
                    error=str(error),
                )

    async def _reconsider(self, known: Stretch, members: _Members) -> None:
        evaluator, overdue = self._evaluator, known.overdue
        async with evaluator.between_steps:
            stretch = evaluator.engine.stretch(overdue.rule_id, overdue.group)
            if stretch is None or stretch.received_from_us != known.received_from_us:
                return  # the rule has gone meanwhile, or sees others now: that is for the next time
            series_ids = await members.of(overdue)
            now_us = await evaluator.tick()  # from here to the judging nobody is told anything
            events, before = await self._read(stretch, series_ids)
            told = await self._incidents.of_group(overdue.rule_id, overdue.group, stretch.from_us)
            found = await evaluator.reconsider(
                Reconsider(
                    now_us=now_us,
                    stretch=stretch,
                    times_us=events.times_us,
                    values=events.values,
                    before_times_us=before.times_us,
                    before_values=before.values,
                    told=tuple(told),
                )
            )
        log.info("reconciled", group=dict(overdue.group), events=len(events), found=found)

    async def _read(
        self, stretch: Stretch, series_ids: Sequence[int]
    ) -> tuple[SortedEvents, SortedEvents]:
        """Return the events that ``stretch`` needs, and those from before the rule among them."""
        events, before = SortedEvents(), SortedEvents()
        read = self._events.read(
            series_ids, stretch.read_after_us, NEVER_US, through=self._evaluator.applied
        )
        async with aclosing(read):
            async for _, batch in read:
                is_before = batch.received_us < stretch.received_from_us
                for part in batch.slices(SLICE_EVENTS):
                    for time_us, value in zip(part.times_us, part.values, strict=True):
                        if not is_before:
                            events.add(time_us, value)
                        elif time_us > stretch.warm_after_us:
                            events.add(time_us, value)
                            before.add(time_us, value)
                    await trio.lowlevel.checkpoint()
        for each in (events, before):
            for _ in each.sort():
                await trio.lowlevel.checkpoint()
        return events, before


def _key(overdue: Overdue) -> _GroupKey:
    return overdue.rule_id, overdue.group
