from __future__ import annotations

import json
import random
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import msgspec
import prometheus_client
import pytest
import structlog
import trio
from structlog.testing import CapturingLogger

from alertd import logs
from alertd.channels.config import WebhookConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.message import Message, MessageKind
from alertd.channels.protocol import (
    Channel,
    Delivered,
    Outcome,
    Permanent,
    Retryable,
    SendingLimits,
    UnknownChannel,
)
from alertd.config.settings import NotifyConfig
from alertd.delivery.attempt import Attempts
from alertd.delivery.dispatch import GIVE_WAY_S, RECHECK_S, Dispatcher
from alertd.delivery.places import MAX_ENDPOINT_ATTEMPTS, Places
from alertd.model import US_PER_S, Target
from alertd.outbound import DeliveryStatus, Outgoing
from tests.receivers import Answer, gzip_bomb, http_receiver
from tests.unit.channels.messages import incident
from tests.unit.delivery.memory_outbox import MemoryOutbox, Row

EPOCH_US = 1_751_295_600 * US_PER_S  # 2025-06-30T15:00:00Z
OPS = Target("ops")
SUCCESS, FAILED, PENDING = (
    DeliveryStatus.SUCCESS,
    DeliveryStatus.FAILED,
    DeliveryStatus.RETRY_PENDING,
)


def now_us() -> int:
    return EPOCH_US + round(trio.current_time() * US_PER_S)


def notification(
    name: str,
    *,
    incident_id: str | None = None,
    kind: MessageKind = MessageKind.FIRING,
    target: Target = OPS,
    created_us: int = EPOCH_US,
    view: bytes | None = None,
) -> Row:
    stored = msgspec.json.encode(incident(id=incident_id or name)) if view is None else view
    return Row(
        outgoing=Outgoing(
            id=name,
            target=target,
            group_key="{}",
            parts=((kind.value, stored),),
            begun_us=created_us,
            attempts=0,
            next_attempt_us=created_us,
        ),
        incident_id=incident_id or name,
    )


Answering = Callable[[Message], Outcome]


@dataclass
class Receiver:
    """A channel that a test tells how to behave. It keeps what it was sent, and when."""

    answer: Answering = lambda message: Delivered()
    takes_s: float = 0.0
    told: list[tuple[float, Message]] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0
    redacted_endpoint: str = "https://hooks.example"

    async def send(self, message: Message) -> Outcome:
        self.told.append((trio.current_time(), message))
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        try:
            await trio.sleep(self.takes_s)
        finally:
            self.busy -= 1
        outcome = self.answer(message)
        if isinstance(outcome, Delivered):
            self.taken.append(message.notification_id)
        return outcome

    async def aclose(self) -> None:
        """Nothing to close."""

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.told]


class Receivers:
    """The channels of a test, by name or by endpoint."""

    def __init__(self, **channels: Channel) -> None:
        self.channels = channels
        self.sending_limits = SendingLimits()

    def for_target(self, target: Target) -> Channel:
        channel = self.channels.get(target.endpoint or target.channel)
        if channel is None:
            raise UnknownChannel(f"the channel {target.channel!r} is not configured")
        return channel

    def limits(self, target: Target) -> SendingLimits:
        return self.sending_limits


