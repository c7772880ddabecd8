"""From the disk to the engine: each input judged in its order, and what follows recorded.

Owns when the engine is given what: durable entries in order of position, ticks of the clock in
between. Transitions become incidents and notifications in one commit with the position that they
come from; while the store cannot take them nothing more is judged. Leaves the durability of the
inputs to ``appender.py``, and what is said in a notification to ``notify/``.

Invariants: positions reach the engine in order, each once, and no tick runs ahead of a batch
that was received before it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog
import trio

from alertd.clock import Clock
from alertd.engine.engine import Engine
from alertd.engine.inputs import Reconsider, RulesChanged, Tick
from alertd.errors import StoreUnavailable
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import US_PER_S, EndReason, EventBatch, Transition
from alertd.notify.announce import Announcer
from alertd.outbound import Announcement
from alertd.pipeline.backfill import start_warm
from alertd.pipeline.work import Backlog, Entry
from alertd.rules import RuleChange, compile_rule
from alertd.store.protocols import EventStore
from alertd.turn import by_turns, others

SMALLEST_PORTION: Final = 10
"""Transitions that one commit of a storm records: 0.8 ms, for which events may have to wait."""
LARGEST_PORTION: Final = 100
"""When as much waits to be judged as may: a transition costs half then."""
TELL_EVERY_S: Final = 0.1
"""How often those who send are told of what a storm has brought so far."""
LONGEST_PAUSE_S: Final = 0.001
"""For which a long step waits for a commit of few events: it is not to wait for a slow disk."""
LONGEST_SLEEP_S: Final = 1.0
STORE_RETRY_S: Final = 1.0
MAX_LOGGED_TRANSITIONS: Final = 100
"""Changes of state that one step logs in full; a storm's others are counted in one line."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class IncidentSink(Protocol):
    """Where transitions are recorded."""

    async def record(self, announcements: Sequence[Announcement], *, applied: int | None) -> None:
        """Record incidents and notifications in one transaction. Doing it twice is harmless.

        ``applied`` is None for what is durable only when the next call with a position is.
        """
        ...


