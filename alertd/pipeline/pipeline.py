"""The one road of everything that changes the engine's state: append → step → record.

Owns the way in: batches of events and rule changes wait in one bounded queue, for the two halves
of the road. The appender makes a group of them durable in one commit and answers those who wait;
the evaluator gives each to the engine, in order of position, and records what follows.
Leaves recovery to ``upkeep/recovery.py`` and sending to ``delivery/dispatch.py``.

Invariants: receive times never decrease, and none is before a tick that came first. An error
that leaves it unknown what is on disk ends the process: recovery will tell. However it ends,
nobody is left waiting for an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from alertd.clock import Clock
from alertd.engine.engine import Engine
from alertd.errors import Overloaded, StoreUnavailable
from alertd.ingest.dedup import DedupIndex
from alertd.ingest.idempotency import KeyedRequest
from alertd.ingest.series import SeriesRegistry
from alertd.limits import Limit
from alertd.metrics import Metrics
from alertd.model import EventBatch, Limits
from alertd.notify.announce import Announcer
from alertd.pipeline.appender import Appender
from alertd.pipeline.evaluator import Evaluator, IncidentSink
from alertd.pipeline.work import Backlog, Entry, Work
from alertd.rules import RuleChange, RuleRecord
from alertd.store.protocols import EventStore, RuleStore

MAX_QUEUED_REQUESTS: Final = 4_096
MAX_UNJUDGED_GROUPS: Final = 1_000
"""Committed groups that may wait for the evaluator; a storm that is being recorded leaves many."""


class Pipeline:
    """Appends, steps and records. ``run`` it once; ``close`` lets it finish what it has."""

    def __init__(
        self,
        *,
        events: EventStore,
        rules: RuleStore,
        incidents: IncidentSink,
        engine: Engine,
        registry: SeriesRegistry,
        dedup: DedupIndex,
        announcer: Announcer,
        clock: Clock,
        metrics: Metrics,
        max_queued_events: int,
        applied: int,
        on_recorded: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._max_queued_events = max_queued_events
        self._backlog = Backlog(clock)
        self._appender = Appender(
            events=events,
            rules=rules,
            registry=registry,
            dedup=dedup,
            backlog=self._backlog,
            clock=clock,
            metrics=metrics,
        )
        self.evaluator = Evaluator(
            engine=engine,
            events=events,
            incidents=incidents,
            registry=registry,
            announcer=announcer,
            backlog=self._backlog,
            clock=clock,
            metrics=metrics,
            applied=applied,
            on_recorded=on_recorded,
        )
        self._inbox_send, self._inbox = trio.open_memory_channel[Work](MAX_QUEUED_REQUESTS)
        self._judge_send, self._to_judge = trio.open_memory_channel[list[Entry]](
            MAX_UNJUDGED_GROUPS
        )

    @property
    def engine(self) -> Engine:
        """What judges. Only the evaluator may step it."""
        return self.evaluator.engine

    @property
    def applied(self) -> int:
        """Position of the last entry whose effects are recorded."""
        return self.evaluator.applied

    @property
    def is_busy(self) -> bool:
        """Whether anything that was taken is not judged yet."""
        return bool(self._backlog)

    @property
    def queued_events(self) -> int:
        """Events accepted into the queue and not yet durable."""
        return self._backlog.queued_events

    @property
    def lag_us(self) -> int:
        """For how long the oldest input that the engine has not seen has waited."""
        return self._backlog.lag_us

    @property
    def oldest_append_us(self) -> int:
        """For how long the oldest event that is not durable yet has waited."""
        return self._backlog.oldest_append_us

    @property
    def refusal(self) -> str | None:
        """Why the store could not write, if that was a moment ago."""
        return self._appender.refusal

    async def append(self, batch: EventBatch, request: KeyedRequest | None = None) -> int:
        """Make ``batch`` durable; return how many of its events were duplicates.

        With a ``request`` its answer is stored in the same transaction, and the batch may be
        empty. A cancelled caller changes nothing for the batch. Raises ``Overloaded`` at once if
        the queue is full, ``StoreUnavailable`` if nothing was stored.
        """
        queued = self._backlog.queued_events
        if queued and queued + len(batch) > self._max_queued_events:
            raise Overloaded(
                f"the queue holds {queued} events, at most {self._max_queued_events} "
                "are taken (engine.max_queue_events); send it again later",
                retry_after_s=1,
                limit=Limit.QUEUE,
            )
        not_before_us = self._backlog.not_before_us
        if batch.received_us < not_before_us:
            # Two requests may be handed in in another order than they were received.
            batch = msgspec.structs.replace(batch, received_us=not_before_us)
        work = Work(batch, request)
        await self._submit(work, batch.received_us)
        return work.duplicates

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Make a change of rules durable, and return when the engine judges by it.

        Raises ``Overloaded`` and ``StoreUnavailable`` as ``append`` does.
        """
        change = RuleChange(at_us=self._clock.now_us(), put=put, deleted=deleted)
        await self._submit(Work(change), change.at_us)

    async def limit(self, limits: Limits) -> None:
        """Have the engine keep no more than ``limits``, from here in the log on.

        Raises ``Overloaded`` and ``StoreUnavailable`` as ``append`` does.
        """
        if limits != self.engine.limits:
            change = RuleChange(at_us=self._clock.now_us(), limits=limits)
            await self._submit(Work(change), change.at_us)

    async def _submit(self, work: Work, received_us: int) -> None:
        try:
            self._inbox_send.send_nowait(work)
        except trio.WouldBlock:
            raise Overloaded(
                f"{MAX_QUEUED_REQUESTS} requests are waiting already; send it again later",
                retry_after_s=1,
                limit=Limit.QUEUE,
            ) from None
        except trio.ClosedResourceError:
            raise Overloaded("the server is shutting down", retry_after_s=5) from None
        self._backlog.take(work, received_us)
        await work.done.wait()
        if work.error is not None:
            raise work.error

    def hurry(self) -> None:
        """The process is to end soon: from now on ``run`` does not wait for a store that refuses.

        It raises ``StoreUnavailable`` instead of recording again and again; recovery finds the
        same transitions at the next start.
        """
        self.evaluator.hurry()

    def close(self) -> None:
        """Take nothing more. ``run`` returns when everything taken has been judged."""
        self._inbox_send.close()

    async def run(self) -> None:
        """Work until ``close`` is called and the queues are empty.

        However it ends, nobody is left waiting: who was not answered by then is told so.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._appender.run, self._inbox, self._judge_send)
                nursery.start_soon(self.evaluator.run, self._to_judge)
        finally:
            self._inbox_send.close()  # who comes now is refused at once
            self._backlog.abandon(
                StoreUnavailable("the server stopped before it could say; send it again")
            )
