"""The daemon but for its sockets: what stands between the store and all that feeds it.

Owns how these parts are wired, and their lifetime: dispatch and the pipeline, snapshots,
reconciling, folding, housekeeping. It stops in order: the pipeline judges what it has taken, a
snapshot is written, dispatch gets its deadline. Leaves the store's lifetime, HTTP, signals and
systemd to ``app.py``. Time, chance, channels and where blocking work is done are given to it, so
that the whole of it runs in a simulation as it does in the daemon.
"""

from __future__ import annotations

import random as random_module
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
import trio

from alertd.channels.protocol import Channel, Forgetful, SendingLimits
from alertd.channels.shown_labels import labels_of_channels
from alertd.clock import Clock
from alertd.config.settings import Config
from alertd.delivery.attempt import Attempts
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.notifier import Notifier
from alertd.delivery.places import Places
from alertd.delivery.reminders import Reminders
from alertd.delivery.resender import Resender
from alertd.ingest.dedup import DedupIndex
from alertd.ingest.idempotency import RequestKeys
from alertd.ingest.intake import Intake
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import GroupState, Target
from alertd.notify.announce import Announcer
from alertd.pipeline.pipeline import Pipeline
from alertd.pipeline.quarantine import Quarantine
from alertd.rule_checks import RuleSetting
from alertd.rulebook import RuleBook
from alertd.rules import RuleRecord, seconds_to_us
from alertd.store.snapshots import snapshots_folder
from alertd.store.store import Store
from alertd.upkeep.folder import Folder
from alertd.upkeep.housekeeping import Housekeeper
from alertd.upkeep.reconciler import Reconciler
from alertd.upkeep.recovery import Recovered
from alertd.upkeep.retention import Retention
from alertd.upkeep.snapshotter import Snapshotter


