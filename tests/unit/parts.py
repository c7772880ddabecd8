"""The daemon's inner parts on a real store, for tests that need no HTTP."""

from __future__ import annotations

import random
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from alertd.clock import Clock
from alertd.engine.engine import Engine
from alertd.ingest.dedup import DedupIndex
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import US_PER_S, EventBatch, RuleType, Transition
from alertd.notify.announce import Announcer
from alertd.outbound import Announcement
from alertd.pipeline.pipeline import Pipeline
from alertd.rules import RuleRecord, RuleSpec, Source
from alertd.store.history import HistoryItem
from alertd.store.incident_query import HistoryQuery
from alertd.store.store import Store, open_store
from alertd.upkeep.reconciler import Reconciler
from alertd.upkeep.recovery import Recovered, recover
from alertd.upkeep.snapshotter import Snapshotter

FOLDS_MEANWHILE = False
"""Whether ``running`` folds the log before it recovers, and on and on; see ``conftest.py``."""

SECOND = US_PER_S


def record_of(rule_id: str = "r1", **fields: object) -> RuleRecord:
    """Return a rule: by default, more than 2 events of ``m`` within 10 s for one host."""
    spec: dict[str, object] = {
        "name": f"rule {rule_id}",
        "type": RuleType.SIMPLE_COUNT,
        "metric_name": "m",
        "threshold": 2.0,
        "window_duration_secs": 10.0,
        "group_by": ("host",),
        "allowed_lateness_secs": 0.0,
        **fields,
    }
    return RuleRecord(
        id=rule_id,
        version=1,
        source=Source.API,
        created_us=0,
        updated_us=0,
        spec=RuleSpec(**spec),  # type: ignore[arg-type]  # built from a table of fields
    )


def new_announcer() -> Announcer:
    """Return one that has told of nothing yet: it remembers what flaps."""
    return Announcer("http://alertd.example")


class WatchedAnnouncer(Announcer):
    """Notes between which turns of others it puts transitions into words."""

    def __init__(self) -> None:
        super().__init__("http://alertd.example")
        self.worded_after: set[int] = set()
        """After how many turns of ``others``."""
        self.foreseen_after: set[int] = set()
        self._turns = 0

    def announce(self, transition: Transition) -> Announcement | None:
        """Return what to record of ``transition``."""
        self.worded_after.add(self._turns)
        return super().announce(transition)

    def foresee(self, transition: Transition) -> None:
        """Know what is on once ``transition`` is announced."""
        self.foreseen_after.add(self._turns)
        super().foresee(transition)

    async def others(self) -> None:
        """Take each turn that there is, until cancelled."""
        while True:
            await trio.lowlevel.checkpoint()
            self._turns += 1


def new_state() -> tuple[SeriesRegistry, DedupIndex]:
    """Return an empty registry and dedup index."""
    return SeriesRegistry(), DedupIndex(86_400 * SECOND, max_ids=1_000_000)


@dataclass
class Parts:
    """A store, what was recovered from it, and a pipeline that runs on both."""

    store: Store
    recovered: Recovered
    pipeline: Pipeline
    clock: Clock
    snapshots: Path

    def batch(
        self, *offsets_s: float, host: str = "a", ids: Sequence[str | None] | None = None
    ) -> EventBatch:
        """Return events of ``m`` at ``now + offset``, received now."""
        now_us = self.clock.now_us()
        series_id = self.recovered.registry.resolve("m", {"host": host})
        return EventBatch(
            received_us=now_us,
            series_ids=array("I", [series_id] * len(offsets_s)),
            times_us=array("q", [now_us + round(offset * SECOND) for offset in offsets_s]),
            values=array("d", [1.0] * len(offsets_s)),
            ids=None if ids is None else tuple(ids),
        )

    def storm(self, hosts: int) -> EventBatch:
        """Return an event of ``m`` of each of so many hosts, now."""
        now_us, resolve = self.clock.now_us(), self.recovered.registry.resolve
        return EventBatch(
            received_us=now_us,
            series_ids=array("I", [resolve("m", {"host": f"h{each}"}) for each in range(hosts)]),
            times_us=array("q", [now_us] * hosts),
            values=array("d", [1.0] * hosts),
        )

    async def until_judged(self) -> None:
        """Wait until the engine has seen everything that was appended."""
        with trio.fail_after(5):
            while self.pipeline.lag_us:
                await trio.sleep(0.001)  # nothing tells of what is judged

    async def history(self) -> list[HistoryItem]:
        """Return every incident recorded, the newest first."""
        return list((await self.store.incidents.history(HistoryQuery(limit=1000))).items)


@asynccontextmanager
async def running(
    folder: Path, *, max_queued_events: int = 100_000, announcer: Announcer | None = None
) -> AsyncIterator[Parts]:
    """Recover what ``folder`` holds and run a pipeline on it; stop it in order at the end."""
    snapshots, announcer = folder / "snapshots", announcer or new_announcer()
    async with open_store(folder / "alertd.db") as store, trio.open_nursery() as nursery:
        if FOLDS_MEANWHILE:
            await store.folding.fold(1_000_000)
        recovered = await recover(
            store,
            announcer,
            snapshots=snapshots,
            new_state=new_state,
            on_progress=lambda phrase: None,
        )
        clock = Clock(not_before_us=recovered.received_us)
        pipeline = Pipeline(
            events=store.events,
            rules=store.rules,
            incidents=store.incidents,
            engine=recovered.engine,
            registry=recovered.registry,
            dedup=recovered.dedup,
            announcer=announcer,
            clock=clock,
            metrics=Metrics(),
            max_queued_events=max_queued_events,
            applied=recovered.applied,
            on_recorded=lambda: None,
        )
        nursery.start_soon(pipeline.run)
        folding = trio.CancelScope()
        if FOLDS_MEANWHILE:
            nursery.start_soon(_fold, store, folding)
        yield Parts(store, recovered, pipeline, clock, snapshots)
        folding.cancel()
        pipeline.close()


def snapshotter_of(
    parts: Parts, *, every_events: int = 1_000_000_000, metrics: Metrics | None = None
) -> Snapshotter:
    """Return what writes snapshots of ``parts``, when asked or every so many events."""
    return Snapshotter(
        parts.pipeline.evaluator,
        parts.recovered.dedup,
        parts.snapshots,
        parts.clock,
        metrics or Metrics(),
        parts.store.blocking,
        interval_s=3600,
        every_events=every_events,
        position=parts.recovered.snapshot_position,
        make_durable=parts.store.make_durable,
    )


def reconciler_of(parts: Parts) -> Reconciler:
    """Return what judges overdue events of ``parts``, when asked."""
    return Reconciler(
        parts.pipeline.evaluator,
        parts.store.events,
        parts.store.incidents,
        parts.recovered.registry,
        interval_s=60,
    )


async def _fold(store: Store, scope: trio.CancelScope) -> None:
    """Fold a few events at a time, at moments that depend on everything else."""
    choose = random.Random(0)  # noqa: S311 - not a secret
    with scope:
        while True:
            await store.folding.fold(choose.randrange(1, 5))
            await trio.sleep(choose.random() / 500)


def dump_of(engine: Engine) -> list[object]:
    """Return an engine's whole state as plain data."""
    return list(engine.dump())
