"""One attempt to send a message, from its row in the outbox to what is to be recorded of it.

Owns what the outcome of an attempt means for the message (sent, tried again and when, given up),
and what the log and the metrics are told of it. Leaves the sending itself to ``channels``, when an
attempt is made and the recording to ``dispatch.py``.

Invariants: nothing fails without an attempt, however old it is; a fault of one channel ends in
another attempt of that channel, and never in an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol

import prometheus_client
import structlog
import trio

from alertd.channels.backoff import Backoff
from alertd.channels.message import Message
from alertd.channels.protocol import (
    BadEndpoint,
    Channel,
    Delivered,
    FollowsUp,
    Outcome,
    Permanent,
    Retryable,
    SendingLimits,
    UnknownChannel,
)
from alertd.clock import format_us
from alertd.config.settings import NotifyConfig
from alertd.delivery.failing import FailingReceivers
from alertd.model import US_PER_S, Target
from alertd.notify.compose import compose, views_in
from alertd.outbound import DeliveryStatus, Outgoing, Settlement
from alertd.turn import by_turns, rest

MAX_REASON_CHARS: Final = 500


class Channels(Protocol):
    """Where channels come from: ``ChannelFactory``."""

    def for_target(self, target: Target) -> Channel:
        """Return the channel of ``target``. Raises ``BadEndpoint`` and ``UnknownChannel``."""
        ...

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``."""
        ...


class DeliveryMetrics(Protocol):
    """The part of ``Metrics`` that attempts feed."""

    @property
    def notifications(self) -> prometheus_client.Counter:
        """Attempts that ended, by ``channel`` and ``status``."""

    @property
    def notification_attempt_seconds(self) -> prometheus_client.Histogram:
        """How long an attempt took, by ``channel``."""

    @property
    def template_failures(self) -> prometheus_client.Counter:
        """Messages told in the default words because a template failed, by ``channel``."""


class Attempts:
    """Makes attempts; any number at a time.

    ``now_us`` is the daemon's clock, ``random`` a source of numbers in [0, 1) for the jitter,
    ``list_url`` where messages say that all incidents are.
    """

    def __init__(
        self,
        channels: Channels,
        now_us: Callable[[], int],
        config: NotifyConfig,
        metrics: DeliveryMetrics,
        log: structlog.typing.FilteringBoundLogger,
        *,
        list_url: str = "",
        random: Callable[[], float],
    ) -> None:
        self._channels = channels
        self._now_us = now_us
        self.use(config)
        self._metrics = metrics
        self._log = log
        self._list_url = list_url
        self._random = random
        self._composing = trio.Lock()
        self.failing = FailingReceivers()

    def use(self, config: NotifyConfig) -> None:
        """Judge by ``config`` from now on; what waits for its next attempt keeps its time."""
        self._config = config
        self._backoff = Backoff(config.retry_first_secs, config.retry_max_secs)

    async def make(self, outgoing: Outgoing) -> Settlement:
        """Make one attempt, and return what is to be recorded of it."""
        began_s = trio.current_time()
        outcome, endpoint = await self._send(outgoing)
        settlement = self._judge(outgoing, outcome)
        self.failing.note(outgoing, settlement)
        channel = outgoing.target.channel
        self._metrics.notification_attempt_seconds.labels(channel).observe(
            trio.current_time() - began_s
        )
        self._metrics.notifications.labels(channel, settlement.status.value).inc()
        self._tell(outgoing, settlement, endpoint)
        return settlement

    async def _send(self, outgoing: Outgoing) -> tuple[Outcome, str | None]:
        """Make the attempt; return how it went and where it went to, redacted."""
        try:
            channel = self._channels.for_target(outgoing.target)
        except BadEndpoint as error:
            return Permanent(str(error)), None
        except UnknownChannel as error:  # the next reload may bring it back
            return Retryable(str(error), was_refused=True), None
        try:
            message = await self._compose(outgoing)
        except ValueError:  # msgspec.DecodeError is one
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
                where=innermost(error),
            )
            reason = f"unexpected {type(error).__name__} in alertd; its log says where"
            return Retryable(reason), channel.redacted_endpoint

    async def _compose(self, outgoing: Outgoing) -> Message:
        """Return what the channel is to send, made by turns: there may be a thousand parts.

        One at a time: of several, each would have its turn before an event has the next of its own.

        Raises ``ValueError`` if what is stored cannot be read.
        """
        async with self._composing:
            views = [view async for view in by_turns(views_in(outgoing), rest)]
        sent_at = format_us(self._now_us())
        return compose(outgoing, views, sent_at=sent_at, list_url=self._list_url)

    def _judge(self, outgoing: Outgoing, outcome: Outcome) -> Settlement:
        now_us = self._now_us()
        attempts = outgoing.attempts + 1
        status, next_us, reason = DeliveryStatus.SUCCESS, now_us, None
        note, receipt = "", ""
        may_have_arrived = must_wait = False
        rest_until_us = 0
        match outcome:
            case Permanent():
                status, reason = DeliveryStatus.FAILED, outcome.reason
            case Retryable():
                reason, may_have_arrived = outcome.reason, not outcome.was_refused
                must_wait = bool(outcome.wait_s)
                if outcome.wait_s and outcome.was_refused:
                    rest_s = min(outcome.wait_s, self._config.retry_max_secs)
                    rest_until_us = now_us + math.ceil(rest_s * US_PER_S)
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
            must_wait=must_wait,
            rest_until_us=rest_until_us,
        )

    def _tell(self, outgoing: Outgoing, settlement: Settlement, endpoint: str | None) -> None:
        fields = {
            "notification": outgoing.id,
            "kinds": sorted({kind for kind, _ in outgoing.parts}),
            "parts": len(outgoing.parts),
            "channel": outgoing.target.channel,
            "to": endpoint,  # redacted already: a second time would leave nothing of it
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


def innermost(error: BaseException) -> str:
    """Return ``file.py:line`` of where ``error`` was raised: what of it may be logged."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
