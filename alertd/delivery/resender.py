"""Tells receivers that forget what is on, again and again: Alertmanagers.

Owns when, and reading what the outbox has of it. Nothing of it is recorded: an attempt that fails
is made up for by the next one. Leaves the order between that and new messages to the channel.

A receiver that asks to be left alone is, but for minutes at most: it ends what it hears nothing of.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec
import prometheus_client
import structlog
import trio

from alertd.channels.message import IncidentView
from alertd.channels.protocol import Delivered, Forgetful, Retryable
from alertd.delivery.attempt import innermost
from alertd.errors import StoreUnavailable
from alertd.model import US_PER_S
from alertd.store.told import Place, Told

ENDS_TOLD_AGAIN_US: Final = 900 * US_PER_S
"""For how long an end is told again, as Prometheus does it; by when it ended."""
LONGEST_REST_S: Final = 300.0
"""For which a receiver may ask to be told nothing again."""
RECHECK_S: Final = 1.0
IDLE_RECHECK_S: Final = 60.0
"""When to look for channels again if there is none: a reload may bring one."""

log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """What was told: ``alertd.store.outbox.Outbox``."""

    async def told(self, channel: str, place: Place) -> Told:
        """Return a page of what ``channel`` was told of. Raises ``StoreUnavailable``."""
        ...


class ResendMetrics(Protocol):
    """The part of ``Metrics`` that is fed here."""

    @property
    def resends(self) -> prometheus_client.Counter:
        """Rounds, by ``channel`` and ``outcome``."""


class Resender:
    """``run`` it. ``forgetful`` returns the channels of now."""

    def __init__(
        self,
        outbox: Outbox,
        forgetful: Callable[[], Mapping[str, Forgetful]],
        now_us: Callable[[], int],
        metrics: ResendMetrics,
    ) -> None:
        self._outbox = outbox
        self._forgetful = forgetful
        self._now_us = now_us
        self._metrics = metrics
        self._under_way = set[str]()
        self._next: dict[str, tuple[Forgetful, int]] = {}
        """When each channel is told again; one that a reload has exchanged is told at once."""
        self._failing = set[str]()

    async def run(self) -> None:
        """Tell each channel at once and then at its interval, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                channels = self._forgetful()
                for name, channel in channels.items():
                    if self._is_due(name, channel) and name not in self._under_way:
                        self._under_way.add(name)
                        nursery.start_soon(self._resend, name, channel)
                await trio.sleep(RECHECK_S if channels else IDLE_RECHECK_S)

    def _is_due(self, name: str, channel: Forgetful) -> bool:
        known, next_us = self._next.get(name, (None, 0))
        return known is not channel or next_us <= self._now_us()

    async def _resend(self, name: str, channel: Forgetful) -> None:
        wait_s = channel.resend_interval_s
        try:
            outcome = await channel.resend(lambda: self._pages(name))
        except StoreUnavailable as error:
            self._tell(name, f"what was told cannot be read: {error}")
        except Exception as error:  # a fault of one channel must not stop the others
            # Its text could hold an address or a secret; its place in the code cannot.
            self._tell(name, f"unexpected {type(error).__name__} in alertd at {innermost(error)}")
        else:
            self._tell(name, None if isinstance(outcome, Delivered) else outcome.reason)
            if isinstance(outcome, Retryable) and outcome.wait_s is not None:
                wait_s = max(wait_s, min(outcome.wait_s, LONGEST_REST_S))
        finally:
            self._next[name] = channel, self._now_us() + round(wait_s * US_PER_S)
            self._under_way.discard(name)

    async def _pages(self, name: str) -> AsyncGenerator[Sequence[IncidentView], None]:
        place: Place | None = Place(self._now_us() - ENDS_TOLD_AGAIN_US)
        while place is not None:
            told = await self._outbox.told(name, place)
            yield list(_readable(told.views))
            place = told.next_place

    def _tell(self, name: str, reason: str | None) -> None:
        """Count a round; log only the first that fails, and the first that does not again."""
        self._metrics.resends.labels(name, "failed" if reason else "taken").inc()
        if reason and name not in self._failing:
            self._failing.add(name)
            log.warning("what is on cannot be told again", channel=name, reason=reason)
        elif not reason and name in self._failing:
            self._failing.discard(name)
            log.info("what is on is told again", channel=name)


def _readable(views: Sequence[bytes]) -> Iterator[IncidentView]:
    for view in views:
        with contextlib.suppress(msgspec.DecodeError):  # of an alertd before messages had views
            yield msgspec.json.decode(view, type=IncidentView)
