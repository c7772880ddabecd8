"""The daemon: what is made of what, what lives how long, and the order of stopping.

Owns the nurseries, nested by lifetime. From the outside in: HTTP, which answers from the beginning
that the daemon recovers; the store; the core (``core.py``: dispatch and the pipeline); what else
feeds the pipeline (host metrics, reloads). Stopping: nothing more is accepted, the core stops in
its order, the store closes last. No request outlives what it needs.

Invariant: an unexpected error anywhere ends the whole process with its cause in the log;
recovery at the next start is the only repair.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog
import trio

from alertd import __version__, sdnotify
from alertd.clock import Clock
from alertd.config.settings import Config
from alertd.core import Core, new_state
from alertd.delivery.live_channels import LiveChannels
from alertd.delivery.notifier import load_policy
from alertd.http.express import make_express, make_recovering_express
from alertd.http.gate import Gate
from alertd.http.in_flight import InFlight
from alertd.http.penalty import Penalty
from alertd.http.recovering import Recovering
from alertd.http.server import serve
from alertd.http.services import Limits, Services
from alertd.http.site import Site
from alertd.lines.connection import Door
from alertd.lines.listener import serve_lines
from alertd.metrics import Metrics
from alertd.model import US_PER_S
from alertd.notify.announce import Announcer
from alertd.reload import Reloader
from alertd.rules import RuleRecord
from alertd.status import Status
from alertd.store.connection import Durability
from alertd.store.snapshots import snapshots_folder
from alertd.store.store import Store, open_store
from alertd.store.writer import Turn
from alertd.tls import Tls
from alertd.upkeep.allocator import keep_freed_memory
from alertd.upkeep.interpreter import Collector, tuned
from alertd.upkeep.recovery import Recovered, recover

if TYPE_CHECKING:
    from quart_trio import QuartTrio

START_PATIENCE_US: Final = 30 * US_PER_S
"""For how long systemd is asked to wait when it is told that the start goes on."""

Hangups: TypeAlias = AsyncIterator[int]
"""Each SIGHUP that came."""

log = structlog.get_logger(__name__)


def run(config_path: Path, config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT. Raises ``AlertdError`` if it cannot start.

    Any other exception is a defect or a store that failed: it has been logged, and the process
    should end with a status that makes its supervisor start it again.
    """
    keep_freed_memory()
    with tuned():
        trio.run(partial(_Daemon(config_path, config).run))


