"""What a receiver calls a message is kept, and leads to it what is about nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alertd.model import Target
from alertd.outbound import Announcement, DeliveryStatus, Earlier, Outgoing, Timing
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import OPS, START_US, firing, resolved, settlement

LATER_US = START_US + 10**9
TOGETHER = Timing(interval_us=0)


async def sent(store: Store, receipt: str) -> list[Outgoing]:
    """Deliver all that is due, each message under ``receipt``; return it."""
    found = await store.outbox.claim(LATER_US, limit=100)
    outcomes = [
        msgspec.structs.replace(settlement(one, DeliveryStatus.SUCCESS), receipt=receipt)
        for one in found
    ]
    await store.outbox.settle(outcomes)
    return found


def together(announcement: Announcement) -> Announcement:
    """Return it with notifications that may share a message."""
    notifications = announcement.notifications
    shared = (msgspec.structs.replace(one, group_key="{}") for one in notifications)
    return msgspec.structs.replace(announcement, notifications=tuple(shared))


def begun(number: int, target: Target = OPS) -> Announcement:
    return together(firing(START_US + number, targets=(target,), timing=TOGETHER))


def ended(announcement: Announcement, target: Target = OPS) -> Announcement:
    return together(resolved(announcement, targets=(target,), timing=TOGETHER))


async def test_an_end_is_led_to_the_message_of_its_beginning_over_a_restart(tmp_path: Path) -> None:
    one = begun(1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one], applied=1)
        [first] = await sent(store, "C1 1.1")
        assert first.earlier is None
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([ended(one)], applied=2)
        [second] = await sent(store, "C1 2.2")
        assert second.earlier == Earlier("C1 1.1", tells_the_same=True)


async def test_a_message_that_told_of_more_is_not_told_anew(tmp_path: Path) -> None:
    one, two = begun(1), begun(2)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one, two], applied=1)
        assert len(await sent(store, "C1 1.1")) == 1
        await store.incidents.record([ended(one)], applied=2)
        [end] = await sent(store, "C1 2.2")
        assert end.earlier == Earlier("C1 1.1", tells_the_same=False)


async def test_what_is_news_or_was_told_in_several_messages_stands_by_itself(
    tmp_path: Path,
) -> None:
    one, two, three = begun(1), begun(2), begun(3)
    async with open_store(tmp_path / "alertd.db") as store:
        for number, announcement in enumerate((one, two)):
            await store.incidents.record([announcement], applied=number + 1)
            await sent(store, f"C1 {number}.1")
        await store.incidents.record([ended(one), three], applied=3)
        [mixed] = await sent(store, "C1 3.3")
        assert (len(mixed.parts), mixed.earlier) == (2, None)
        await store.incidents.record([ended(two), ended(three)], applied=4)
        [several] = await sent(store, "C1 4.4")
        assert (len(several.parts), several.earlier) == (2, None)


@pytest.mark.parametrize("target", [Target("other"), Target("SLACK", "https://hooks.example/x")])
async def test_another_channel_knows_nothing_of_it(tmp_path: Path, target: Target) -> None:
    one = begun(1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one], applied=1)
        await sent(store, "C1 1.1")
        await store.incidents.record([begun(1, target)], applied=2)
        [message] = await sent(store, "C1 2.2")
        assert message.earlier is None


async def test_a_message_without_a_receipt_leads_nowhere(tmp_path: Path) -> None:
    one = begun(1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one], applied=1)
        await sent(store, "")
        await store.incidents.record([ended(one)], applied=2)
        [end] = await sent(store, "")
        assert end.earlier is None
