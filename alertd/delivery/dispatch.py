"""From the outbox to the receivers: claims what is due, sends it, settles what became of it.

Owns when an attempt is made, and that its outcome is recorded. Leaves the attempt and what its
outcome means to ``attempt.py``, how many there may be at a receiver to ``places.py``; durability,
grouping and the order of messages to the outbox.

Invariants:
* The table is the queue. In memory are only the ids of what is being sent or settled, so a
  restart resumes by itself, and nothing that is not settled is forgotten.
* A place at a receiver is taken from the claim until the outcome is *recorded*. So a crash
  repeats at most a channel's ``concurrency`` of messages, and while the store cannot write,
  sending stops instead of running ahead of it.
* Receivers do not wait for each other: one that is full is left out of the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import structlog
import trio

from alertd.config.settings import NotifyConfig
from alertd.delivery.attempt import Attempts
from alertd.delivery.places import Places
from alertd.errors import StoreUnavailable
from alertd.model import US_PER_S, Target
from alertd.outbound import Outgoing, Settlement

CLAIM_LIMIT: Final = 64
"""Messages read from the outbox at a time."""
RECHECK_S: Final = 0.25
"""When to look again while what is due waits for a place or for its elder sibling."""
IDLE_RECHECK_S: Final = 60.0
"""When to look again though nothing is known to be due: a row may come from elsewhere."""
GIVE_WAY_S: Final = 0.002
"""After which it is asked when the next is due: what was claimed is worded and sent first."""
STORE_RETRY_S: Final = 1.0
STORE_RETRIES_ON_DRAIN: Final = 2


class Outbox(Protocol):
    """The durable queue, as dispatch needs it."""

    async def take_up(self) -> None:
        """Take up what another process left: of what it was sending, some may have arrived.

        Raises ``StoreUnavailable``.
        """
        ...

    async def claim(
        self,
        now_us: int,
        *,
        limit: int,
        exclude: Collection[str],
        exclude_targets: Collection[Target],
    ) -> Sequence[Outgoing]:
        """Return up to ``limit`` RETRY_PENDING messages with ``next_attempt_us <= now_us``.

        The longest due first; none whose id is in ``exclude`` or whose target is in
        ``exclude_targets``, and never one whose turn it is not: an elder one of its group, or
        of the same incident, is still RETRY_PENDING. Raises ``StoreUnavailable``.
        """
        ...

    async def next_due_us(self) -> int | None:
        """Return the least ``next_attempt_us`` of those whose turn it is; None if there is none."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record ``settlements`` in one transaction; a success may make others due.

        Raises ``StoreUnavailable`` when nothing was written and it may be tried again.
        """
        ...


class Dispatcher:
    """Sends what the outbox holds. ``run`` it once; ``wake`` it when there is more.

    ``now_us`` is the daemon's clock.
    """

    def __init__(
        self,
        outbox: Outbox,
        attempts: Attempts,
        places: Places,
        now_us: Callable[[], int],
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._outbox = outbox
        self._attempts = attempts
        self._places = places
        self._now_us = now_us
        self._log = log
        self._outcomes: list[Settlement] = []
        self._woken = trio.Event()
        self._outcome_came = trio.Event()
        self._attempts_scope = trio.CancelScope()
        self._attempts_over = trio.Event()
        self._drain_begun = trio.Event()
        self._running = False
        self._stopped = trio.Event()

    def use(self, config: NotifyConfig) -> None:
        """Send as ``config`` says from now on; when a message is tried again is decided already."""
        self._attempts.use(config)
        self._places.concurrency = config.concurrency_per_channel
        self._places.end_all_rests()
        self.wake()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until ``drain`` is called. May be run once.

        An error of the outbox other than ``StoreUnavailable`` is not survived: what has been
        recorded is then unknown, and the daemon starts again from the table.
        """
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._settle_outcomes)
                task_status.started()
                with self._attempts_scope:
                    async with trio.open_nursery() as attempts:
                        await self._claim_until_drained(attempts)
                self._attempts_over.set()
                self._outcome_came.set()
        finally:
            self._stopped.set()

    def wake(self) -> None:
        """Look at the outbox now: something was added to it, or made due. Cheap; never blocks."""
        self._woken.set()

    def send_now(self, target: Target) -> None:
        """Look at the outbox now, also if ``target`` asked to be left alone."""
        self._places.end_rest(target)
        self.wake()

    async def drain(self, deadline_s: float) -> None:
        """Claim nothing more, let attempts end for up to ``deadline_s`` seconds, then stop.

        What is cancelled then stays RETRY_PENDING, its attempt not counted. Returns when
        ``run`` has recorded every outcome and ended.
        """
        self._drain_begun.set()
        self.wake()
        if not self._running:
            return
        with trio.move_on_after(deadline_s) as deadline:
            await self._attempts_over.wait()
        if deadline.cancelled_caught:
            self._log.warning("notifications cut off by shutdown", count=len(self._places.holders))
            self._attempts_scope.cancel()
        await self._stopped.wait()

    async def _claim_until_drained(self, attempts: trio.Nursery) -> None:
        has_taken_up = False
        while not self._drain_begun.is_set():
            # Exchanged before the look, so that a wake during it is not lost.
            self._woken = trio.Event()
            try:
                if not has_taken_up:
                    await self._outbox.take_up()
                    has_taken_up = True
                await self._claim(attempts)
                if await self._is_woken_within(GIVE_WAY_S):
                    continue
                next_us = await self._outbox.next_due_us()
            except StoreUnavailable as error:
                self._log.warning("outbox cannot be read", error=str(error))
                await trio.sleep(STORE_RETRY_S)
                continue
            await self._is_woken_within(self._idle_s(next_us))

    async def _is_woken_within(self, seconds: float) -> bool:
        with trio.move_on_after(seconds):
            await self._woken.wait()
        return self._woken.is_set()

    def _idle_s(self, next_us: int | None) -> float:
        if next_us is None:
            return IDLE_RECHECK_S
        wait_s = (next_us - self._now_us()) / US_PER_S
        return min(wait_s, IDLE_RECHECK_S) if wait_s > 0 else RECHECK_S

    async def _claim(self, attempts: trio.Nursery) -> None:
        """Start an attempt for all that is due and has a place."""
        full = self._places.full()
        while not self._drain_begun.is_set():
            found = await self._outbox.claim(
                self._now_us(),
                limit=CLAIM_LIMIT,
                exclude=self._places.holders,
                exclude_targets=full,
            )
            if self._drain_begun.is_set():
                return
            for outgoing in found:
                if self._places.has_room(outgoing.target):
                    self._places.take(outgoing)
                    attempts.start_soon(self._attempt, outgoing)
                else:
                    full.add(outgoing.target)
            if len(found) < CLAIM_LIMIT:
                return

    async def _attempt(self, outgoing: Outgoing) -> None:
        try:
            settlement = await self._attempts.make(outgoing)
        except BaseException:  # cancelled: it stays RETRY_PENDING as it was
            self._free_place(outgoing.id)
            raise
        if settlement.rest_until_us:
            self._places.rest(outgoing.target, settlement.rest_until_us)
        self._outcomes.append(settlement)
        self._outcome_came.set()

    def _free_place(self, message_id: str) -> None:
        self._places.free(message_id)
        self.wake()

    async def _settle_outcomes(self) -> None:
        """Record outcomes, all that have come since the last time in one transaction."""
        while not (self._attempts_over.is_set() and not self._outcomes):
            await self._outcome_came.wait()
            self._outcome_came = trio.Event()
            batch, self._outcomes = self._outcomes, []
            if not batch:
                continue
            await self._settle(batch)
            for settlement in batch:
                self._free_place(settlement.id)

    async def _settle(self, batch: Sequence[Settlement]) -> None:
        retries_left = STORE_RETRIES_ON_DRAIN
        while True:
            try:
                await self._outbox.settle(batch)
            except StoreUnavailable as error:
                self._log.warning("outcomes cannot be recorded", count=len(batch), error=str(error))
                retries_left -= self._drain_begun.is_set()
                if retries_left < 0:
                    self._log.error("outcomes lost; these will be sent again", count=len(batch))
                    return
                await trio.sleep(STORE_RETRY_S)
            else:
                return
