"""The one road of everything that changes the engine's state: append → step → record.

Owns the order of inputs. Batches of events and rule changes wait in one bounded queue; the
appender makes a group of them durable in one commit and answers those who wait; the evaluator
gives each to the engine, in order of position, and records the transitions that follow, with
their notifications, in one commit. While one group's commit is fsynced the evaluator works on
the group before. Leaves recovery to ``recovery.py`` and sending to ``dispatch.py``.

Invariants: whoever was answered is durable. Positions reach the engine in order, each once.
Receive times never decrease, and no tick runs ahead of a batch that was received before it.
An error that leaves it unknown what is on disk ends the process: recovery will tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
import structlog
import trio

from alertd.backfill import start_warm
from alertd.clock import Clock
from alertd.dedup import DedupIndex, digests_of
from alertd.engine.engine import Engine
from alertd.engine.inputs import Reconsider, RulesChanged, Tick
from alertd.errors import AlertdError, Overloaded, StoreUnavailable
from alertd.idempotency import AnsweredRequest, KeyedRequest
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Announcement, EndReason, EventBatch, Limits, Transition
from alertd.notify.announce import Announcer
from alertd.rules import RuleChange, RuleRecord, compile_rule
from alertd.series import SeriesRegistry
from alertd.store.protocols import EventStore, RuleStore

MAX_QUEUED_REQUESTS: Final = 4_096
MAX_GROUP_EVENTS: Final = 20_000
"""Events that one commit takes together; a single larger batch is committed alone."""
MAX_UNJUDGED_EVENTS: Final = 80_000
"""Committed events that may wait for the evaluator before the appender waits for it."""
MAX_UNJUDGED_GROUPS: Final = 1_000
"""The same in groups, of which a storm that is being recorded leaves many small ones."""
SLICE_EVENTS: Final = 5_000
"""Events that the engine is given between two looks at other tasks."""
RECORD_PORTION: Final = 50
"""Transitions that one commit records: some 10 ms, for which events may have to wait."""
LONGEST_SLEEP_S: Final = 1.0
STORE_RETRY_S: Final = 1.0
REFUSAL_FRESH_S: Final = 10.0
MAX_LOGGED_TRANSITIONS: Final = 100
"""Changes of state that one step logs in full; a storm's others are counted in one line."""

log = structlog.get_logger(__name__)


class IncidentSink(Protocol):
    """Where transitions are recorded."""

    async def record(self, announcements: Sequence[Announcement], *, applied: int) -> None:
        """Record incidents and notifications in one transaction. Doing it twice is harmless."""
        ...


@dataclass(slots=True, eq=False)
class _Work:
    """Something in the queue, and what became of it."""

    body: EventBatch | RuleChange
    request: KeyedRequest | None = None
    done: trio.Event = field(default_factory=trio.Event)
    duplicates: int = 0
    error: AlertdError | None = None