class _Daemon:
    """Everything that one run of the daemon consists of."""

    def __init__(self, config_path: Path, config: Config) -> None:
        server = config.server
        self._config_path = config_path
        self._config = config
        self._metrics = Metrics()
        self._gate = Gate(
            config.auth.tokens,
            self._metrics,
            bind=server.bind,
            reachable_at=_reachable_at(config),
            public_url=server.public_url,
            allowed_hosts=server.allowed_hosts,
        )
        self._penalty = Penalty()
        self._recovering = Recovering()
        self._site = Site(
            server,
            self._make_recovering_app,
            make_recovering_express(self._recovering, self._gate, self._metrics, self._penalty),
        )
        self._shutdown = trio.Event()
        self._http_over = trio.Event()
        self._lines_over = trio.Event()
        self._http_scope = trio.CancelScope()
        self._recovery_scope = trio.CancelScope()
        self._start = sdnotify.Start(START_PATIENCE_US)

    async def run(self) -> None:
        """Listen, open the store, recover, serve, and stop in order."""
        config = self._config
        path = config.store.resolve_path()
        log.info("starting", version=__version__, config=str(self._config_path), store=str(path))
        tls = await trio.to_thread.run_sync(Tls, config.server)
        with trio.open_signal_receiver(signal.SIGHUP) as hangups:
            async with trio.open_nursery() as edge:
                edge.start_soon(self._listen_to_signals)
                for address in await edge.start(self._run_http, tls):
                    log.info("listening", address=address)
                await self._run_behind_http(path, tls, hangups)
                edge.cancel_scope.cancel()
        log.info("stopped")

    async def _run_http(
        self, tls: Tls, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer requests until shutdown, or until there is nothing left that could."""
        with self._http_scope:
            await serve(
                self._site,
                self._config.server,
                tls=tls,
                penalty=self._penalty,
                metrics=self._metrics,
                shutdown=self._shutdown,
                task_status=task_status,
            )
        self._http_over.set()

    async def _run_behind_http(self, path: Path, tls: Tls, hangups: Hangups) -> None:
        """Run everything that needs the store; requests end before it does, whatever happens."""
        config = self._config
        self._tell_progress("opening the store")
        async with open_store(
            path,
            durability=Durability(config.store.durability),
            on_progress=self._tell_progress,
            on_turn=self._writer_had_turn,
        ) as store:
            try:
                announcer = Announcer(
                    config.server.base_url,
                    defaults=config.defaults,
                    routes=config.routes(),
                    policy=await load_policy(store, config),
                )
                with self._recovery_scope:
                    recovered = await recover(
                        store,
                        announcer,
                        snapshots=snapshots_folder(store.path),
                        new_state=partial(new_state, config),
                        on_progress=self._tell_progress,
                    )
                if not self._recovery_scope.cancelled_caught:
                    await self._serve(store, recovered, announcer, tls, hangups)
            finally:
                self._http_scope.cancel()

    async def _serve(
        self, store: Store, recovered: Recovered, announcer: Announcer, tls: Tls, hangups: Hangups
    ) -> None:
        """Run everything that lives between recovery and the closing of the store."""
        config = self._config
        clock = Clock(not_before_us=recovered.received_us)
        _warn_if_ahead(clock)
        channels = LiveChannels(
            config.channels, allow_private_endpoints=config.notify.allow_private_endpoints
        )
        rules = await store.rules.all()
        await trio.to_thread.run_sync(_load_for, rules)
        core = Core(store, recovered, rules, announcer, channels, clock, config, self._metrics)
        reloader = Reloader(
            self._config_path,
            config,
            core.rulebook,
            channels,
            self._gate,
            tls,
            now_us=clock.now_us,
            use_policies=core.use,
        )
        status = Status(
            store=store,
            pipeline=core.pipeline,
            snapshotter=core.snapshotter,
            recovered=recovered,
            configuration=lambda: reloader.configuration,
            rulebook=core.rulebook,
            retention=core.retention,
            flapping=announcer.policy.flapping,
            failing=core.failing,
            clock=clock,
            metrics=self._metrics,
        )
        services = self._services(store, core, status, reloader)
        async with trio.open_nursery() as around:
            around.start_soon(channels.run)
            around.start_soon(status.run)
            around.start_soon(sdnotify.run_watchdog, status.is_alive)
            around.start_soon(Collector(lambda: core.pipeline.is_busy, self._metrics).run)
            async with (
                core.running(first=reloader.start),
                trio.open_nursery() as sources,
            ):
                sources.start_soon(_reload_on_hangup, hangups, reloader)
                sources.start_soon(reloader.watch)
                if config.host_metrics.enabled:
                    from alertd.host_metrics import HostMetrics  # psutil: for those who want it

                    sources.start_soon(HostMetrics(core.intake).run, config.host_metrics)
                for address in await sources.start(self._run_lines, services, tls):
                    log.info("listening for lines", address=address)
                self._site.open(partial(_make_app, services), make_express(services))
                status.ready()
                log.info("ready")
                await self._until_clients_are_over(core)
                sources.cancel_scope.cancel()
            around.cancel_scope.cancel()

    def _services(self, store: Store, core: Core, status: Status, reloader: Reloader) -> Services:
        """Return what the HTTP interface needs of all that."""
        server = self._config.server
        return Services(
            gate=self._gate,
            intake=core.intake,
            requests=core.requests,
            quarantine=store.quarantine,
            stored=store.pages,
            rollups=store.rollup_pages,
            rules=core.rulebook,
            incidents=store.incidents,
            outbox=store.outbox,
            silences=store.silences,
            notifier=core.notifier,
            status=status,
            reloader=reloader,
            metrics=self._metrics,
            limits=Limits(
                max_body_bytes=server.max_body_bytes,
                max_events_per_request=server.max_events_per_request,
            ),
            in_flight=InFlight(server.max_requests_in_flight, self._metrics.requests_in_flight),
            penalty=self._penalty,
        )

    async def _run_lines(
        self,
        services: Services,
        tls: Tls,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Take events line by line until shutdown."""
        config = self._config
        door = Door(
            services.intake,
            self._gate,
            self._penalty,
            self._metrics,
            config.lines,
            send_timeout_s=config.server.send_timeout_secs,
        )
        await serve_lines(
            config.lines,
            door,
            tls=tls,
            grace_s=config.server.shutdown_grace_secs,
            shutdown=self._shutdown,
            task_status=task_status,
        )
        self._lines_over.set()

    async def _until_clients_are_over(self, core: Core) -> None:
        """Wait until alertd is told to stop, and then for what clients have begun."""
        await self._shutdown.wait()
        log.info("stopping")
        sdnotify.stopping()
        core.pipeline.hurry()
        await self._http_over.wait()
        await self._lines_over.wait()

    async def _listen_to_signals(self) -> None:
        """SIGTERM and SIGINT stop the daemon."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                log.info("signal received", signal=signal.Signals(number).name)
                self._shutdown.set()
                self._recovery_scope.cancel()

    def _make_recovering_app(self) -> QuartTrio:
        from alertd.http.app import make_recovering_app  # see Site

        return make_recovering_app(self._recovering, self._gate, self._metrics, self._penalty)

    def _writer_had_turn(self, turn: Turn) -> None:
        wait_seconds, busy_seconds = self._metrics.of_writer(turn.work)
        wait_seconds.observe(turn.began_s - turn.submitted_s)
        busy_seconds.observe(turn.ended_s - turn.began_s)

    def _tell_progress(self, phrase: str) -> None:
        """Tell whoever asks over HTTP, and systemd. In any thread."""
        self._recovering.phase = phrase
        self._start.goes_on(self._recovering.readiness(), phase=phrase.partition(":")[0])


def _load_for(rules: list[RuleRecord]) -> None:
    """Load what takes long and these rules need: else the first alert would wait for it."""
    if any(rule.spec.annotations for rule in rules):
        import_module("alertd.channels.annotation_templates")
    if any(target.endpoint for rule in rules for target in rule.spec.targets):
        import_module("alertd.channels.endpoints")


def _make_app(services: Services) -> QuartTrio:
    from alertd.http.app import make_app  # see Site

    return make_app(services)


def _reachable_at(config: Config) -> str | None:
    """Return an address at which others than this machine can reach the daemon, if there is."""
    if not config.server.is_loopback:
        return config.server.bind
    return None if config.lines.is_loopback else config.lines.bind


def _warn_if_ahead(clock: Clock) -> None:
    """Say so if the log was last written by a machine whose clock was ahead of what it is now."""
    ahead_s = (clock.now_us() - time.time_ns() // 1000) / US_PER_S
    if ahead_s > 1:
        log.warning(
            "the log's last entry is ahead of the wall clock; alertd's time goes on from there",
            ahead_s=round(ahead_s),
        )


async def _reload_on_hangup(hangups: Hangups, reloader: Reloader) -> None:
    """SIGHUP reads the configuration again. Apart from what stops: a reload can take long."""
    async for _ in hangups:
        await reloader.reload_unasked()