class Channels(Protocol):
    """Where channels come from: ``LiveChannels``."""

    def names(self) -> frozenset[str]:
        """Return what a rule may name."""
        ...

    def for_target(self, target: Target) -> Channel:
        """Return the channel of ``target``. Raises ``UnknownChannel``."""
        ...

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``."""
        ...

    def forgetful(self) -> Mapping[str, Forgetful]:
        """Return the channels that are to be told again and again what is on."""
        ...


def new_state(config: Config) -> tuple[SeriesRegistry, DedupIndex]:
    """Return an empty registry and dedup index with the bounds of ``config``."""
    engine = config.engine
    return (
        SeriesRegistry(max_series=engine.max_series),
        DedupIndex(seconds_to_us(engine.dedup_horizon_secs), max_ids=engine.max_remembered_ids),
    )


class Core:
    """The parts, wired; ``running`` them is their life."""

    def __init__(
        self,
        store: Store,
        recovered: Recovered,
        rules: list[RuleRecord],
        announcer: Announcer,
        channels: Channels,
        clock: Clock,
        config: Config,
        metrics: Metrics,
        *,
        random: random_module.Random | None = None,
    ) -> None:
        """``rules`` are those of the store; ``random`` gives jitter and the ids of new rules."""
        chance = random_module.SystemRandom() if random is None else random
        engine = config.engine
        dedup_horizon_us = seconds_to_us(engine.dedup_horizon_secs)
        self._config = config
        self._labels_of_channels = labels_of_channels(config.channels)
        self._tells_somebody = config.tells_somebody()
        self._allow_private_endpoints = config.notify.allow_private_endpoints
        self._announcer = announcer
        self._shutdown_deadline_s = config.notify.shutdown_deadline_secs
        self.clock = clock
        dispatch_log = structlog.get_logger(Dispatcher.__module__)
        attempts = Attempts(
            channels,
            clock.now_us,
            config.notify,
            metrics,
            dispatch_log,
            list_url=f"{config.server.base_url}/api/incidents?state=firing",
            random=chance.random,
        )
        self.failing = attempts.failing
        self.dispatcher = Dispatcher(
            store.outbox,
            attempts,
            Places(channels.limits, clock.now_us, config.notify.concurrency_per_channel),
            clock.now_us,
            dispatch_log,
        )
        self.reminders = Reminders(
            store.waiting,
            announcer.policy,
            announcer.timing_of,
            clock.now_us,
            self.dispatcher.wake,
        )
        self.resender = Resender(store.outbox, channels.forgetful, clock.now_us, metrics)
        self.notifier = Notifier(
            outbox=store.outbox,
            silences=store.silences,
            incidents=store.incidents,
            policy=announcer.policy,
            now_us=clock.now_us,
            metrics=metrics,
            send_now=self.dispatcher.send_now,
            wake_reminders=self.reminders.wake,
            look_again=self.reminders.look_again,
            random_bits=chance.getrandbits,
        )
        self.pipeline = Pipeline(
            events=store.events,
            rules=store.rules,
            incidents=store.incidents,
            engine=recovered.engine,
            registry=recovered.registry,
            dedup=recovered.dedup,
            announcer=announcer,
            clock=clock,
            metrics=metrics,
            max_queued_events=engine.max_queue_events,
            applied=recovered.applied,
            on_recorded=self._recorded,
        )
        self.rulebook = RuleBook(
            rules,
            self.pipeline,
            clock.now_us,
            lambda: RuleSetting(
                channels.names(),
                config.store.event_retention_us,
                self._labels_of_channels,
                self._allow_private_endpoints,
                self._tells_somebody,
            ),
            self._group_states,
            lambda: uuid.UUID(int=chance.getrandbits(128), version=4),
        )
        self.snapshotter = Snapshotter(
            self.pipeline.evaluator,
            recovered.dedup,
            snapshots_folder(store.path),
            clock,
            metrics,
            store.blocking,
            interval_s=engine.snapshot_interval_secs,
            every_events=engine.snapshot_every_events,
            position=recovered.snapshot_position,
            has_room=lambda: store.writer.has_room,
            make_durable=store.make_durable,
        )
        self.reconciler = Reconciler(
            self.pipeline.evaluator,
            store.events,
            store.incidents,
            recovered.registry,
            interval_s=engine.reconcile_interval_secs,
        )
        self.quarantine = Quarantine(store.quarantine, metrics)
        self.intake = Intake(
            self.pipeline,
            recovered.registry,
            clock,
            self.quarantine,
            max_future_skew_us=seconds_to_us(engine.max_future_skew_secs),
            retention_us=config.store.event_retention_us,
        )
        self.requests = RequestKeys(
            store.requests,
            clock.now_us,
            horizon_us=dedup_horizon_us,
            on_repeat=metrics.requests_repeated.inc,
        )
        self.retention = Retention(
            store.retention,
            store.events,
            store.space,
            clock.now_us,
            metrics,
            needed_after_us=self._needed_after_us,
            rollups_us=seconds_to_us(config.store.rollup_retention_days * 86_400),
        )
        self.housekeeper = Housekeeper(
            store.requests,
            store.quarantine,
            store.incidents,
            clock.now_us,
            metrics,
            request_horizon_us=dedup_horizon_us,
            max_requests=engine.max_remembered_requests,
            quarantine_retention_us=seconds_to_us(config.store.quarantine_retention_days * 86_400),
            history_until_us=self._history_until_us,
        )

        self.folder = Folder(
            store.folding,
            clock.now_us,
            metrics,
            after_events=config.store.fold_after_events,
            after_us=seconds_to_us(config.store.fold_after_secs),
            is_busy=lambda: self.pipeline.is_busy,
        )

    @asynccontextmanager
    async def running(
        self, first: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
    ) -> AsyncIterator[None]:
        """Run everything for as long as the block runs; afterwards stop in order.

        ``first`` is done when the pipeline works, before anything judges the past.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self.dispatcher.run)
            judging_over = trio.Event()
            nursery.start_soon(_run_then_set, self.pipeline.run, judging_over)
            await self.pipeline.limit(self._config.engine.limits)
            await first()
            nursery.start_soon(self.snapshotter.run)
            nursery.start_soon(self.reconciler.run)
            nursery.start_soon(self.reminders.run)
            nursery.start_soon(self.resender.run)
            nursery.start_soon(self.quarantine.run)
            nursery.start_soon(self.housekeeper.run)
            nursery.start_soon(self.folder.run)
            nursery.start_soon(self.retention.run)

            yield

            self.pipeline.close()
            await judging_over.wait()
            await self.quarantine.flush()
            await self.snapshotter.take()
            await self.dispatcher.drain(self._shutdown_deadline_s)
            nursery.cancel_scope.cancel()

    def use(self, config: Config) -> None:
        """Tell people as ``config`` says from now on, also of what is held back.

        Nothing in it can fail, so a reload that has to be taken back is taken back by it.
        """
        self._labels_of_channels = labels_of_channels(config.channels)
        self._tells_somebody = config.tells_somebody()
        self._allow_private_endpoints = config.notify.allow_private_endpoints
        self._announcer.use(config.defaults, config.routes())
        self._announcer.policy.use(*config.policies())
        self.dispatcher.use(config.notify)
        self.reminders.look_again()
        self._shutdown_deadline_s = config.notify.shutdown_deadline_secs

    def _recorded(self) -> None:
        self.dispatcher.wake()
        self.reminders.recorded()

    def _needed_after_us(self) -> int:
        return self.pipeline.evaluator.needed_after_us(self._config.store.event_retention_us)

    def _history_until_us(self) -> int:
        """What is judged again is held against what was told of it: until then that stays."""
        old_us = self.clock.now_us() - self._config.store.history_retention_us
        return min(old_us, self._needed_after_us())

    def _group_states(self, rule_id: str) -> dict[str, int]:
        """Return how many groups of a rule are in each state, every state named."""
        counts = self.pipeline.engine.group_states(rule_id, self.clock.now_us())
        return {state.value: counts.get(state, 0) for state in GroupState}


async def _run_then_set(run: Callable[[], Awaitable[None]], over: trio.Event) -> None:
    await run()
    over.set()
