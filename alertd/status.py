"""How the daemon is doing: for people, for load balancers, for systemd and for Prometheus.

Owns the values in ``/api/status``, when ``/readyz`` says no and why, whether the watchdog may be
fed, and the gauges that are read off the parts now and then. It changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import Final

import msgspec
import structlog
import trio

from alertd import __version__, sdnotify
from alertd.channels.redact import redact_target
from alertd.clock import Clock, format_us, optional_time
from alertd.delivery.failing import FailingReceivers
from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Target
from alertd.notify.flapping import Flapping
from alertd.outbound import DeliveryStatus
from alertd.pipeline.pipeline import Pipeline
from alertd.reports import (
    ConfigurationStatus,
    FailingChannel,
    FlappingStatus,
    QueueStatus,
    RecoveryStatus,
    RuleError,
    StatusReport,
    StoreStatus,
)
from alertd.rulebook import RuleBook
from alertd.store.store import Store
from alertd.upkeep.limit_watch import LimitWatch
from alertd.upkeep.recovery import Recovered
from alertd.upkeep.retention import Retention
from alertd.upkeep.snapshotter import Snapshotter

_log = structlog.get_logger(__name__)

GAUGES_EVERY_S: Final = 1.0
MAX_COLD_RULES: Final = 100
MAX_RULE_ERRORS: Final = 100
MAX_FLAPPING: Final = 100
SLOW_APPEND_S: Final = 10.0
"""An event that is not durable by then is as good as refused: its sender has given up."""
STUCK_AFTER_S: Final = 30.0
"""A transaction that takes longer than this means that the disk does not answer."""


class Status:
    """Looks at the parts of a running daemon."""

    def __init__(
        self,
        *,
        store: Store,
        pipeline: Pipeline,
        snapshotter: Snapshotter,
        recovered: Recovered,
        configuration: Callable[[], ConfigurationStatus],
        rulebook: RuleBook,
        retention: Retention,
        flapping: Flapping,
        failing: FailingReceivers,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._pipeline = pipeline
        self._snapshotter = snapshotter
        self._recovered = recovered
        self._configuration = configuration
        self._rulebook = rulebook
        self._retention = retention
        self._flapping = flapping
        self._failing = failing
        self._waiting: dict[Target, int] = {}
        self._clock = clock
        self._metrics = metrics
        self._started_us = clock.now_us()
        self._is_serving = False
        self._pending_notifications = 0
        self._failed_notifications = 0
        self._dropped_groups = pipeline.engine.dropped_groups
        self._limits = LimitWatch(pipeline.engine, recovered.registry, metrics)

    def ready(self) -> None:
        """Recovery is over and HTTP is open: tell systemd."""
        self._is_serving = True
        sdnotify.ready()
        sdnotify.status("serving")

    def readiness(self) -> str | None:
        """Return None if events can be taken and made durable, else the reason why not."""
        if not self._is_serving:
            return "starting"
        failure = self._store.writer.failure
        if failure is not None:
            return f"the store failed: {failure}"
        if not self.is_alive():
            return f"the store has not answered for {STUCK_AFTER_S:g} s; look at the disk"
        if not self._store.writer.has_room:
            return "the disk is full: no event is taken until there is room; free some space there"
        waited_s = self._pipeline.oldest_append_us / US_PER_S
        if waited_s > SLOW_APPEND_S:
            return (
                f"the oldest event has waited {waited_s:.0f} s for its commit, more than "
                f"{SLOW_APPEND_S:g} s; look at the disk"
            )
        return self._pipeline.refusal

    def is_alive(self) -> bool:
        """Return whether the writer thread gets on: its heartbeat is fresh."""
        silent_us = time.monotonic_ns() // 1000 - self._store.writer.heartbeat_us
        return silent_us < STUCK_AFTER_S * US_PER_S

    async def run(self) -> None:
        """Keep the gauges up to date until cancelled."""
        while True:
            try:
                counts = await self._store.outbox.counts()
                longest = [one.target for one in self._failing.longest()]
                self._waiting = await self._store.outbox.waiting_for(longest)
            except StoreUnavailable as error:
                _log.warning("gauges not up to date", error=str(error))
            else:
                self._pending_notifications = counts[DeliveryStatus.RETRY_PENDING]
                self._failed_notifications = counts[DeliveryStatus.FAILED]
                self._failing.forget_idle(self._waiting)
            await self._look_for_room()
            self._measure()
            await trio.sleep(GAUGES_EVERY_S)

    async def _look_for_room(self) -> None:
        """On a full disk, try whether there is room again: no event may come to find it out."""
        if not self._store.writer.has_room:
            with suppress(StoreUnavailable):
                await self._store.writer.run("look for room", lambda connection: None)

    def _measure(self) -> None:
        metrics, pipeline = self._metrics, self._pipeline
        metrics.ready.set(self.readiness() is None)
        metrics.queue_events.set(pipeline.queued_events)
        metrics.lag_seconds.set(pipeline.lag_us / US_PER_S)
        metrics.outbox_pending.set(self._pending_notifications)
        metrics.outbox_failed.set(self._failed_notifications)
        metrics.rules.set(len(self._rulebook))
        metrics.rules_cold.set(len(pipeline.engine.cold_rules()))
        configuration = self._configuration()
        metrics.configuration_warnings.set(configuration.warning_count)
        metrics.config_last_reload_successful.set(configuration.refused is None)
        metrics.rules_left_out.set(len(self._rulebook.left_out()))
        metrics.series.set(len(self._recovered.registry))
        metrics.groups.set(pipeline.engine.group_count())
        metrics.groups_dropped.inc(pipeline.engine.dropped_groups - self._dropped_groups)
        self._dropped_groups = pipeline.engine.dropped_groups
        self._limits.look(trio.current_time())
        metrics.flapping.set(len(self._flapping.episodes(self._clock.now_us())))
        metrics.applied_position.set(pipeline.applied)
        metrics.wal_bytes.set(self._store.writer.wal_bytes)
        metrics.store_cache_bytes.set(self._store.events.cached_bytes)
        metrics.sqlite_memory_bytes.set(self._store.sqlite_bytes)

    def snapshot(self) -> Mapping[str, object]:
        """Return the body of ``/api/status`` as plain data."""
        body: dict[str, object] = msgspec.to_builtins(self.report())
        return body

    def report(self) -> StatusReport:
        """Return the present state for ``/api/status``."""
        now_us, reason = self._clock.now_us(), self.readiness()
        pipeline, snapshotter, recovered = self._pipeline, self._snapshotter, self._recovered
        path, kept = self._store.path, self._retention.kept
        return StatusReport(
            version=__version__,
            ready=reason is None,
            reason=reason,
            started_at=format_us(self._started_us),
            uptime_secs=round((now_us - self._started_us) / US_PER_S, 3),
            now=format_us(now_us),
            watermark=format_us(now_us - pipeline.lag_us),
            lag_secs=round(pipeline.lag_us / US_PER_S, 6),
            applied_position=pipeline.applied,
            rules=len(self._rulebook),
            series=len(recovered.registry),
            groups=pipeline.engine.group_count(),
            dropped_groups=pipeline.engine.dropped_groups,
            cold_rules=[rule.id for rule in pipeline.engine.cold_rules()[:MAX_COLD_RULES]],
            overdue_events=pipeline.engine.overdue_events,
            overdue_groups=pipeline.engine.overdue_groups,
            configuration=self._configuration(),
            rule_errors=self._rule_errors(),
            refusals=self._limits.refusals(),
            observed_gaps=self._limits.gaps(),
            flapping=self._flapping_now(now_us),
            queues=QueueStatus(
                events=pipeline.queued_events,
                transactions=self._store.writer.pending,
                notifications=self._pending_notifications,
            ),
            failed_notifications=self._failed_notifications,
            failing_channels=self._failing_now(),
            store=StoreStatus(
                path=str(path),
                size_bytes=path.stat().st_size,
                free_bytes=kept.usage.free_bytes,
                oldest_event=optional_time(kept.oldest_event_us),
                wal_bytes=self._store.writer.wal_bytes,
                unfolded_events=self._store.folding.unfolded_events,
            ),
            snapshot_position=snapshotter.position,
            snapshot_at=optional_time(snapshotter.taken_us),
            recovery=RecoveryStatus(
                snapshot_position=recovered.snapshot_position,
                rejected_snapshots=tuple(recovered.rejected),
                replayed_entries=recovered.replayed_entries,
                replayed_events=recovered.replayed_events,
            ),
        )

    def _rule_errors(self) -> list[RuleError]:
        left_out = (
            RuleError(
                rule_id=rule.id, rule_name=rule.spec.name, message=f"it is not judged: {problem}"
            )
            for rule, problem in self._rulebook.left_out()
        )
        untold = (
            RuleError(
                rule_id=record.id,
                rule_name=record.spec.name,
                message=f"nobody is told over the channel {channel!r}, which is not configured; "
                "configure it, or edit the rule",
            )
            for record, channel in self._rulebook.missing_channels()
        )
        return list(islice(chain(left_out, untold), MAX_RULE_ERRORS))

    def _failing_now(self) -> list[FailingChannel]:
        """Return those of which it is known how many messages wait: after a second, all."""
        return [
            FailingChannel(
                channel=one.target.channel,
                endpoint=redact_target(one.target),
                since=format_us(one.since_us),
                waiting=self._waiting[one.target],
                last_error=one.last_error,
            )
            for one in self._failing.longest()
            if one.target in self._waiting
        ]

    def _flapping_now(self, now_us: int) -> list[FlappingStatus]:
        return [
            FlappingStatus(
                rule_id=episode.series.rule_id,
                rule_name=self._rulebook.name_of(episode.series.rule_id),
                group_labels=dict(episode.series.group),
                since=format_us(episode.since_us),
                changes=episode.changes,
                stable_at=format_us(episode.stable_us),
            )
            for episode in self._flapping.episodes(now_us)[:MAX_FLAPPING]
        ]