class Metrics:
    """What dispatch counts, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        self.notifications = prometheus_client.Counter(
            "notifications", "", ["channel", "status"], registry=self.registry
        )
        self.notification_attempt_seconds = prometheus_client.Histogram(
            "attempt_seconds", "", ["channel"], registry=self.registry
        )
        self.template_failures = prometheus_client.Counter(
            "template_failures", "", ["channel"], registry=self.registry
        )


@dataclass
class Bench:
    """A dispatcher at work, with all that it touches."""

    outbox: MemoryOutbox
    dispatcher: Dispatcher
    log: CapturingLogger
    metrics: Metrics

    def add(self, *notifications: Row) -> None:
        self.outbox.add(*notifications)
        self.dispatcher.wake()

    def status(self, name: str) -> DeliveryStatus:
        return self.outbox.rows[name].status


def make_bench(
    channels: Receivers | ChannelFactory,
    outbox: MemoryOutbox | None = None,
    config: NotifyConfig | None = None,
    jitter: Callable[[], float] = lambda: 1.0,
) -> Bench:
    outbox = outbox or MemoryOutbox()
    log, metrics = CapturingLogger(), Metrics()
    bound: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        log,
        processors=[logs.redact, structlog.processors.KeyValueRenderer(key_order=["event"])],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    config = config or NotifyConfig()
    dispatcher = Dispatcher(
        outbox,
        Attempts(channels, now_us, config, metrics, bound, random=jitter),
        Places(channels.limits, now_us, config.concurrency_per_channel),
        now_us,
        bound,
    )
    return Bench(outbox, dispatcher, log, metrics)


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.dispatcher.run)
        yield bench
        nursery.cancel_scope.cancel()


async def test_a_new_notification_leaves_at_once(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver()
    async with running(make_bench(Receivers(ops=ops))) as bench:
        await trio.sleep(30)
        bench.add(notification("a"))
        await trio.sleep(1)
    assert ops.times == [30.0]
    assert bench.status("a") is SUCCESS


class SlowToSay(MemoryOutbox):
    """It takes its time to find out when the next is due."""

    asked: int = 0

    async def next_due_us(self) -> int | None:
        self.asked += 1
        await trio.sleep(1)
        return await super().next_due_us()


async def test_what_was_claimed_leaves_before_it_is_asked_when_the_next_is_due(
    mock_clock: trio.testing.MockClock,
) -> None:
    ops, outbox = Receiver(takes_s=60), SlowToSay()
    async with running(make_bench(Receivers(ops=ops), outbox)) as bench:
        for name, told in (("a", 1), ("b", 2)):
            bench.add(notification(name))
            await trio.testing.wait_all_tasks_blocked()
            assert (len(ops.told), outbox.asked) == (told, 0)
        mock_clock.jump(GIVE_WAY_S)
        await trio.testing.wait_all_tasks_blocked()
        assert outbox.asked == 1


async def test_every_attempt_has_the_same_key_and_its_own_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver(answer=lambda message: Retryable("no") if len(ops.told) < 3 else Delivered())
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(10)
    messages = [message for _, message in ops.told]
    assert [m.idempotency_key for m in messages] == ["a", "a", "a"]
    assert [m.notification_id for m in messages] == ["a", "a", "a"]
    assert [m.sent_at[17:] for m in messages] == ["00.000000Z", "01.000000Z", "03.000000Z"]


async def test_waits_double_up_to_the_maximum(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(answer=lambda message: Retryable("no"))
    config = NotifyConfig(retry_first_secs=1, retry_max_secs=5)
    async with running(make_bench(Receivers(ops=ops), config=config)) as bench:
        bench.add(notification("a"))
        await trio.sleep(20)
    assert ops.times == [0, 1, 3, 7, 12, 17]
    assert bench.status("a") is PENDING
    assert bench.outbox.rows["a"].attempts == 6
    assert bench.outbox.rows["a"].last_error == "no"


async def test_what_the_receiver_asks_for_is_waited(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(answer=lambda message: Retryable("busy", wait_s=42.0))
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(50)
    assert ops.times == [0, 42]


async def test_a_receiver_that_asks_to_be_left_alone_is_and_then_gets_everything(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However many messages wait for it; others do not wait."""

    def answer(message: Message) -> Outcome:
        is_early = trio.current_time() < 60
        return Retryable("429", 60.0, was_refused=True) if is_early else Delivered()

    ops, other = Receiver(answer=answer), Receiver()
    bench = make_bench(Receivers(ops=ops, other=other), config=NotifyConfig(max_attempts=3))
    async with running(bench):
        bench.add(*[notification(f"n{n}") for n in range(1000)])
        await trio.sleep(30)
        bench.add(notification("o", target=Target("other")), notification("late"))
        await trio.sleep(29)
        asked = len(ops.told)
        await trio.sleep(31)
    assert asked == NotifyConfig().concurrency_per_channel
    assert len(ops.taken) == 1001
    assert other.times == [30]


