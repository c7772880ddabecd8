"""The daemon: what is made of what, what lives how long, and the order of stopping.

Owns the wiring and the nurseries, nested by lifetime. From the outside in: the store; dispatch
and the pipeline; what feeds the pipeline (HTTP, host metrics, signals). Stopping goes the other
way: nothing more is accepted, the pipeline judges what it has taken, a snapshot is written,
dispatch gets its deadline, the store closes last.

Invariant: an unexpected error anywhere ends the whole process with its cause in the log;
recovery at the next start is the only repair.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog
import trio

from alertd import __version__, sdnotify
from alertd.announce import Announcer
from alertd.clock import Clock
from alertd.config import Config
from alertd.dedup import DedupIndex
from alertd.dispatch import Dispatcher
from alertd.host_metrics import HostMetrics
from alertd.housekeeping import Housekeeper
from alertd.http.app import make_app, make_express
from alertd.http.server import serve
from alertd.http.services import Limits, Services
from alertd.idempotency import RequestKeys
from alertd.intake import Intake
from alertd.live_channels import LiveChannels
from alertd.metrics import Metrics
from alertd.model import US_PER_S, GroupState
from alertd.pipeline import Pipeline
from alertd.quarantine import Quarantine
from alertd.reconciler import Reconciler
from alertd.recovery import Recovered, recover
from alertd.reload import Reloader
from alertd.rulebook import RuleBook
from alertd.rules import RuleSetting, seconds_to_us
from alertd.series import SeriesRegistry
from alertd.snapshotter import Snapshotter
from alertd.status import Status
from alertd.store.connection import Durability
from alertd.store.store import Store, open_store

log = structlog.get_logger(__name__)


def run(config_path: Path, config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises ``AlertdError`` if it cannot start.

    Any other exception is a defect or a store that failed: it has been logged, and the process
    should end with a status that makes its supervisor start it again.
    """
    trio.run(partial(_Daemon(config_path, config).run))


