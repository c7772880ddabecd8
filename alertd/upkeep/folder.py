"""When the log is folded, and how much of the machine that may take.

Owns the decision that there is enough to fold, or something old enough. It rests as ``pace.py``
says, longer while events are being judged, so that they have the processor and the disk when they
need them: a burst is folded when it is over. When the log grows faster than that there is no rest
any more. Leaves how to fold to ``store/folding.py``.

What is damaged is not folded: the log stays as it is, and says so, for events must go on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.store.failures import StoreCorrupt
from alertd.store.folding import Folding
from alertd.upkeep.pace import Pace

LOOK_EVERY_S: Final = 5.0
HURRY_SEGMENTS: Final = 5
"""When so many segments could be folded, there is no rest between two portions."""

log = structlog.get_logger(__name__)


class Folder:
    """Folds the log while it runs. A store that cannot write is asked again the next time."""

    def __init__(
        self,
        folding: Folding,
        now_us: Callable[[], int],
        metrics: Metrics,
        *,
        after_events: int,
        after_us: int,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        """A segment has ``after_events``; fewer are folded once they are ``after_us`` old.

        While others are ``is_busy`` it takes longer.
        """
        self._folding = folding
        self._now_us = now_us
        self._metrics = metrics
        self._after_events = after_events
        self._after_us = after_us
        self._pace = Pace(is_busy=is_busy)
        self._is_in_hurry = False

    async def run(self) -> None:
        """Fold what is due every ``LOOK_EVERY_S`` until cancelled, or until there is damage."""
        while True:
            try:
                await self.fold()
            except StoreUnavailable as error:
                log.warning("events are not folded yet", error=str(error))
            except StoreCorrupt as error:
                self._metrics.folding_stopped.set(1)
                log.error("no more events are folded", error=str(error))
                return
            await trio.sleep(LOOK_EVERY_S)

    async def fold(self) -> None:
        """Fold all that is due. Raises ``StoreUnavailable`` and ``StoreCorrupt``."""
        self._pace.begin()
        await self._folding.settle(self._rest)
        while await self._is_due():
            folded = await self._folding.fold(self._after_events, self._rest)
            self._metrics.events_folded.inc(folded)
        self._metrics.unfolded_events.set(self._folding.unfolded_events)

    async def _is_due(self) -> bool:
        unfolded = await self._folding.unfolded()
        self._is_in_hurry = unfolded.events >= HURRY_SEGMENTS * self._after_events
        if unfolded.oldest_received_us is None:
            return False
        age_us = self._now_us() - unfolded.oldest_received_us
        return unfolded.events >= self._after_events or age_us >= self._after_us

    async def _rest(self) -> None:
        await (self._pace.hurry() if self._is_in_hurry else self._pace.rest())