async def test_nobody_asks_to_be_left_alone_for_longer_than_the_longest_wait_or_for_one_message(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A wrong header holds up its own message, and all others for minutes at most."""
    asked_for = {"hour": Retryable("503", 3600.0, was_refused=True), "own": Retryable("500", 900.0)}
    ops = Receiver(answer=lambda message: asked_for.get(message.notification_id, Delivered()))
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("own"))
        await trio.sleep(1)
        bench.add(notification("next"))
        await trio.sleep(1)
        assert ops.taken == ["next"]
        bench.add(notification("hour"))
        await trio.sleep(1)
        bench.add(notification("later"))
        await trio.sleep(300)
        assert ops.taken == ["next", "later"]


async def test_who_asks_has_a_message_sent_to_a_receiver_that_asked_to_be_left_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver(answer=lambda message: Retryable("429", 60.0, was_refused=True))
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(1)
        bench.add(notification("b"))
        await trio.sleep(1)
        assert ops.times == [0]
        bench.dispatcher.send_now(Target("other"))
        await trio.sleep(1)
        assert ops.times == [0]
        bench.dispatcher.send_now(OPS)
        await trio.sleep(1)
        assert ops.times == [0, 3]


async def test_after_a_reload_nobody_is_left_alone_for_what_an_earlier_receiver_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    old, new = Receiver(answer=lambda message: Retryable("429", 60.0, was_refused=True)), Receiver()
    channels = Receivers(ops=old)
    async with running(make_bench(channels)) as bench:
        bench.add(notification("a"))
        await trio.sleep(1)
        channels.channels["ops"] = new
        bench.add(notification("b"))
        await trio.sleep(1)
        assert new.times == []
        bench.dispatcher.use(NotifyConfig())
        await trio.sleep(1)
        assert new.times == [2]
        assert new.taken == ["b"]


async def test_a_permanent_refusal_is_the_end(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(answer=lambda message: Permanent("gone"))
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(10_000)
    assert ops.times == [0]
    assert bench.status("a") is FAILED
    assert bench.outbox.rows["a"].last_error == "gone"


async def test_the_last_of_max_attempts_fails_it(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(answer=lambda message: Retryable("no"))
    async with running(
        make_bench(Receivers(ops=ops), config=NotifyConfig(max_attempts=3))
    ) as bench:
        bench.add(notification("a"))
        await trio.sleep(1000)
    assert len(ops.told) == 3
    assert bench.status("a") is FAILED
    assert bench.outbox.rows["a"].last_error == "given up after 3 attempts: no"


async def test_it_is_tried_until_max_age_and_once_more_just_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver(answer=lambda message: Retryable("no"))
    async with running(
        make_bench(Receivers(ops=ops), config=NotifyConfig(max_age_secs=20))
    ) as bench:
        bench.add(notification("a"))
        await trio.sleep(100)
    assert ops.times == [0, 1, 3, 7, 15, 20]
    assert bench.status("a") is FAILED


async def test_nothing_fails_without_an_attempt_however_old(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The daemon was down for a month."""
    ops = Receiver()
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a", created_us=EPOCH_US - 30 * 86_400 * US_PER_S))
        await trio.sleep(1)
    assert bench.status("a") is SUCCESS


async def test_a_receiver_that_stalls_delays_no_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow, ops = Receiver(takes_s=1000), Receiver()
    async with running(make_bench(Receivers(slow=slow, ops=ops))) as bench:
        bench.add(*[notification(f"s{n}", target=Target("slow")) for n in range(5000)])
        await trio.sleep(1)
        bench.add(*[notification(f"o{n}") for n in range(500)])
        await trio.sleep(1)
        assert sorted(ops.taken) == sorted(f"o{n}" for n in range(500))
        assert ops.times == [1.0] * 500
    assert slow.busiest == NotifyConfig().concurrency_per_channel


async def test_no_receiver_is_written_to_more_often_than_it_wants(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops, other = Receiver(), Receiver()
    channels = Receivers(ops=ops, other=other)
    channels.sending_limits = SendingLimits(per_minute=10)
    async with running(make_bench(channels)) as bench:
        bench.add(*[notification(f"n{n}") for n in range(35)])
        await trio.sleep(30)
        bench.add(notification("o", target=Target("other")))
        await trio.sleep(170)
    assert other.times == [30]
    assert len(ops.taken) == 35
    late_s = 3 * (RECHECK_S + GIVE_WAY_S)
    assert ops.times == pytest.approx([n // 10 * 60 for n in range(35)], abs=late_s)
    for first, eleventh in zip(ops.times, ops.times[10:], strict=False):
        assert eleventh - first >= 60


async def test_a_channel_may_have_a_concurrency_of_its_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver(takes_s=1)
    channels = Receivers(ops=ops)
    channels.sending_limits = SendingLimits(concurrency=1)
    async with running(make_bench(channels)) as bench:
        bench.add(*[notification(f"n{n}") for n in range(5)])
        await trio.sleep(4.5)
    assert (ops.busiest, len(ops.told)) == (1, 5)


async def test_a_retry_is_on_time_while_another_receiver_stalls(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = Receiver(takes_s=1000)
    ops = Receiver(answer=lambda message: Retryable("no"))
    async with running(make_bench(Receivers(slow=slow, ops=ops))) as bench:
        bench.add(notification("s", target=Target("slow")), notification("a"))
        await trio.sleep(16)
    assert ops.times == pytest.approx([0, 1, 3, 7, 15], abs=1.5)


async def test_attempts_at_one_receiver_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(takes_s=1)
    config = NotifyConfig(concurrency_per_channel=3)
    async with running(make_bench(Receivers(ops=ops), config=config)) as bench:
        bench.add(*[notification(f"n{n}") for n in range(100)])
        await trio.sleep(35)
    assert ops.busiest == 3
    assert len(ops.taken) == 100


async def test_endpoints_of_rules_that_stall_leave_room_for_configured_channels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hole, ops = Receiver(takes_s=1000), Receiver()
    channels = Receivers(ops=ops)
    channels.channels |= {f"https://h{n}.example/": hole for n in range(1000)}
    async with running(make_bench(channels)) as bench:
        for n in range(1000):
            target = Target("WEBHOOK", f"https://h{n}.example/")
            bench.outbox.add(notification(f"h{n}", target=target))
        bench.add(*[notification(f"o{n}") for n in range(100)])
        await trio.sleep(1)
        assert len(ops.taken) == 100
        assert hole.busiest == MAX_ENDPOINT_ATTEMPTS


async def test_a_receiver_down_for_minutes_is_told_everything_in_order_and_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A thousand incidents fire and resolve meanwhile."""
    chance = random.Random(7)  # noqa: S311 - a seed, for the test to repeat
    back_at_s = 400.0

    def answer(message: Message) -> Outcome:
        if trio.current_time() < back_at_s:
            return chance.choice([Retryable("down"), Retryable("busy", wait_s=30.0)])
        return Delivered()

    ops = Receiver(answer=answer, takes_s=0.01)
    async with running(make_bench(Receivers(ops=ops), jitter=chance.random)) as bench:

        async def live(name: str) -> None:
            await trio.sleep(chance.uniform(0, 200))
            for kind in (MessageKind.FIRING, MessageKind.RESOLVED):
                bench.add(
                    notification(f"{name}/{kind}", incident_id=name, kind=kind, created_us=now_us())
                )
                await trio.sleep(chance.uniform(0, 100))

        async with trio.open_nursery() as incidents:
            for n in range(1000):
                incidents.start_soon(live, f"i{n}")
        await trio.sleep(1500)
    assert Tally(ops.taken).most_common(1)[0][1] == 1, "none twice"
    order = defaultdict(list)
    for name in ops.taken:
        incident_name, _, kind = name.partition("/")
        order[incident_name].append(kind)
    assert len(order) == 1000
    assert set(map(tuple, order.values())) == {("firing", "resolved")}
    assert {row.status for row in bench.outbox.rows.values()} == {SUCCESS}


async def test_a_restart_goes_on_from_the_table(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(answer=lambda message: Retryable("no"))
    async with running(make_bench(Receivers(ops=ops))) as first:
        first.add(notification("a"))
        await trio.sleep(2)
    ops.answer = lambda message: Delivered()
    async with running(make_bench(Receivers(ops=ops), outbox=first.outbox)) as second:
        await trio.sleep(2)
    assert ops.times == [0, 1, 3], "the wait that was under way is kept"
    assert second.status("a") is SUCCESS
    assert second.outbox.rows["a"].attempts == 3


async def test_a_channel_that_raises_is_tried_again_and_stops_nobody(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def explode(message: Message) -> Outcome:
        raise ZeroDivisionError("https://hooks.example/S3CR3T")

    broken, ops = Receiver(answer=explode), Receiver()
    async with running(make_bench(Receivers(broken=broken, ops=ops))) as bench:
        bench.add(notification("b", target=Target("broken")), notification("a"))
        await trio.sleep(2)
        assert bench.status("a") is SUCCESS
        assert bench.status("b") is PENDING
        assert broken.times == [0, 1]
        broken.answer = lambda message: Delivered()
        await trio.sleep(2)
    assert bench.status("b") is SUCCESS
    lines = str(bench.log.calls)
    assert "ZeroDivisionError" in lines
    assert "test_dispatch.py:" in lines
    assert "S3CR3T" not in lines + str(bench.outbox.settlements)


async def test_what_a_channel_that_is_gone_would_tell_waits_until_it_is_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    receivers, ops = Receivers(), Receiver()
    async with running(make_bench(receivers)) as bench:
        bench.add(notification("a"))
        await trio.sleep(60)
        assert bench.status("a") is PENDING
        assert bench.outbox.rows["a"].last_error == "the channel 'ops' is not configured"
        assert not bench.outbox.settlements[-1].may_have_arrived
        receivers.channels = {"ops": ops}
        await trio.sleep(300)
    assert bench.status("a") is SUCCESS
    assert ops.taken == ["a"]


async def test_what_a_channel_that_stays_away_would_tell_is_given_up_when_it_is_too_old(
    autojump_clock: trio.testing.MockClock,
) -> None:
    config = NotifyConfig(max_age_secs=600)
    async with running(make_bench(Receivers(), config=config)) as bench:
        bench.add(notification("a"))
        await trio.sleep(599)
        assert bench.status("a") is PENDING
        await trio.sleep(2)
    assert bench.status("a") is FAILED
    assert str(bench.outbox.rows["a"].last_error).endswith("the channel 'ops' is not configured")


async def test_an_endpoint_that_no_configuration_mends_fails_the_message_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with running(make_bench(ChannelFactory({}))) as bench:
        bench.add(notification("a", target=Target("PAGER", "http://a.example/")))
        await trio.sleep(1)
    assert bench.status("a") is FAILED


@pytest.mark.parametrize("stored", [b"", b"{", b"{}", b"\xff"])
async def test_a_stored_message_that_cannot_be_read_fails(
    stored: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    ops = Receiver()
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a", view=stored), notification("b"))
        await trio.sleep(1)
    assert bench.status("a") is FAILED
    assert bench.status("b") is SUCCESS


async def test_drain_lets_attempts_end_and_starts_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver(takes_s=3)
    bench = make_bench(Receivers(ops=ops), config=NotifyConfig(concurrency_per_channel=2))
    bench.add(*[notification(f"n{n}") for n in range(5)])
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.dispatcher.run)
        await trio.sleep(1)
        await bench.dispatcher.drain(5)
        assert trio.current_time() == 3
    assert len(ops.taken) == 2
    assert [row.status for row in bench.outbox.rows.values()].count(PENDING) == 3


async def test_an_attempt_cut_off_by_drain_stays_pending_and_is_not_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops, slow = Receiver(), Receiver(takes_s=1000)
    bench = make_bench(Receivers(ops=ops, slow=slow))
    bench.add(notification("s", target=Target("slow")), notification("a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.dispatcher.run)
        await trio.sleep(1)
        await bench.dispatcher.drain(5)
        assert trio.current_time() == 6
    assert bench.status("a") is SUCCESS
    assert bench.status("s") is PENDING
    assert bench.outbox.rows["s"].attempts == 0
    async with running(make_bench(Receivers(slow=Receiver()), outbox=bench.outbox)) as second:
        await trio.sleep(1)
    assert second.status("s") is SUCCESS


async def test_drain_of_an_idle_dispatcher_is_immediate(
    autojump_clock: trio.testing.MockClock,
) -> None:
    bench = make_bench(Receivers())
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.dispatcher.run)
        await bench.dispatcher.drain(5)
    assert trio.current_time() == 0


async def test_drain_before_run_returns(autojump_clock: trio.testing.MockClock) -> None:
    bench = make_bench(Receivers())
    await bench.dispatcher.drain(5)
    assert trio.current_time() == 0


async def test_while_outcomes_cannot_be_recorded_sending_stops_at_the_bound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver()
    bench = make_bench(Receivers(ops=ops))
    bench.outbox.unavailable_writes = 10
    bench.add(*[notification(f"n{n}") for n in range(100)])
    async with running(bench):
        await trio.sleep(9)
        assert len(ops.taken) == NotifyConfig().concurrency_per_channel
        await trio.sleep(5)
    assert sorted(ops.taken) == sorted(bench.outbox.rows), "each once"
    assert {row.status for row in bench.outbox.rows.values()} == {SUCCESS}


async def test_a_store_that_never_comes_back_does_not_hold_up_the_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver()
    bench = make_bench(Receivers(ops=ops))
    bench.outbox.unavailable_writes = 1_000_000
    bench.add(notification("a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.dispatcher.run)
        await trio.sleep(1)
        await bench.dispatcher.drain(5)
        assert trio.current_time() < 5
    assert "will be sent again" in str(bench.log.calls)


async def test_a_table_that_cannot_be_read_is_read_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ops = Receiver()
    bench = make_bench(Receivers(ops=ops))
    bench.outbox.unavailable_reads = 3
    bench.add(notification("a"))
    async with running(bench):
        await trio.sleep(5)
    assert bench.status("a") is SUCCESS


async def test_any_other_error_of_the_outbox_ends_the_dispatcher(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make_bench(Receivers(ops=Receiver()))

    async def ambiguous(settlements: object) -> None:
        raise OSError("fsync failed")

    monkeypatch.setattr(bench.outbox, "settle", ambiguous)
    bench.add(notification("a"))
    with pytest.RaisesGroup(OSError):
        await bench.dispatcher.run()


async def test_outcomes_are_recorded_in_batches(autojump_clock: trio.testing.MockClock) -> None:
    ops = Receiver(takes_s=1)
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(*[notification(f"n{n}") for n in range(8)])
        await trio.sleep(2)
    assert len(bench.outbox.settlements) == 8
    assert max(bench.outbox.settle_sizes) > 1


async def test_what_is_logged_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    script: list[Outcome] = [Retryable("busy"), Delivered(), Permanent("gone")]
    answers = iter(script)
    ops = Receiver(answer=lambda message: next(answers), takes_s=0.5)
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(5)
        bench.add(notification("b"))
        await trio.sleep(5)
    retried, sent, failed = bench.log.calls
    assert (retried.method_name, sent.method_name, failed.method_name) == (
        *("warning", "info"),
        "error",
    )
    assert "retried" in str(retried)
    assert "reason='busy'" in str(retried)
    assert "notification sent" in str(sent)
    assert "https://hooks.example" in str(sent)
    assert "notification failed" in str(failed)
    sample = bench.metrics.registry.get_sample_value
    for status in ("SUCCESS", "RETRY_PENDING", "FAILED"):
        labels = {"channel": "ops", "status": status}
        assert sample("notifications_total", labels) == 1.0
    assert sample("attempt_seconds_sum", {"channel": "ops"}) == 1.5


@pytest.mark.parametrize("shown", ["o…@example.org", "o…@example.org (+1)", "https://a.example"])
async def test_the_log_shows_where_a_message_went(
    shown: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(make_bench(Receivers(ops=Receiver(redacted_endpoint=shown)))) as bench:
        bench.add(notification("a"))
        await trio.sleep(1)
    (sent,) = bench.log.calls
    assert f"to='{shown}'" in sent.args[0]


async def test_a_real_receiver_that_fails_in_every_way_gets_each_message_under_one_key() -> None:
    with http_receiver() as receiver:
        receiver.script = [
            Answer(drop=True),
            Answer(500),
            Answer(stall=True),
            replace(gzip_bomb(50), status=503),
            Answer(502, body=b"x" * 100_000, endless=True),
            Answer(408, body=b"x", cut=True),
            Answer(429, {"Retry-After": "0"}),
            Answer(200, body=b"x" * 300_000),
        ]
        factory = ChannelFactory({"ops": WebhookConfig(url=receiver.url(), timeout_secs=0.5)})
        config = NotifyConfig(retry_first_secs=0.01, retry_max_secs=0.02)
        async with running(make_bench(factory, config=config)) as bench:
            bench.add(notification("a", created_us=now_us()))
            await trio.to_thread.run_sync(receiver.wait_for, 8)
            with trio.fail_after(5):
                while bench.status("a") is PENDING:  # no event tells of it
                    await trio.sleep(0.01)
        await factory.aclose()
    assert bench.status("a") is SUCCESS
    assert bench.outbox.rows["a"].attempts == 8
    assert {request.headers["idempotency-key"] for request in receiver.received} == {"a"}
    assert len({json.loads(request.body)["sentAt"] for request in receiver.received}) == 8


async def test_default_words_because_a_template_failed_are_recorded_and_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fault = "the template of title failed: line 1: division by zero"
    ops = Receiver(answer=lambda message: Delivered(fault))
    async with running(make_bench(Receivers(ops=ops))) as bench:
        bench.add(notification("a"))
        await trio.sleep(1)
    [settlement] = bench.outbox.settlements
    assert (settlement.status, settlement.last_error, settlement.note) == (SUCCESS, None, fault)
    sample = bench.metrics.registry.get_sample_value
    assert sample("template_failures_total", {"channel": "ops"}) == 1.0
    assert fault in str(bench.log.calls[-1])