@dataclass(slots=True, frozen=True)
class _Entry:
    """A durable input on its way to the engine, and the work that it came from."""

    position: int
    body: EventBatch | RuleChange
    work: _Work


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
        self.engine = engine
        self.applied = applied
        """Position of the last entry whose effects are recorded."""
        self.transitions = 0
        """How many there have been; with ``applied`` it tells whether anything has changed."""
        self.judged_events = 0
        """Events that the engine was given since the start."""
        self._events = events
        self._rules = rules
        self._incidents = incidents
        self._registry = registry
        self._dedup = dedup
        self._announcer = announcer
        self._clock = clock
        self._metrics = metrics
        self._max_queued_events = max_queued_events
        self._on_recorded = on_recorded
        self._queued_events = 0
        self._unjudged_events = 0
        self._judged = trio.Event()
        self._newest_received_us = 0
        self._refusal: tuple[int, str] | None = None
        self._is_ending = False
        self._outstanding: dict[_Work, int] = {}  # receive times of what the engine has not seen
        self._inbox_send, self._inbox = trio.open_memory_channel[_Work](MAX_QUEUED_REQUESTS)
        self._judge_send, self._to_judge = trio.open_memory_channel[list[_Entry]](
            MAX_UNJUDGED_GROUPS
        )
        self._between_steps = trio.Lock()

    @property
    def queued_events(self) -> int:
        """Events accepted into the queue and not yet durable."""
        return self._queued_events

    @property
    def lag_us(self) -> int:
        """For how long the oldest input that the engine has not seen has waited."""
        now_us = self._clock.now_us()
        return now_us - next(iter(self._outstanding.values()), now_us)

    @property
    def refusal(self) -> str | None:
        """Why the store could not write, if that was within the last ``REFUSAL_FRESH_S``."""
        if self._refusal is None:
            return None
        since_us, reason = self._refusal
        is_fresh = self._clock.now_us() - since_us < REFUSAL_FRESH_S * US_PER_S
        return reason if is_fresh else None

    @property
    def between_steps(self) -> trio.Lock:
        """Held while the engine steps and records; hold it to see a state at one position."""
        return self._between_steps

    async def append(self, batch: EventBatch, request: KeyedRequest | None = None) -> int:
        """Make ``batch`` durable; return how many of its events were duplicates.

        With a ``request`` its answer is stored in the same transaction, and the batch may be
        empty. A cancelled caller changes nothing for the batch. Raises ``Overloaded`` at once if
        the queue is full, ``StoreUnavailable`` if nothing was stored.
        """
        if self._queued_events and self._queued_events + len(batch) > self._max_queued_events:
            raise Overloaded(
                f"the queue holds {self._queued_events} events, at most {self._max_queued_events} "
                "are taken (engine.max_queue_events); send it again later",
                retry_after_s=1,
            )
        if batch.received_us < self._newest_received_us:
            # Two requests may be handed in in another order than they were received.
            batch = msgspec.structs.replace(batch, received_us=self._newest_received_us)
        work = _Work(batch, request)
        await self._submit(work, batch.received_us)
        return work.duplicates

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Make a change of rules durable, and return when the engine judges by it.

        Raises ``Overloaded`` and ``StoreUnavailable`` as ``append`` does.
        """
        change = RuleChange(at_us=self._clock.now_us(), put=put, deleted=deleted)
        await self._submit(_Work(change), change.at_us)

    async def limit(self, limits: Limits) -> None:
        """Have the engine keep no more than ``limits``, from here in the log on.

        Raises ``Overloaded`` and ``StoreUnavailable`` as ``append`` does.
        """
        if limits != self.engine.limits:
            change = RuleChange(at_us=self._clock.now_us(), limits=limits)
            await self._submit(_Work(change), change.at_us)

    async def _submit(self, work: _Work, received_us: int) -> None:
        try:
            self._inbox_send.send_nowait(work)
        except trio.WouldBlock:
            raise Overloaded(
                f"{MAX_QUEUED_REQUESTS} requests are waiting already; send it again later",
                retry_after_s=1,
            ) from None
        except trio.ClosedResourceError:
            raise Overloaded("the server is shutting down", retry_after_s=5) from None
        self._outstanding[work] = self._newest_received_us = received_us
        if isinstance(work.body, EventBatch):
            self._queued_events += len(work.body)
        await work.done.wait()
        if work.error is not None:
            raise work.error

    def hurry(self) -> None:
        """The process is to end soon: from now on ``run`` does not wait for a store that refuses.

        It raises ``StoreUnavailable`` instead of recording again and again; recovery finds the
        same transitions at the next start.
        """
        self._is_ending = True

    def close(self) -> None:
        """Take nothing more. ``run`` returns when everything taken has been judged."""
        self._inbox_send.close()

    async def run(self) -> None:
        """Work until ``close`` is called and the queues are empty.

        However it ends, nobody is left waiting: who was not answered by then is told so.
        """
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._append_all)
                nursery.start_soon(self._judge_all)
        finally:
            self._inbox_send.close()  # who comes now is refused at once
            stopped = StoreUnavailable("the server stopped before it could say; send it again")
            for work in self._outstanding:
                if not work.done.is_set():
                    work.error = stopped
                    work.done.set()

    # ---- the appender

    async def _append_all(self) -> None:
        async with self._judge_send:
            async for first in self._inbox:
                for group in self._gather(first):
                    await self._until_few_wait()
                    entries = await self._commit(group)
                    if entries:
                        self._unjudged_events += sum(_size(entry.work) for entry in entries)
                        await self._judge_send.send(entries)

    async def _until_few_wait(self) -> None:
        while self._unjudged_events > MAX_UNJUDGED_EVENTS:
            self._judged = trio.Event()
            await self._judged.wait()

    def _gather(self, first: _Work) -> list[list[_Work]]:
        """Return what waits now, cut into groups that are committed together."""
        groups = [[first]]
        size = _size(first)
        while size < MAX_GROUP_EVENTS:
            try:
                work = self._inbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            size += _size(work)
            alone = isinstance(work.body, RuleChange) or isinstance(groups[-1][-1].body, RuleChange)
            if alone:
                groups.append([work])
            else:
                groups[-1].append(work)
        return groups

    async def _commit(self, group: list[_Work]) -> list[_Entry]:
        """Make a group durable and answer those who wait for just that."""
        began_s = trio.current_time()
        body = group[0].body
        try:
            if isinstance(body, RuleChange):
                entries = [_Entry(await self._rules.apply(body), body, group[0])]
            else:
                entries = await self._commit_events(group)
        except StoreUnavailable as error:
            self._refuse(group, error)
            return []
        self._refusal = None
        self._metrics.commits.inc()
        self._metrics.commit_seconds.observe(trio.current_time() - began_s)
        for work in group:
            if isinstance(work.body, EventBatch):
                self._queued_events -= len(work.body)
                work.done.set()
        return entries

    async def _commit_events(self, group: list[_Work]) -> list[_Entry]:
        admitted = self._without_duplicates(group)
        new_series = self._registry.take_unsaved()
        batches = [batch for batch, _ in admitted]
        answered = _answered(group)
        first = 0
        try:
            if batches or new_series or answered:
                first = await self._events.append(batches, new_series, answered)
        except StoreUnavailable:
            self._registry.give_back(new_series)
            raise
        for batch in batches:
            forgotten = self._dedup.remember(batch, self._registry.get)
            self._metrics.event_ids_forgotten.inc(forgotten)
            self._metrics.events_accepted.inc(len(batch))
            self._metrics.commit_events.observe(len(batch))
        for work in group:
            self._metrics.events_duplicate.inc(work.duplicates)
            if work.duplicates == _size(work):
                del self._outstanding[work]  # nothing of it is left to judge
        return [_Entry(first + place, batch, work) for place, (batch, work) in enumerate(admitted)]

    def _without_duplicates(self, group: list[_Work]) -> list[tuple[EventBatch, _Work]]:
        """Return what is new in the group, batch by batch, and count the rest in each work."""
        admitted = []
        taken: set[bytes] = set()
        for work in group:
            assert isinstance(work.body, EventBatch)
            batch = self._new_events(work.body, taken)
            work.duplicates = len(work.body) - len(batch)
            if len(batch):
                admitted.append((batch, work))
        return admitted

    def _new_events(self, batch: EventBatch, taken: set[bytes]) -> EventBatch:
        if batch.ids is None:
            return batch
        kept = []
        for place, digest in enumerate(digests_of(batch, self._registry.get)):
            if digest is None:
                kept.append(place)
            elif digest not in taken and digest not in self._dedup:
                taken.add(digest)
                kept.append(place)
        return batch if len(kept) == len(batch) else batch.select(kept)

    def _refuse(self, group: list[_Work], error: StoreUnavailable) -> None:
        self._refusal = (self._clock.now_us(), str(error))
        log.warning("store cannot write", error=str(error), requests=len(group))
        for work in group:
            del self._outstanding[work]
            if isinstance(work.body, EventBatch):
                self._queued_events -= len(work.body)
            work.error = error
            work.done.set()

    # ---- the evaluator

    async def _judge_all(self) -> None:
        while True:
            entries: list[_Entry] = []
            with trio.move_on_after(self._idle_s()):
                try:
                    entries = await self._to_judge.receive()
                except trio.EndOfChannel:
                    return
            for entry in entries:
                async with self._between_steps:
                    await self._judge(entry)
            if not entries:
                async with self._between_steps:
                    await self.tick()

    def _idle_s(self) -> float:
        """Return how long to wait for a batch before the clock must be looked at."""
        wake_us = self.engine.next_wake_us()
        if self._outstanding or wake_us is None:
            return LONGEST_SLEEP_S
        return min(LONGEST_SLEEP_S, max(0.0, (wake_us - self._clock.now_us()) / US_PER_S))

    async def _judge(self, entry: _Entry) -> None:
        transitions = []
        if isinstance(entry.body, EventBatch):
            for part in entry.body.slices(SLICE_EVENTS):
                transitions += self.engine.step(part)
                self.judged_events += len(part)
                await trio.lowlevel.checkpoint()
        else:
            transitions += self.engine.step(rules_changed(entry.body))
            transitions += await self._start_warm(entry.body, entry.position)
        await self._record(transitions, entry.position)
        self._unjudged_events -= _size(entry.work)
        self._judged.set()
        del self._outstanding[entry.work]
        self.applied = entry.position
        entry.work.done.set()

    async def _start_warm(self, change: RuleChange, position: int) -> list[Transition]:
        """Tell new rules what is stored, however long the store needs, as ``_record`` does.

        Going on without would make the incidents depend on what the store could do just then.
        """
        while True:
            try:
                return await start_warm(
                    self.engine,
                    self._events,
                    series_count=len(self._registry),
                    at_us=change.at_us,
                    position=position,
                )
            except StoreUnavailable as error:
                if self._is_ending:
                    raise
                log.error("new rules wait for the store", error=str(error))
                await trio.sleep(STORE_RETRY_S)

    async def tick(self) -> int:
        """Judge what the clock has made due; return how far it has gone.

        The caller holds ``between_steps``.
        """
        now_us = self._judged_until_us()
        await self._record(self.engine.step(Tick(now_us)), self.applied)
        return now_us

    def _judged_until_us(self) -> int:
        """Return how far the clock may go: up to now, or to the oldest input not seen yet."""
        oldest_us = next(iter(self._outstanding.values()), None)
        return self._clock.now_us() if oldest_us is None else oldest_us

    async def reconsider(self, event: Reconsider) -> int:
        """Have the engine judge a stretch of the past again; return how many transitions follow.

        The caller holds ``between_steps``.
        """
        transitions = self.engine.step(event)
        await self._record(transitions, self.applied)
        return len(transitions)

    async def mark_applied(self, position: int) -> None:
        """Note in the store that everything found up to ``position`` is recorded.

        ``applied`` was ``position`` while the caller held ``between_steps``. A store that cannot
        write is passed over: a replay then records a little more again.
        """
        try:
            await self._incidents.record((), applied=position)
        except StoreUnavailable as error:
            log.warning("the applied position is not noted", error=str(error))

    async def _record(self, transitions: list[Transition], position: int) -> None:
        """Record what was found, however long the store needs; meanwhile nothing is judged.

        A storm is recorded in portions, so that commits of events come in between. Only the
        last says that ``position`` is applied: a replay repeats the others without effect.
        Raises ``StoreUnavailable`` after ``hurry``.
        """
        log_transitions(transitions)
        for start in range(0, len(transitions), RECORD_PORTION):
            end = start + RECORD_PORTION
            applied = position if end >= len(transitions) else self.applied
            await self._record_portion(transitions[start:end], applied)

    async def _record_portion(self, transitions: list[Transition], applied: int) -> None:
        announcements = []
        self.transitions += len(transitions)
        for transition in transitions:
            self._metrics.transitions.labels(transition.kind.value).inc()
            announcement = self._announcer.announce(transition)
            if announcement is not None:
                announcements.append(announcement)
        while announcements:
            try:
                await self._incidents.record(announcements, applied=applied)
            except StoreUnavailable as error:
                if self._is_ending:
                    raise
                log.error("incidents wait for the store", error=str(error), count=len(transitions))
                await trio.sleep(STORE_RETRY_S)
                continue
            self._on_recorded()
            return


def _size(work: _Work) -> int:
    return len(work.body) if isinstance(work.body, EventBatch) else 0


def _answered(group: list[_Work]) -> list[AnsweredRequest]:
    """Return what is to be remembered of the requests with a key; duplicates are counted by now."""
    answered = []
    for work in group:
        if work.request is not None and isinstance(work.body, EventBatch):
            answer = work.request.answer(work.duplicates)
            answered.append(AnsweredRequest(work.request.id, work.body.received_us, answer))
    return answered


def rules_changed(change: RuleChange) -> RulesChanged:
    """Return a change of rules as the engine takes it; an inactive rule does not watch."""
    deleted = [(rule_id, EndReason.RULE_DELETED) for rule_id in change.deleted]
    paused = [
        (record.id, EndReason.RULE_CHANGED) for record in change.put if not record.spec.is_active
    ]
    return RulesChanged(
        at_us=change.at_us,
        put=tuple(compile_rule(record) for record in change.put if record.spec.is_active),
        dropped=(*deleted, *paused),
        limits=change.limits,
    )


_STATES = {"pending": "ok → pending", "cleared": "pending → ok", "firing": "pending → firing",
           "resolved": "firing → resolved", "corrected": "corrected by late data"}  # fmt: skip


def log_transitions(transitions: Sequence[Transition]) -> None:
    """Log one line for each change of state, with its value."""
    for transition in transitions[:MAX_LOGGED_TRANSITIONS]:
        incident = transition.incident
        reason = None if incident is None else incident.end_reason
        log.info(
            _STATES[transition.kind.value],
            rule=transition.rule.name,
            group=dict(transition.group),
            value=transition.value,
            threshold=f"{transition.rule.operator.value} {transition.rule.threshold:g}",
            **({} if incident is None else {"incident": incident.id}),
            **({} if reason is None else {"reason": reason.value}),
        )
    if len(transitions) > MAX_LOGGED_TRANSITIONS:
        log.warning("more changes of state", count=len(transitions) - MAX_LOGGED_TRANSITIONS)
