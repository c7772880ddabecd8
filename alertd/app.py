"""The daemon: what is made of what, what lives how long, and the order of stopping.

Owns the nurseries, nested by lifetime. From the outside in: the store; the core (``core.py``:
dispatch and the pipeline); what feeds the pipeline (HTTP, host metrics, signals). Stopping goes
the other way: nothing more is accepted, the core stops in its order, the store closes last.

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
from alertd.clock import Clock
from alertd.config.settings import Config
from alertd.core import Core, new_state
from alertd.delivery.live_channels import LiveChannels
from alertd.delivery.notifier import load_policy
from alertd.http.app import make_app, make_express
from alertd.http.gate import Gate
from alertd.http.server import serve
from alertd.http.services import Limits, Services
from alertd.lines.connection import Door
from alertd.lines.listener import serve_lines
from alertd.metrics import Metrics
from alertd.model import US_PER_S
from alertd.notify.announce import Announcer
from alertd.reload import Reloader
from alertd.status import Status
from alertd.store.connection import Durability
from alertd.store.snapshots import snapshots_folder
from alertd.store.store import Store, open_store
from alertd.store.writer import Turn
from alertd.tls import Tls
from alertd.upkeep.recovery import Recovered, recover

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
        durability = Durability(config.store.durability)
        async with open_store(
            path,
            durability=durability,
            on_progress=self._tell_progress,
            on_turn=self._writer_had_turn,
        ) as store:
            announcer = Announcer(
                config.server.base_url,
                defaults=config.defaults,
                routes=config.routes(),
                policy=await load_policy(store, config),
            )
            sdnotify.status("recovering")
            recovered = await recover(
                store,
                announcer,
                snapshots=snapshots_folder(store.path),
                new_state=partial(new_state, config),
                on_progress=self._tell_progress,
            )
            await self._serve(store, recovered, announcer)
        log.info("stopped")

    async def _serve(self, store: Store, recovered: Recovered, announcer: Announcer) -> None:
        """Run everything that lives between recovery and the closing of the store."""
        config = self._config
        clock = Clock(not_before_us=recovered.received_us)
        _warn_if_ahead(clock)
        channels = LiveChannels(
            config.channels, allow_private_endpoints=config.notify.allow_private_endpoints
        )
        rules = await store.rules.all()
        core = Core(store, recovered, rules, announcer, channels, clock, config, self._metrics)
        server = config.server
        lines = config.lines
        gate = Gate(
            config.auth.tokens,
            self._metrics,
            bind=server.bind if lines.is_loopback else f"{lines.bind}",
            is_loopback=server.is_loopback and lines.is_loopback,
            public_url=server.public_url,
            allowed_hosts=server.allowed_hosts,
        )
        tls = await trio.to_thread.run_sync(Tls, server)
        reloader = Reloader(
            self._config_path, config, core.rulebook, channels, gate, tls, use_policies=core.use
        )
        status = Status(
            store=store,
            pipeline=core.pipeline,
            snapshotter=core.snapshotter,
            recovered=recovered,
            rulebook=core.rulebook,
            retention=core.retention,
            flapping=announcer.policy.flapping,
            clock=clock,
            metrics=self._metrics,
        )
        services = Services(
            gate=gate,
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
        )
        http = partial(
            serve,
            make_app(services),
            config.server,
            express=make_express(services),
            tls=tls,
            penalty=services.penalty,
            metrics=self._metrics,
            shutdown=self._shutdown,
        )
        take_lines = partial(
            serve_lines,
            lines,
            Door(
                core.intake,
                gate,
                services.penalty,
                self._metrics,
                lines,
                send_timeout_s=server.send_timeout_secs,
            ),
            tls=tls,
            grace_s=server.shutdown_grace_secs,
            shutdown=self._shutdown,
        )
        async with trio.open_nursery() as around:
            around.start_soon(channels.run)
            around.start_soon(status.run)
            around.start_soon(sdnotify.run_watchdog, status.is_alive)
            async with core.running(first=reloader.start):
                await self._serve_until_shutdown(http, take_lines, core, reloader, status)
            around.cancel_scope.cancel()

    async def _serve_until_shutdown(
        self,
        http: Callable[..., Awaitable[None]],
        take_lines: Callable[..., Awaitable[None]],
        core: Core,
        reloader: Reloader,
        status: Status,
    ) -> None:
        """Run what feeds the pipeline; when it is told to stop, clients have their grace time."""
        config, http_over, lines_over = self._config, trio.Event(), trio.Event()
        async with trio.open_nursery() as edge:
            edge.start_soon(self._listen_to_signals)
            edge.start_soon(_reload_on_hangup, reloader)
            edge.start_soon(reloader.watch)
            if config.host_metrics.enabled:
                from alertd.host_metrics import HostMetrics  # psutil: for those who want it

                edge.start_soon(HostMetrics(core.intake).run, config.host_metrics)
            for address in await edge.start(_start_then_set, take_lines, lines_over):
                log.info("listening for lines", address=address)
            for address in await edge.start(_start_then_set, http, http_over):
                log.info("listening", address=address)
            status.ready()
            await self._shutdown.wait()
            log.info("stopping")
            sdnotify.stopping()
            core.pipeline.hurry()
            await http_over.wait()
            await lines_over.wait()
            edge.cancel_scope.cancel()

    async def _listen_to_signals(self) -> None:
        """SIGTERM and SIGINT stop the daemon."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                log.info("signal received", signal=signal.Signals(number).name)
                self._shutdown.set()

    def _writer_had_turn(self, turn: Turn) -> None:
        metrics = self._metrics
        metrics.writer_wait_seconds.labels(turn.work).observe(turn.began_s - turn.submitted_s)
        metrics.writer_busy_seconds.labels(turn.work).observe(turn.ended_s - turn.began_s)

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


async def _start_then_set(
    run: Callable[..., Awaitable[None]],
    over: trio.Event,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await run(task_status=task_status)
    over.set()