class Evaluator:
    """Steps the engine, and records what it finds."""

    def __init__(
        self,
        *,
        engine: Engine,
        events: EventStore,
        incidents: IncidentSink,
        registry: SeriesRegistry,
        announcer: Announcer,
        backlog: Backlog,
        clock: Clock,
        metrics: Metrics,
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
        self.between_steps = trio.Lock()
        """Held while the engine steps and records; hold it to see a state at one position."""
        self._events = events
        self._incidents = incidents
        self._registry = registry
        self._announcer = announcer
        self._backlog = backlog
        self._clock = clock
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._is_ending = False

    def hurry(self) -> None:
        """The process is to end soon: from now on nothing waits for a store that refuses.

        It raises ``StoreUnavailable`` instead of recording again and again; recovery finds the
        same transitions at the next start.
        """
        self._is_ending = True

    async def run(self, to_judge: trio.MemoryReceiveChannel[list[Entry]]) -> None:
        """Judge what comes, and what the clock makes due, until ``to_judge`` is closed."""
        while True:
            entries: list[Entry] = []
            with trio.move_on_after(self._idle_s()):
                try:
                    entries = await to_judge.receive()
                except trio.EndOfChannel:
                    return
            for entry in entries:
                async with self.between_steps:
                    await self._judge(entry)
            if not entries:
                async with self.between_steps:
                    await self.tick()

    def _idle_s(self) -> float:
        """Return how long to wait for a batch before the clock must be looked at."""
        wake_us = self.engine.next_wake_us()
        if self._backlog or wake_us is None:
            return LONGEST_SLEEP_S
        return min(LONGEST_SLEEP_S, max(0.0, (wake_us - self._clock.now_us()) / US_PER_S))

    async def _judge(self, entry: Entry) -> None:
        transitions = []
        if isinstance(entry.body, EventBatch):
            transitions = await self._step(entry.body)
            self.judged_events += len(entry.body)
        else:
            transitions += self.engine.step(rules_changed(entry.body))
            transitions += await self._start_warm(entry.body, entry.position)
        await self._record(transitions, entry.position)
        self.applied = entry.position
        self._backlog.judged(entry)

    async def _start_warm(self, change: RuleChange, position: int) -> list[Transition]:
        """Tell new rules what is stored, however long the store needs, as ``_record`` does.

        Going on without would make the incidents depend on what the store could do just then.
        """
        start = partial(
            start_warm,
            self.engine,
            self._events,
            series_count=len(self._registry),
            at_us=change.at_us,
            position=position,
        )
        return await self._insist(start, "new rules wait for the store")

    async def tick(self) -> int:
        """Judge what the clock has made due; return how far it has gone.

        The caller holds ``between_steps``.
        """
        now_us = self._backlog.tick_us()
        await self._record(await self._step(Tick(now_us)), self.applied)
        return now_us

    async def _step(self, event: EventBatch | Tick) -> list[Transition]:
        """Give the engine what may take long, and others a turn whenever it pauses."""
        transitions: list[Transition] = []
        async for found in by_turns(self.engine.in_slices(event), self._let_others_go_first):
            transitions += found
        return transitions

    async def _let_others_go_first(self) -> None:
        """Let others have a turn, and the writer the interpreter while it has few events.

        It would wait for that otherwise for as long as ten turns, and who sent them as well.
        """
        await others()
        await self._backlog.until_few_are_committed(LONGEST_PAUSE_S)

    async def reconsider(self, event: Reconsider) -> int:
        """Have the engine judge a stretch of the past again; return how many transitions follow.

        The caller holds ``between_steps``.
        """
        transitions = self.engine.step(event)
        await self._record(transitions, self.applied)
        return len(transitions)

    def needed_after_us(self, max_age_us: int) -> int:
        """Return after which event time the reconciler may ask for what is stored, now or later.

        Events are accepted up to an age of ``max_age_us`` when they are received, and then judged
        with all that lies within the windows of their rules: so that reaches further back.
        """
        return self.engine.needed_after_us(self._backlog.judgeable_until_us - max_age_us)

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

        A storm is recorded in portions, so that commits of events come in between: each waits for
        the one that is under way, which it would slow down. Only the last says that ``position``
        is applied, and is fsynced: a replay finds the others again.
        Raises ``StoreUnavailable`` after ``hurry``.
        """
        await foresee(transitions, self._announcer)
        start, told_s = 0, -math.inf
        while start < len(transitions):
            if start:
                await self._backlog.until_committed()
            end = start + max(SMALLEST_PORTION, round(LARGEST_PORTION * self._backlog.fullness))
            applied = position if end >= len(transitions) else None
            log_transitions(transitions[start : min(end, MAX_LOGGED_TRANSITIONS)])
            announcements = await self._announced(transitions[start:end])
            ends_a_storm = applied is not None and told_s > -math.inf
            if announcements or ends_a_storm:
                record = partial(self._incidents.record, announcements, applied=applied)
                count = len(announcements)
                await self._insist(record, "incidents wait for the store", count=count)
                now_s = trio.current_time()
                if applied is not None or now_s - told_s >= TELL_EVERY_S:
                    self._on_recorded()
                    told_s = now_s
            start = end
        if len(transitions) > MAX_LOGGED_TRANSITIONS:
            count = len(transitions) - MAX_LOGGED_TRANSITIONS
            log.info("more changes of state", count=count)

    async def _announced(self, transitions: list[Transition]) -> list[Announcement]:
        self.transitions += len(transitions)
        for transition in transitions:
            self._metrics.transitions.labels(transition.kind.value).inc()
        return await announced(transitions, self._announcer)

    async def _insist(self, do: Callable[[], Awaitable[T]], waiting: str, **details: int) -> T:
        """Do it again until the store can; log what is ``waiting`` each time that it cannot.

        Raises ``StoreUnavailable`` after ``hurry``.
        """
        while True:
            try:
                return await do()
            except StoreUnavailable as error:
                if self._is_ending:
                    raise
                log.error(waiting, error=str(error), **details)
                await trio.sleep(STORE_RETRY_S)


async def foresee(transitions: Sequence[Transition], announcer: Announcer) -> None:
    """Let ``announcer`` know of all ``transitions`` before it announces the first."""
    if announcer.foresees:
        async for transition in by_turns(transitions, _others):
            announcer.foresee(transition)


async def announced(transitions: Sequence[Transition], announcer: Announcer) -> list[Announcement]:
    """Return what is to be recorded of ``transitions``, in their order."""
    return [
        announcement
        async for transition in by_turns(transitions, _others)
        if (announcement := announcer.announce(transition)) is not None
    ]


async def _others() -> None:
    """Let others have a turn between two transitions, of which an annotation may take long.

    Nobody is cancelled at that: what the engine has found would not be told.
    """
    with trio.CancelScope(shield=True):
        await others()


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
    for transition in transitions:
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
