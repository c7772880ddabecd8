"""From the outbox to the receivers: claims what is due, sends it, settles what became of it.

Owns when an attempt is made and what its outcome means for the message. Leaves the one attempt
to ``channels``; durability, grouping and the order of messages to the outbox.

Invariants:
* The table is the queue. In memory are only the ids of what is being sent or settled, so a
  restart resumes by itself, and nothing that is not settled is forgotten.
* A place at a receiver is taken from the claim until the outcome is *recorded*. So a crash
  repeats at most a channel's ``concurrency`` of messages, and while the store cannot write,
  sending stops instead of running ahead of it.
* Receivers do not wait for each other: one whose places are taken, or whose rate is used up, is
  left out of the claim.
  Endpoints that rules name have, together, a bound of their own, so that however many of them
  stall, the configured channels go on.
* Nothing fails without an attempt, however old it is.
"""

from __future__ import annotations

import math
import random as random_module
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

import msgspec
import prometheus_client
import structlog
import trio

from alertd.channels.backoff import Backoff
from alertd.channels.factory import BadEndpoint, UnknownChannel
from alertd.channels.protocol import (
    Channel,
    Delivered,
    FollowsUp,
    Outcome,
    Permanent,
    Retryable,
    SendingLimits,
)
from alertd.channels.rates import Rates
from alertd.clock import format_us
from alertd.config.settings import NotifyConfig
from alertd.errors import StoreUnavailable
from alertd.model import US_PER_S, Target
from alertd.notify.compose import compose
from alertd.outbound import DeliveryStatus, Outgoing, Settlement

CLAIM_LIMIT: Final = 64
"""Messages read from the outbox at a time."""
MAX_ENDPOINT_ATTEMPTS: Final = 256
"""Attempts under way to endpoints that rules name, all together."""
MAX_REASON_CHARS: Final = 500
RECHECK_S: Final = 0.25
"""When to look again while what is due waits for a place or for its elder sibling."""
IDLE_RECHECK_S: Final = 60.0
"""When to look again though nothing is known to be due: a row may come from elsewhere."""
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
        """Record ``settlements`` in one transaction.

        Raises ``StoreUnavailable`` when nothing was written and it may be tried again.
        """
        ...


