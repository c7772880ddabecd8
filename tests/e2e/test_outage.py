"""A receiver is down for minutes while a thousand incidents fire and end: each is told afterwards.

The store is real, time is not: it passes as fast as there is nothing to do, so minutes cost none.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import structlog
import trio
import trio.testing

from alertd.channels.message import Message
from alertd.channels.protocol import Delivered, Outcome, Retryable
from alertd.config.settings import NotifyConfig
from alertd.delivery.attempt import Attempts
from alertd.delivery.dispatch import Dispatcher
from alertd.delivery.places import Places
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Target, Transition
from alertd.notify.announce import Announcer
from alertd.notify.policy import Policy
from alertd.notify.route import Defaults
from alertd.outbound import DeliveryStatus
from alertd.rules import RuleRecord, compile_rule
from alertd.store.connection import Durability
from alertd.store.store import Store, open_store
from tests.faults.inline import Inline
from tests.unit.delivery.desk import begin, end
from tests.unit.delivery.test_dispatch import Receiver, Receivers
from tests.unit.store.store_samples import START_US, record

DOWN_S = 300.0
DOWN, ASIDE = Target("down"), Target("aside")
Answer = Callable[[Message], Outcome]


def now_us() -> int:
    return START_US + round(trio.current_time() * US_PER_S)


def rules() -> list[RuleRecord]:
    """Return a few rules, so that there are a few groups of messages."""
    return [record(f"rule {n}", notifications=(DOWN, ASIDE)) for n in range(10)]


def refuses(message: Message) -> Outcome:
    return Retryable("connection refused", was_refused=True)


def loses_its_answer(message: Message) -> Outcome:
    return Retryable("the connection broke")


async def live(
    count: int, store: Store, announcer: Announcer, wake: Callable[[], None], seed: int
) -> None:
    """Have incidents fire and end while the receiver is down."""
    chance = random.Random(seed)  # noqa: S311  # a test

    async def tell(transition: Transition) -> None:
        found = announcer.announce(msgspec.structs.replace(transition, detected_us=now_us()))
        assert found is not None
        await store.incidents.record([found], applied=1)
        wake()

    async def one(number: int, rule: RuleRecord) -> None:
        await trio.sleep(chance.uniform(0, DOWN_S / 2))
        begun = begin(number, of=rule)
        begun = msgspec.structs.replace(begun, rule=compile_rule(rule))
        await tell(begun)
        await trio.sleep(chance.uniform(0, DOWN_S / 2))
        await tell(end(begun))

    async with trio.open_nursery() as incidents:
        for number in range(count):
            incidents.start_soon(one, number, chance.choice(rules()))


@pytest.mark.parametrize(
    ("while_down", "collapse", "one_message", "incidents"),
    [
        (refuses, True, True, 1000),
        (refuses, False, False, 300),
        (loses_its_answer, True, None, 1000),
    ],
)
async def test_each_is_told_in_order_and_none_twice(
    tmp_path: Path,
    autojump_clock: trio.testing.MockClock,
    while_down: Answer,
    collapse: bool,
    one_message: bool | None,
    incidents: int,
) -> None:
    seed = random.randrange(2**32)  # noqa: S311  # a test
    down = Receiver(lambda m: while_down(m) if trio.current_time() < DOWN_S else Delivered(), 0.1)
    aside = Receiver(takes_s=0.1)
    config = NotifyConfig(collapse=collapse, flapping_changes=0)
    announcer = Announcer(
        "http://alertd.example",
        defaults=Defaults(timing=config.timing),
        policy=Policy(flapping=config.flapping),
    )
    async with open_store(
        tmp_path / "alertd.db", durability=Durability.RELAXED, blocking=Inline()
    ) as store:
        receivers, log = Receivers(down=down, aside=aside), structlog.get_logger()
        jitter = random.Random(seed).random  # noqa: S311  # a test
        dispatcher = Dispatcher(
            store.outbox,
            Attempts(receivers, now_us, config, Metrics(), log, random=jitter),
            Places(receivers.limits, now_us, config.concurrency_per_channel),
            now_us,
            log,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(dispatcher.run)
            await live(incidents, store, announcer, dispatcher.wake, seed)
            assert trio.current_time() < DOWN_S
            assert down.taken == []
            assert told_by(aside).keys() == told_by(aside, "firing").keys(), "nobody waits for it"
            await trio.sleep(2000)
            await dispatcher.drain(0)
        left = await store.outbox.counts()
    assert left[DeliveryStatus.RETRY_PENDING] == left[DeliveryStatus.FAILED] == 0, f"seed {seed}"
    for receiver in (down, aside):
        told = told_by(receiver)
        assert len(told) == incidents, f"seed {seed}"
        assert set(map(tuple, told.values())) == {("firing", "resolved")}, f"seed {seed}"
        assert max(Counter(receiver.taken).values()) == 1, f"seed {seed}"
    together = shared(down)
    if one_message is not None:
        # What fired before the first attempt of its message was over is in that one alone.
        assert (together > incidents * 0.9) if one_message else (together == 0), f"seed {seed}"
    if collapse:
        assert len(down.taken) < incidents / 10, "an outage ends in a few messages"


def deliveries(receiver: Receiver) -> list[Message]:
    """Return the messages that were taken, in that order."""
    last = {message.notification_id: message for _, message in receiver.told}
    return [last[message_id] for message_id in receiver.taken]


def told_by(receiver: Receiver, state: str | None = None) -> dict[str, list[str]]:
    """Return what was told of each incident, in order."""
    told = defaultdict(list)
    for message in deliveries(receiver):
        for view in message.incidents:
            if state in (None, view.state):
                told[view.id].append(view.state)
    return told


def shared(receiver: Receiver) -> int:
    """Return of how many incidents one message said both."""
    return sum(
        list(Counter(view.id for view in message.incidents).values()).count(2)
        for message in deliveries(receiver)
    )
