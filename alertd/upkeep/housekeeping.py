"""Forgetting what has had its time: ended incidents, keys of requests, events in quarantine.

Owns when and in which portions: a little at a time, each portion a transaction of its own, so
that events never wait for more than one of them. Leaves what a portion deletes to the tables.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
import trio

from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.store import pruning, quarantine, requests
from alertd.store.incidents import IncidentStore
from alertd.store.quarantine import QuarantineTable
from alertd.store.requests import RequestTable

PRUNE_EVERY_S: Final = 10.0
PAUSE_S: Final = 0.05
"""Between two portions, so that most of the writer's time is left to events."""

log = structlog.get_logger(__name__)


class Housekeeper:
    """Prunes while it runs. A store that cannot write is asked again the next time."""

    def __init__(
        self,
        request_table: RequestTable,
        quarantine_table: QuarantineTable,
        incidents: IncidentStore,
        now_us: Callable[[], int],
        metrics: Metrics,
        *,
        request_horizon_us: int,
        max_requests: int,
        quarantine_retention_us: int,
        history_until_us: Callable[[], int],
    ) -> None:
        """Incidents that ended before ``history_until_us`` are forgotten."""
        self._requests = request_table
        self._quarantine = quarantine_table
        self._incidents = incidents
        self._now_us = now_us
        self._metrics = metrics
        self._request_horizon_us = request_horizon_us
        self._max_requests = max_requests
        self._quarantine_retention_us = quarantine_retention_us
        self._history_until_us = history_until_us

    async def run(self) -> None:
        """Prune every ``PRUNE_EVERY_S`` until cancelled."""
        while True:
            try:
                await self.prune()
            except StoreUnavailable as error:
                log.warning("what has expired is not pruned yet", error=str(error))
            await trio.sleep(PRUNE_EVERY_S)

    async def prune(self) -> None:
        """Delete all that has expired. Raises ``StoreUnavailable``."""
        await _in_portions(self._prune_requests, requests.PRUNE_STEP_ROWS)
        if await _in_portions(self._prune_quarantine, quarantine.PRUNE_STEP_ROWS):
            self._metrics.quarantine_events.set(await self._quarantine.count())
        forgotten = await _in_portions(self._prune_incidents, pruning.STEP_INCIDENTS)
        self._metrics.incidents_forgotten.inc(forgotten)

    async def _prune_requests(self) -> int:
        pruned = await self._requests.prune(
            before_us=self._now_us() - self._request_horizon_us, max_rows=self._max_requests
        )
        if pruned.forgotten_early:
            self._metrics.request_keys_forgotten.inc(pruned.forgotten_early)
            log.warning(
                "Idempotency-Keys are forgotten before their time",
                count=pruned.forgotten_early,
                remedy="raise engine.max_remembered_requests",
            )
        return pruned.rows

    async def _prune_quarantine(self) -> int:
        return await self._quarantine.prune(
            before_us=self._now_us() - self._quarantine_retention_us
        )

    async def _prune_incidents(self) -> int:
        return await self._incidents.prune(before_us=self._history_until_us())


async def _in_portions(prune: Callable[[], Awaitable[int]], portion: int) -> int:
    """Call ``prune`` until it finds less than a portion; return what it deleted in all."""
    total = 0
    while True:
        deleted = await prune()
        total += deleted
        if deleted < portion:
            return total
        await trio.sleep(PAUSE_S)
