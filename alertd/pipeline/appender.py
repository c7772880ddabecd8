"""From the queue to the disk: groups of batches made durable in one commit each.

Owns group commit and the dropping of events that were accepted before. Whatever waits is taken
together, up to ``MAX_GROUP_EVENTS``; after the fsync everyone in the group is answered, and the
group goes on to the evaluator. While one is fsynced the evaluator works on the one before. Small
batches of a group become one entry of the log: it is the entries that cost, here, on disk and in
the engine. Such an entry was received with the last of them. A group that begins with a small batch
is closed a turn of the loop later: its neighbours come in that turn.

Invariants: what was answered is durable. Positions follow the order in which work was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import structlog
import trio

from alertd.clock import Clock
from alertd.errors import StoreUnavailable
from alertd.ingest.dedup import DedupIndex, digests_of
from alertd.ingest.idempotency import AnsweredRequest
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import US_PER_S, EventBatch
from alertd.pipeline.work import Backlog, Entry, Work
from alertd.rules import RuleChange
from alertd.store.protocols import EventStore, RuleStore

MAX_GROUP_EVENTS: Final = 20_000
"""Events that one commit takes together; a single larger batch is committed alone."""
MAX_JOINED_EVENTS: Final = 20_000
"""Events that one entry takes together: while they are quiet, a step of about a millisecond."""
REFUSAL_FRESH_S: Final = 10.0

log = structlog.get_logger(__name__)


class _Admitted(NamedTuple):
    """Events that are new."""

    batch: EventBatch
    works: list[Work]
    """What they came with."""
    digests: list[bytes]
    """Of their ids, which are to be remembered once they are durable."""


class Appender:
    """Makes what comes in durable, and hands it on in order of position."""

    def __init__(
        self,
        *,
        events: EventStore,
        rules: RuleStore,
        registry: SeriesRegistry,
        dedup: DedupIndex,
        backlog: Backlog,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._events = events
        self._rules = rules
        self._registry = registry
        self._dedup = dedup
        self._backlog = backlog
        self._clock = clock
        self._metrics = metrics
        self._refusal: tuple[int, str] | None = None

    @property
    def refusal(self) -> str | None:
        """Why the store could not write, if that was within the last ``REFUSAL_FRESH_S``."""
        if self._refusal is None:
            return None
        since_us, reason = self._refusal
        is_fresh = self._clock.now_us() - since_us < REFUSAL_FRESH_S * US_PER_S
        return reason if is_fresh else None

    async def run(
        self,
        inbox: trio.MemoryReceiveChannel[Work],
        judge: trio.MemorySendChannel[list[Entry]],
    ) -> None:
        """Work until ``inbox`` is closed and empty; then close ``judge``."""
        async with judge:
            async for first in inbox:
                if first.size < MAX_JOINED_EVENTS:
                    await trio.lowlevel.checkpoint()  # others have come that are just being read
                for group in _gather(first, inbox):
                    await self._backlog.until_few_wait()
                    with self._backlog.committing(group):
                        entries = await self._commit(group)
                    if entries:
                        self._backlog.to_judge(entries)
                        await judge.send(entries)

    async def _commit(self, group: list[Work]) -> list[Entry]:
        """Make a group durable and answer those who wait for just that."""
        began_s = trio.current_time()
        body = group[0].body
        try:
            if isinstance(body, RuleChange):
                entries = [Entry(await self._rules.apply(body), body, group)]
            else:
                entries = await self._commit_events(group)
        except StoreUnavailable as error:
            self._refuse(group, error)
            return []
        self._refusal = None
        self._metrics.commits.inc()
        self._metrics.commit_seconds.observe(trio.current_time() - began_s)
        for work in group:
            self._backlog.durable(work)
        return entries

    async def _commit_events(self, group: list[Work]) -> list[Entry]:
        joined = list(_joined(self._without_duplicates(group)))
        new_series = self._registry.take_unsaved()
        batches = [each.batch for each in joined]
        answered = _answered(group)
        first = 0
        try:
            if batches or new_series or answered:
                first = await self._events.append(batches, new_series, answered)
        except StoreUnavailable:
            self._registry.give_back(new_series)
            raise
        forgotten = sum(
            self._dedup.add(each.digests, each.batch.received_us) for each in joined if each.digests
        )
        accepted = sum(map(len, batches))
        self._metrics.event_ids_forgotten.inc(forgotten)
        self._metrics.events_accepted.inc(accepted)
        self._metrics.commit_events.observe(accepted)
        self._metrics.events_duplicate.inc(sum(work.duplicates for work in group))
        return [Entry(first + place, each.batch, each.works) for place, each in enumerate(joined)]

    def _without_duplicates(self, group: list[Work]) -> list[_Admitted]:
        """Return what is new in the group, batch by batch, and count the rest in each work."""
        admitted = []
        taken: set[bytes] = set()
        for work in group:
            assert isinstance(work.body, EventBatch)
            batch, digests = self._new_events(work.body, taken)
            work.duplicates = len(work.body) - len(batch)
            if len(batch):
                admitted.append(_Admitted(batch, [work], digests))
        return admitted

    def _new_events(self, batch: EventBatch, taken: set[bytes]) -> tuple[EventBatch, list[bytes]]:
        """Return the events whose ids are new, and these; ``taken`` are those of the group."""
        if batch.ids is None:
            return batch, []
        kept, new = [], []
        for place, digest in enumerate(digests_of(batch, self._registry.get)):
            if digest is None:
                kept.append(place)
            elif digest not in taken and digest not in self._dedup:
                taken.add(digest)
                new.append(digest)
                kept.append(place)
        return batch if len(kept) == len(batch) else batch.select(kept), new

    def _refuse(self, group: list[Work], error: StoreUnavailable) -> None:
        self._refusal = (self._clock.now_us(), str(error))
        log.warning("store cannot write", error=str(error), requests=len(group))
        for work in group:
            self._backlog.refused(work, error)


def _gather(first: Work, inbox: trio.MemoryReceiveChannel[Work]) -> list[list[Work]]:
    """Return what waits now, cut into groups that are committed together."""
    groups = [[first]]
    size = first.size
    while size < MAX_GROUP_EVENTS:
        try:
            work = inbox.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            break
        size += work.size
        alone = isinstance(work.body, RuleChange) or isinstance(groups[-1][-1].body, RuleChange)
        if alone:
            groups.append([work])
        else:
            groups[-1].append(work)
    return groups


def _joined(admitted: Iterable[_Admitted]) -> Iterator[_Admitted]:
    """Yield what was admitted, with small neighbours as one."""
    neighbours: list[_Admitted] = []
    events = 0
    for each in admitted:
        if neighbours and events + len(each.batch) > MAX_JOINED_EVENTS:
            yield _as_one(neighbours)
            neighbours, events = [], 0
        neighbours.append(each)
        events += len(each.batch)
    if neighbours:
        yield _as_one(neighbours)


def _as_one(neighbours: Sequence[_Admitted]) -> _Admitted:
    return _Admitted(
        EventBatch.joined([each.batch for each in neighbours]),
        [work for each in neighbours for work in each.works],
        [digest for each in neighbours for digest in each.digests],
    )


def _answered(group: list[Work]) -> list[AnsweredRequest]:
    """Return what is to be remembered of the requests with a key; duplicates are counted by now."""
    answered = []
    for work in group:
        if work.request is not None and isinstance(work.body, EventBatch):
            answer = work.request.answer(work.duplicates)
            answered.append(AnsweredRequest(work.request.id, work.body.received_us, answer))
    return answered