class Channels(Protocol):
    """Where channels come from: ``ChannelFactory``."""

    def for_target(self, target: Target) -> Channel:
        """Return the channel of ``target``. Raises ``UnknownChannel``."""
        ...

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``."""
        ...


class DeliveryMetrics(Protocol):
    """The part of ``Metrics`` that dispatch feeds."""

    @property
    def notifications(self) -> prometheus_client.Counter:
        """Attempts that ended, by ``channel`` and ``status``."""

    @property
    def notification_attempt_seconds(self) -> prometheus_client.Histogram:
        """How long an attempt took, by ``channel``."""

    @property
    def template_failures(self) -> prometheus_client.Counter:
        """Messages told in the default words because a template failed, by ``channel``."""


class Dispatcher:
    """Sends what the outbox holds. ``run`` it once; ``wake`` it when there is more.

    ``now_us`` is the daemon's clock, ``random`` a source of numbers in [0, 1) for the jitter,
    ``list_url`` where messages say that all incidents are.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Channels,
        now_us: Callable[[], int],
        config: NotifyConfig,
        metrics: DeliveryMetrics,
        log: structlog.typing.FilteringBoundLogger,
        *,
        list_url: str = "",
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._list_url = list_url
        self._rates = Rates()
        self._outbox = outbox
        self._channels = channels
        self._now_us = now_us
        self.use(config)
        self._metrics = metrics
        self._log = log
        self._random = random
        self._in_flight: dict[str, Target] = {}
        self._places: Counter[Target] = Counter()
        self._endpoint_attempts = 0
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
        self._config = config
        self._backoff = Backoff(config.retry_first_secs, config.retry_max_secs)

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
            self._log.warning("notifications cut off by shutdown", count=len(self._in_flight))
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
                next_us = await self._outbox.next_due_us()
            except StoreUnavailable as error:
                self._log.warning("outbox cannot be read", error=str(error))
                await trio.sleep(STORE_RETRY_S)
                continue
            with trio.move_on_after(self._idle_s(next_us)):
                await self._woken.wait()

    def _idle_s(self, next_us: int | None) -> float:
        if next_us is None:
            return IDLE_RECHECK_S
        wait_s = (next_us - self._now_us()) / US_PER_S
        return min(wait_s, IDLE_RECHECK_S) if wait_s > 0 else RECHECK_S

    async def _claim(self, attempts: trio.Nursery) -> None:
        """Start an attempt for all that is due and has a place."""
        full = {target for target in self._known_targets() if not self._has_place(target)}
        while not self._drain_begun.is_set():
            found = await self._outbox.claim(
                self._now_us(), limit=CLAIM_LIMIT, exclude=self._in_flight, exclude_targets=full
            )
            if self._drain_begun.is_set():
                return
            for outgoing in found:
                if self._has_place(outgoing.target):
                    self._take_place(outgoing)
                    attempts.start_soon(self._attempt, outgoing)
                else:
                    full.add(outgoing.target)
            if len(found) < CLAIM_LIMIT:
                return

    def _known_targets(self) -> set[Target]:
        return {*self._places, *self._rates.targets()}

    def _has_place(self, target: Target) -> bool:
        if target.endpoint is not None and self._endpoint_attempts >= MAX_ENDPOINT_ATTEMPTS:
            return False
        limits = self._channels.limits(target)
        concurrency = limits.concurrency or self._config.concurrency_per_channel
        if self._places[target] >= concurrency:
            return False
        return self._rates.wait_us(target, limits.per_minute, self._now_us()) == 0

    def _take_place(self, outgoing: Outgoing) -> None:
        target = outgoing.target
        self._in_flight[outgoing.id] = target
        self._places[target] += 1
        self._endpoint_attempts += target.endpoint is not None
        if self._channels.limits(target).per_minute is not None:
            self._rates.note(target, self._now_us())

    def _free_place(self, message_id: str) -> None:
        target = self._in_flight.pop(message_id)
        self._endpoint_attempts -= target.endpoint is not None
        self._places[target] -= 1
        if not self._places[target]:
            del self._places[target]
        self.wake()

    async def _attempt(self, outgoing: Outgoing) -> None:
        began_s = trio.current_time()
        try:
            outcome, endpoint = await self._send(outgoing)
        except BaseException:  # cancelled: it stays RETRY_PENDING as it was
            self._free_place(outgoing.id)
            raise
        settlement = self._judge(outgoing, outcome)
        channel = outgoing.target.channel
        self._metrics.notification_attempt_seconds.labels(channel).observe(
            trio.current_time() - began_s
        )
        self._metrics.notifications.labels(channel, settlement.status.value).inc()
        self._tell(outgoing, settlement, endpoint)
        self._outcomes.append(settlement)
        self._outcome_came.set()

    async def _send(self, outgoing: Outgoing) -> tuple[Outcome, str | None]:
        """Make the attempt; return how it went and where it went to, redacted."""
        try:
            channel = self._channels.for_target(outgoing.target)
        except BadEndpoint as error:
            return Permanent(str(error)), None
        except UnknownChannel as error:  # the next reload may bring it back
            return Retryable(str(error), was_refused=True), None
        try:
            message = compose(outgoing, sent_at=format_us(self._now_us()), list_url=self._list_url)
        except (msgspec.DecodeError, ValueError):
            return Permanent("the stored message cannot be read"), channel.redacted_endpoint
        try:
            if outgoing.earlier is not None and isinstance(channel, FollowsUp):
                outcome = await channel.follow_up(message, outgoing.earlier)
            else:
                outcome = await channel.send(message)
            return outcome, channel.redacted_endpoint
        except Exception as error:  # a fault of one channel must not stop the others
            # Its text could hold an address or a secret; its place in the code cannot.
            self._log.error(
                "channel raised an unexpected exception",
                channel=outgoing.target.channel,
                error=type(error).__name__,
                where=_innermost(error),
            )
            reason = f"unexpected {type(error).__name__} in alertd; its log says where"
            return Retryable(reason), channel.redacted_endpoint

    def _judge(self, outgoing: Outgoing, outcome: Outcome) -> Settlement:
        now_us = self._now_us()
        attempts = outgoing.attempts + 1
        status, next_us, reason = DeliveryStatus.SUCCESS, now_us, None
        note, receipt = "", ""
        may_have_arrived = False
        match outcome:
            case Permanent():
                status, reason = DeliveryStatus.FAILED, outcome.reason
            case Retryable():
                reason, may_have_arrived = outcome.reason, not outcome.was_refused
                expires_us = outgoing.begun_us + math.ceil(self._config.max_age_secs * US_PER_S)
                if attempts >= self._config.max_attempts or now_us >= expires_us:
                    status = DeliveryStatus.FAILED
                    reason = f"given up after {attempts} attempts: {reason}"
                else:
                    status = DeliveryStatus.RETRY_PENDING
                    wait_s = self._backoff.wait_s(attempts, outcome.wait_s, self._random)
                    # The last attempt is made when its time is up, not before.
                    next_us = min(now_us + math.ceil(wait_s * US_PER_S), expires_us)
            case Delivered():
                note, receipt = outcome.fault, outcome.receipt
        return Settlement(
            id=outgoing.id,
            status=status,
            attempts=attempts,
            next_attempt_us=next_us,
            last_error=None if reason is None else reason[:MAX_REASON_CHARS],
            at_us=now_us,
            receipt=receipt,
            note=note[:MAX_REASON_CHARS],
            may_have_arrived=may_have_arrived,
        )

    def _tell(self, outgoing: Outgoing, settlement: Settlement, endpoint: str | None) -> None:
        fields = {
            "notification": outgoing.id,
            "kinds": sorted({kind for kind, _ in outgoing.parts}),
            "parts": len(outgoing.parts),
            "channel": outgoing.target.channel,
            "endpoint": endpoint,
            "attempts": settlement.attempts,
        }
        match settlement.status:
            case DeliveryStatus.SUCCESS:
                self._log.info("notification sent", **fields)
                if settlement.note:
                    self._metrics.template_failures.labels(outgoing.target.channel).inc()
                    self._log.warning(
                        "default words were sent", notification=outgoing.id, why=settlement.note
                    )
            case DeliveryStatus.RETRY_PENDING:
                wait_s = (settlement.next_attempt_us - settlement.at_us) / US_PER_S
                self._log.warning(
                    "notification not sent, will be retried",
                    **fields,
                    reason=settlement.last_error,
                    wait_s=round(wait_s, 3),
                )
            case DeliveryStatus.FAILED:
                self._log.error("notification failed", **fields, reason=settlement.last_error)

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


def _innermost(error: BaseException) -> str:
    """Return ``file.py:line`` of where ``error`` was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
