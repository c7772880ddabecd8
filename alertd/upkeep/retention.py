"""When old events become rollups, and when those go.

Owns when either goes. It rests as ``pace.py`` says, for a moment at least after each transaction,
so that events have the writer when they need it. Leaves the steps to ``store/retention.py`` and
``store/space.py``. What is damaged is not rolled up: it stays as it is, and says so, for events
must go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
import trio

from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.store.event_log import LogReader
from alertd.store.failures import StoreCorrupt
from alertd.store.retention import EventRetention
from alertd.store.space import Space, Usage
from alertd.upkeep.pace import Pace

LOOK_EVERY_S: Final = 10.0
LEAST_REST_S: Final = 0.02
"""Between two transactions."""

log = structlog.get_logger(__name__)


class Kept(NamedTuple):
    """What is kept, as it was when that was last looked at."""

    oldest_event_us: int | None
    """Event time of the oldest event that is not rolled up; None if there is none."""
    usage: Usage


class Retention:
    """Rolls up and forgets while it runs. A store that cannot write is asked again later."""

    def __init__(
        self,
        retention: EventRetention,
        events: LogReader,
        space: Space,
        now_us: Callable[[], int],
        metrics: Metrics,
        *,
        needed_after_us: Callable[[], int],
        rollups_us: int,
    ) -> None:
        """Events up to ``needed_after_us`` are rolled up, and rollups go at the age ``rollups_us``.

        What is newer may still be judged, or be needed to judge what comes late.
        """
        self._retention = retention
        self._events = events
        self._space = space
        self._now_us = now_us
        self._metrics = metrics
        self._needed_after_us = needed_after_us
        self._rollups_us = rollups_us
        self._pace = Pace(least_s=LEAST_REST_S)
        self.kept = Kept(None, Usage(0, 0))

    async def run(self) -> None:
        """Do what is due every ``LOOK_EVERY_S`` until cancelled, or until there is damage."""
        while True:
            try:
                await self.look()
                await self.retain()
                await self.look()
            except StoreUnavailable as error:
                log.warning("old events are not rolled up yet", error=str(error))
            except StoreCorrupt as error:
                self._metrics.retention_stopped.set(1)
                log.error("no more events are rolled up", error=str(error))
                return
            await trio.sleep(LOOK_EVERY_S)

    async def retain(self) -> None:
        """Do all that is due. Raises ``StoreUnavailable`` and ``StoreCorrupt``."""
        rest = self._pace.rest
        self._pace.begin()
        while events := await self._retention.roll_up(self._needed_after_us(), rest):
            self._metrics.events_rolled_up.inc(events)
            log.info("old events rolled up", events=events)
            await self._give_back()
        forgotten = await self._retention.forget_rollups(self._now_us() - self._rollups_us, rest)
        if forgotten:
            log.info("old rollups forgotten", segments=forgotten)
        await self._give_back()

    async def look(self) -> None:
        """See what is kept now."""
        span = await self._events.span()
        usage = await self._space.usage()
        self.kept = Kept(None if span is None else span.least_us, usage)
        self._metrics.store_bytes.set(usage.size_bytes)
        self._metrics.store_free_bytes.set(usage.free_bytes)

    async def _give_back(self) -> None:
        while await self._space.give_back():
            await self._pace.rest()
