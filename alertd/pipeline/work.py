"""What has been taken and is not judged yet, and what the outside may know of it.

Owns the accounting between those who hand something in, the appender and the evaluator: receive
times that never decrease, how many events wait where, and how far the clock may go.

Invariant: what was taken stays outstanding until it is judged, refused, or found to be nothing
but duplicates; so no tick runs ahead of a batch that was received before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from alertd.clock import Clock
from alertd.errors import AlertdError
from alertd.ingest.idempotency import KeyedRequest
from alertd.model import EventBatch
from alertd.rules import RuleChange

MAX_UNJUDGED_EVENTS: Final = 80_000
"""Committed events that may wait for the evaluator before the appender waits for it."""
FEW_EVENTS: Final = 100
"""Whoever sends so few waits for the answer, and writing them is little work besides the fsync."""


@dataclass(slots=True, eq=False)
class Work:
    """Something in the queue, and what became of it."""

    body: EventBatch | RuleChange
    request: KeyedRequest | None = None
    done: trio.Event = field(default_factory=trio.Event)
    duplicates: int = 0
    error: AlertdError | None = None

    @property
    def size(self) -> int:
        """How many events it has; a change of rules has none."""
        return len(self.body) if isinstance(self.body, EventBatch) else 0


@dataclass(slots=True, frozen=True)
class Entry:
    """A durable input on its way to the engine, and the work that it came from."""

    position: int
    body: EventBatch | RuleChange
    works: Sequence[Work]

    @property
    def size(self) -> int:
        """How many events it has; a change of rules has none."""
        return len(self.body) if isinstance(self.body, EventBatch) else 0


class Backlog:
    """What is outstanding. One for the two halves of a pipeline."""

    def __init__(self, clock: Clock) -> None:
        self.not_before_us = 0
        """What is taken from now on was not received before this: what was taken last, the last
        tick. Otherwise the engine's time would go back, in a way that no replay could repeat."""
        self.queued_events = 0
        """Events taken and not yet durable."""
        self._clock = clock
        self._received_us: dict[Work, int] = {}  # in order of receipt
        self._unjudged_events = 0
        self._judged = trio.Event()
        self._committed = self._few_committed = trio.Event()
        self._committed.set()

    def __bool__(self) -> bool:
        """Return whether the engine has something yet to see."""
        return bool(self._received_us)

    @property
    def lag_us(self) -> int:
        """For how long the oldest input that the engine has not seen has waited."""
        now_us = self._clock.now_us()
        return now_us - next(iter(self._received_us.values()), now_us)

    @property
    def oldest_append_us(self) -> int:
        """For how long the oldest input that is not durable yet has waited.

        O(what waits for the evaluator): for those who ask now and then.
        """
        now_us = self._clock.now_us()
        waiting = (
            received_us
            for work, received_us in self._received_us.items()
            if not work.done.is_set() and isinstance(work.body, EventBatch)
        )
        return now_us - next(waiting, now_us)

    @property
    def judgeable_until_us(self) -> int:
        """How far the clock may go: up to now, or to the oldest input not seen yet."""
        oldest_us = next(iter(self._received_us.values()), None)
        return self._clock.now_us() if oldest_us is None else oldest_us

    def tick_us(self) -> int:
        """Return how far the clock goes now. What is taken later counts as received later."""
        now_us = self.judgeable_until_us
        self.not_before_us = max(self.not_before_us, now_us)
        return now_us

    @property
    def fullness(self) -> float:
        """How much waits for the evaluator: 1 where the appender begins to wait for it."""
        return self._unjudged_events / MAX_UNJUDGED_EVENTS

    def take(self, work: Work, received_us: int) -> None:
        """Count ``work`` as waiting to be durable."""
        self._received_us[work] = self.not_before_us = received_us
        self.queued_events += work.size

    def refused(self, work: Work, error: AlertdError) -> None:
        """Forget ``work``, of which nothing was stored, and tell who waits."""
        del self._received_us[work]
        self.queued_events -= work.size
        work.error = error
        work.done.set()

    def durable(self, work: Work) -> None:
        """Note that ``work`` is on disk; who sent events is answered, who changed rules waits."""
        if not isinstance(work.body, EventBatch):
            return
        self.queued_events -= work.size
        if work.duplicates == work.size:
            del self._received_us[work]  # nothing of it is left to judge
        work.done.set()

    def to_judge(self, entries: list[Entry]) -> None:
        """Count ``entries`` as waiting for the evaluator."""
        self._unjudged_events += sum(entry.size for entry in entries)

    def judged(self, entry: Entry) -> None:
        """Note that the effects of ``entry`` are recorded."""
        self._unjudged_events -= entry.size
        self._judged.set()
        for work in entry.works:
            del self._received_us[work]
            work.done.set()

    @contextmanager
    def committing(self, group: Sequence[Work]) -> Iterator[None]:
        """``group`` is on its way to the disk, for as long as this is entered."""
        self._committed = committed = trio.Event()
        if sum(work.size for work in group) <= FEW_EVENTS:
            self._few_committed = committed
        try:
            yield
        finally:
            committed.set()

    async def until_committed(self) -> None:
        """Wait until what is on its way to the disk has arrived, or was refused."""
        await self._committed.wait()

    async def until_few_are_committed(self, at_most_s: float) -> None:
        """Do the same where it is few events that are on their way, and not for long."""
        if not self._few_committed.is_set():
            with trio.move_on_after(at_most_s):
                await self._few_committed.wait()

    async def until_few_wait(self) -> None:
        """Wait until the evaluator has no more than ``MAX_UNJUDGED_EVENTS`` before it."""
        while self._unjudged_events > MAX_UNJUDGED_EVENTS:
            self._judged = trio.Event()
            await self._judged.wait()

    def abandon(self, error: AlertdError) -> None:
        """Tell everyone who still waits that it is over."""
        for work in self._received_us:
            if not work.done.is_set():
                work.error = error
                work.done.set()