class _Daemon:
    """Everything that one run of the daemon consists of."""

    def __init__(self, config_path: Path, config: Config) -> None:
        self._config_path = config_path
        self._config = config
        self._metrics = Metrics()
        self._shutdown = trio.Event()

    async def run(self) -> None:
        """Open the store, recover, serve, and stop in order."""
        config = self._config
        path = config.store.resolve_path()
        log.info("starting", version=__version__, config=str(self._config_path), store=str(path))
        sdnotify.status("opening the store")
        async with open_store(path, durability=Durability(config.store.durability)) as store:
            announcer = Announcer(config.server.base_url)
            snapshots = path.with_name(f"{path.name}.snapshots")
            sdnotify.status("recovering")
            recovered = await recover(
                store,
                announcer,
                snapshots=snapshots,
                new_state=self._new_state,
                on_progress=self._tell_progress,
            )
            await self._serve(store, recovered, announcer, snapshots)
        log.info("stopped")

    async def _serve(
        self, store: Store, recovered: Recovered, announcer: Announcer, snapshots: Path
    ) -> None:
        """Run everything that lives between recovery and the closing of the store."""
        config = self._config
        clock = Clock(not_before_us=recovered.received_us)
        _warn_if_ahead(clock)
        channels = LiveChannels(
            config.channels, allow_private_endpoints=config.notify.allow_private_endpoints
        )
        dispatcher = Dispatcher(
            store.outbox,
            channels,
            clock.now_us,
            config.notify,
            self._metrics,
            structlog.get_logger(Dispatcher.__module__),
        )
        pipeline = Pipeline(
            events=store.events,
            rules=store.rules,
            incidents=store.incidents,
            engine=recovered.engine,
            registry=recovered.registry,
            dedup=recovered.dedup,
            announcer=announcer,
            clock=clock,
            metrics=self._metrics,
            max_queued_events=config.engine.max_queue_events,
            applied=recovered.applied,
            on_recorded=dispatcher.wake,
        )
        rulebook = RuleBook(
            await store.rules.all(),
            pipeline,
            clock.now_us,
            lambda: RuleSetting(channels.names(), config.store.event_retention_us),
            partial(_group_states, pipeline, clock),
        )
        snapshotter = Snapshotter(
            pipeline,
            recovered.dedup,
            snapshots,
            clock,
            self._metrics,
            interval_s=config.engine.snapshot_interval_secs,
            position=recovered.snapshot_position,
        )
        reconciler = Reconciler(
            pipeline,
            store.events,
            store.incidents,
            recovered.registry,
            interval_s=config.engine.reconcile_interval_secs,
        )
        status = Status(
            store=store,
            pipeline=pipeline,
            snapshotter=snapshotter,
            recovered=recovered,
            rulebook=rulebook,
            clock=clock,
            metrics=self._metrics,
        )
        quarantine = Quarantine(store.quarantine, self._metrics)
        intake = Intake(
            pipeline,
            recovered.registry,
            clock,
            quarantine,
            max_future_skew_us=seconds_to_us(config.engine.max_future_skew_secs),
            retention_us=config.store.event_retention_us,
        )
        reloader = Reloader(self._config_path, config, rulebook, channels)
        services = Services(
            intake=intake,
            requests=self._request_keys(store, clock),
            quarantine=store.quarantine,
            rules=rulebook,
            incidents=store.incidents,
            status=status,
            reloader=reloader,
            metrics=self._metrics,
            limits=Limits(
                max_body_bytes=config.server.max_body_bytes,
                max_events_per_request=config.server.max_events_per_request,
            ),
        )
        http = partial(
            serve,
            make_app(services),
            config.server,
            express=make_express(services),
            metrics=self._metrics,
            shutdown=self._shutdown,
        )

        async with trio.open_nursery() as core:
            core.start_soon(channels.run)
            core.start_soon(status.run)
            core.start_soon(sdnotify.run_watchdog, status.is_alive)
            await core.start(dispatcher.run)
            judging_over = trio.Event()
            core.start_soon(_run_then_set, pipeline.run, judging_over)
            await reloader.start()
            core.start_soon(snapshotter.run)
            core.start_soon(reconciler.run)
            core.start_soon(quarantine.run)
            core.start_soon(self._housekeeper(store, clock).run)

            await self._serve_until_shutdown(http, intake, reloader, status, pipeline)

            pipeline.close()
            await judging_over.wait()
            await quarantine.flush()
            await snapshotter.take()
            await dispatcher.drain(config.notify.shutdown_deadline_secs)
            core.cancel_scope.cancel()

    async def _serve_until_shutdown(
        self,
        http: Callable[..., Awaitable[None]],
        intake: Intake,
        reloader: Reloader,
        status: Status,
        pipeline: Pipeline,
    ) -> None:
        """Run what feeds the pipeline; when it is told to stop, HTTP has its grace time."""
        config, http_over = self._config, trio.Event()
        async with trio.open_nursery() as edge:
            edge.start_soon(self._listen_to_signals)
            edge.start_soon(_reload_on_hangup, reloader)
            edge.start_soon(reloader.watch)
            if config.host_metrics.enabled:
                edge.start_soon(HostMetrics(intake).run, config.host_metrics)
            for address in await edge.start(_start_then_set, http, http_over):
                log.info("listening", address=address)
            status.ready()
            await self._shutdown.wait()
            log.info("stopping")
            sdnotify.stopping()
            pipeline.hurry()
            await http_over.wait()
            edge.cancel_scope.cancel()

    async def _listen_to_signals(self) -> None:
        """SIGTERM and SIGINT stop the daemon."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                log.info("signal received", signal=signal.Signals(number).name)
                self._shutdown.set()

    def _request_keys(self, store: Store, clock: Clock) -> RequestKeys:
        return RequestKeys(
            store.requests,
            clock.now_us,
            horizon_us=seconds_to_us(self._config.engine.dedup_horizon_secs),
            on_repeat=self._metrics.requests_repeated.inc,
        )

    def _housekeeper(self, store: Store, clock: Clock) -> Housekeeper:
        engine, retention_days = self._config.engine, self._config.store.quarantine_retention_days
        return Housekeeper(
            store.requests,
            store.quarantine,
            clock.now_us,
            self._metrics,
            request_horizon_us=seconds_to_us(engine.dedup_horizon_secs),
            max_requests=engine.max_remembered_requests,
            quarantine_retention_us=seconds_to_us(retention_days * 86_400),
        )

    def _new_state(self) -> tuple[SeriesRegistry, DedupIndex]:
        engine = self._config.engine
        return (
            SeriesRegistry(max_series=engine.max_series),
            DedupIndex(seconds_to_us(engine.dedup_horizon_secs), max_ids=engine.max_remembered_ids),
        )

    def _tell_progress(self, phrase: str) -> None:
        sdnotify.status(phrase)
        sdnotify.extend_timeout(30 * US_PER_S)


def _warn_if_ahead(clock: Clock) -> None:
    """Say so if the log was last written by a machine whose clock was ahead of what it is now."""
    ahead_s = (clock.now_us() - time.time_ns() // 1000) / US_PER_S
    if ahead_s > 1:
        log.warning(
            "the log's last entry is ahead of the wall clock; alertd's time goes on from there",
            ahead_s=round(ahead_s),
        )


async def _reload_on_hangup(reloader: Reloader) -> None:
    """SIGHUP reads the configuration again. Apart from what stops: a reload can take long."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        async for _ in signals:
            await reloader.reload_unasked()


async def _run_then_set(run: Callable[[], Awaitable[None]], over: trio.Event) -> None:
    await run()
    over.set()


async def _start_then_set(
    run: Callable[..., Awaitable[None]],
    over: trio.Event,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await run(task_status=task_status)
    over.set()


def _group_states(pipeline: Pipeline, clock: Clock, rule_id: str) -> dict[str, int]:
    """Return how many groups of a rule are in each state, every state named."""
    counts = pipeline.engine.group_states(rule_id, clock.now_us())
    return {state.value: counts.get(state, 0) for state in GroupState}
