"""Notifications share messages as grouping says, on disk as on paper, and none is lost."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec
import pytest

from alertd.model import US_PER_S, Target
from alertd.notify.grouping import MAX_PARTS
from alertd.outbound import Announcement, DeliveryStatus, Outgoing, Settlement, Timing
from alertd.store.connection import APPLICATION_ID
from alertd.store.deliveries import DeliveryQuery
from alertd.store.hurry import HURRIED_BY_A_SUCCESS
from alertd.store.schema import MIGRATIONS
from alertd.store.store import Store, open_store
from alertd.store.timeline import TimelineEvent
from tests.unit.store.store_samples import OPS, SLACK, START_US, firing, resolved

S = US_PER_S
GATHER = Timing(interval_us=10 * S)
PROMPT = Timing(interval_us=0)


def grouped(announcement: Announcement, at_us: int, *, group: str = "g") -> Announcement:
    """Return ``announcement`` with its notifications made at ``at_us``, for one group."""
    return msgspec.structs.replace(
        announcement,
        notifications=tuple(
            msgspec.structs.replace(one, group_key=group, created_us=at_us)
            for one in announcement.notifications
        ),
    )


def begun(number: int, at_s: float = 0, timing: Timing = GATHER) -> Announcement:
    at_us = START_US + round(at_s * S)
    return grouped(firing(START_US + number, targets=(OPS,), timing=timing), at_us)


def ended(announcement: Announcement, at_s: float, timing: Timing = GATHER) -> Announcement:
    end = resolved(announcement, after_us=round(at_s * S), targets=(OPS,), timing=timing)
    return grouped(end, START_US + round(at_s * S))


def told(*announcements: Announcement) -> set[str]:
    return {one.id for announcement in announcements for one in announcement.notifications}


def incident_of(announcement: Announcement) -> str:
    assert announcement.transition.incident is not None
    return announcement.transition.incident.id


def settled(
    message: Outgoing, status: DeliveryStatus, at_s: float, next_s: float | None = None
) -> Settlement:
    at_us = START_US + round(at_s * S)
    return Settlement(
        id=message.id,
        status=status,
        attempts=message.attempts + 1,
        next_attempt_us=at_us if next_s is None else START_US + round(next_s * S),
        last_error=None if status is DeliveryStatus.SUCCESS else "503",
        at_us=at_us,
    )


async def claim(store: Store, at_s: float) -> list[Outgoing]:
    return await store.outbox.claim(START_US + round(at_s * S), limit=100)


async def deliver(store: Store, at_s: float) -> list[Outgoing]:
    """Send what is due to a receiver that takes it; return it."""
    found = await claim(store, at_s)
    await store.outbox.settle([settled(one, DeliveryStatus.SUCCESS, at_s) for one in found])
    return found


async def give_up(store: Store, at_s: float) -> Outgoing:
    """Send what is due, one message, to a receiver that refuses it for good; return it."""
    [lost] = await claim(store, at_s)
    await store.outbox.settle([settled(lost, DeliveryStatus.FAILED, at_s)])
    return lost


async def requeued(store: Store, message: Outgoing, at_s: float) -> DeliveryStatus:
    """Have a message sent again; return what it was before."""
    asked = await store.outbox.requeue(message.id, START_US + round(at_s * S))
    assert asked is not None
    assert asked.target == message.target
    return asked.before


async def test_the_first_of_a_quiet_group_leaves_at_once_with_all_of_its_commit(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun(n, at_s=n / 1000) for n in range(3)], applied=1)
        (message,) = await deliver(store, 0.01)
        assert len(message.parts) == 3
        assert message.begun_us == START_US


async def test_what_follows_gathers_for_the_interval_into_one_message(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun(0)], applied=1)
        assert len(await deliver(store, 0)) == 1
        for n in range(1, 6):
            await store.incidents.record([begun(n, at_s=n)], applied=1 + n)
            assert await deliver(store, n) == []
        assert await store.outbox.next_due_us() == START_US + 10 * S
        (message,) = await deliver(store, 10)
        assert len(message.parts) == 5
        await store.incidents.record([begun(9, at_s=30)], applied=9)
        assert len(await deliver(store, 30)) == 1, "quiet again, so at once again"


async def test_a_wait_delays_the_first_and_lets_others_in(tmp_path: Path) -> None:
    timing = Timing(wait_us=3 * S, interval_us=10 * S)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun(0, timing=timing)], applied=1)
        await store.incidents.record([begun(1, at_s=2, timing=timing)], applied=2)
        assert await deliver(store, 2.9) == []
        (message,) = await deliver(store, 3)
        assert len(message.parts) == 2


async def test_groups_and_receivers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    one = grouped(firing(START_US, targets=(OPS,), timing=GATHER), START_US, group="a")
    two = grouped(firing(START_US + 1, targets=(OPS,), timing=GATHER), START_US, group="b")
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one], applied=1)
        await store.incidents.record([two], applied=2)
        assert len(await deliver(store, 0)) == 2


async def test_a_message_that_was_offered_takes_nothing_more_in(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun(0)], applied=1)
        await deliver(store, 0)
        await store.incidents.record([begun(1, at_s=1)], applied=2)
        (offered,) = await claim(store, 10)
        await store.incidents.record([begun(2, at_s=10)], applied=3)
        (again,) = await claim(store, 10)
        assert again == offered
        await store.outbox.settle([settled(offered, DeliveryStatus.SUCCESS, 10)])
        assert await deliver(store, 19) == []
        (rest,) = await deliver(store, 20)
        assert len(rest.parts) == 1


async def test_behind_a_receiver_that_is_down_everything_gathers(tmp_path: Path) -> None:
    """And its end and its beginning are told in order, in two messages for the whole time."""
    lives = [begun(n, at_s=n) for n in range(200)]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([lives[0]], applied=1)
        for n in range(1, 200):
            for message in await claim(store, n):
                retry = settled(message, DeliveryStatus.RETRY_PENDING, n, next_s=n + 30)
                await store.outbox.settle([retry])
            await store.incidents.record([lives[n]], applied=1 + n)
        sent = [*await deliver(store, 300), *await deliver(store, 300), *await deliver(store, 300)]
        assert len(sent) == 2
        parts = [view for message in sent for _, view in message.parts]
        assert len(parts) == 200


async def test_one_that_keeps_failing_does_not_hold_up_other_incidents_for_ever(
    tmp_path: Path,
) -> None:
    poison = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([poison], applied=1)
        for attempt in range(8):
            (message,) = await claim(store, attempt)
            retry = settled(message, DeliveryStatus.RETRY_PENDING, attempt, next_s=attempt + 1)
            await store.outbox.settle([retry])
        asked = {"next_attempt_us": START_US * 2, "must_wait": True}
        await store.outbox.settle([msgspec.structs.replace(retry, at_us=retry.at_us + 1, **asked)])
        await store.incidents.record([begun(1, at_s=9)], applied=2)
        (other,) = await deliver(store, 20)
        assert len(other.parts) == 1
        await store.incidents.record([ended(poison, 21)], applied=3)
        assert await deliver(store, 40) == [], "its own end waits for it"


async def test_an_incident_that_ends_while_its_receiver_is_down_is_told_in_one_message(
    tmp_path: Path,
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        retry = settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=5)
        await store.outbox.settle([retry])
        await store.incidents.record([ended(life, 3)], applied=2)
        (both,) = await deliver(store, 5)
        assert [kind for kind, _ in both.parts] == ["firing", "resolved"]
        assert both.id != message.id, "another content, so another key"
        assert await deliver(store, 100) == []
        detail = await store.incidents.get(incident_of(life))
        assert detail is not None
        assert {item.status for item in detail.item.notifications} == {DeliveryStatus.SUCCESS}
        retries = [e.at_us for e in detail.timeline if e.what is TimelineEvent.RETRY]
        assert retries == [START_US], "what was tried before is not forgotten"
        collapsed = [e for e in detail.timeline if e.what is TimelineEvent.COLLAPSED]
        assert [entry.detail for entry in collapsed] == [
            "ops: told together with its end, after 1 attempts"
        ]


async def test_what_has_not_ended_is_told_under_a_new_key_and_its_end_with_the_other(
    tmp_path: Path,
) -> None:
    short, long = begun(0), begun(1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([short, long], applied=1)
        (message,) = await claim(store, 0)
        await store.outbox.settle([settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=5)])
        await store.incidents.record([ended(short, 3)], applied=2)
        (first,) = await deliver(store, 5)
        assert first.id != message.id, "another content, so another key"
        assert (len(first.parts), first.attempts) == (1, 1)
        (second,) = await deliver(store, 10)
        assert [kind for kind, _ in second.parts] == ["firing", "resolved"]


async def test_what_the_receiver_may_have_taken_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """It would be told twice if it came again under another key: with its end."""
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        lost = settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=5)
        await store.outbox.settle([msgspec.structs.replace(lost, may_have_arrived=True)])
        await store.incidents.record([ended(life, 3)], applied=2)
        (again,) = await claim(store, 5)
        assert (again.id, again.parts) == (message.id, message.parts)
        await store.outbox.settle([settled(again, DeliveryStatus.RETRY_PENDING, 5, next_s=20)])
        (again,) = await deliver(store, 20)
        assert (again.id, again.parts) == (message.id, message.parts), "what is refused later too"
        (end,) = await deliver(store, 21)
        assert [kind for kind, _ in end.parts] == ["resolved"]


@pytest.mark.parametrize("attempts", [0, 1])
async def test_what_a_killed_process_was_sending_may_have_arrived(
    tmp_path: Path, attempts: int
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        if attempts:
            refused = settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=1)
            await store.outbox.settle([refused])
            await claim(store, 1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.outbox.take_up()
        (again,) = await claim(store, 2)
        await store.outbox.settle([settled(again, DeliveryStatus.RETRY_PENDING, 2, next_s=5)])
        await store.incidents.record([ended(life, 3)], applied=2)
        (again,) = await deliver(store, 5)
        assert (again.id, again.parts) == (message.id, message.parts)


async def test_what_waited_for_its_next_attempt_at_a_restart_may_still_collapse(
    tmp_path: Path,
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        await store.outbox.settle([settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=5)])
    async with open_store(tmp_path / "alertd.db") as store:
        await store.outbox.take_up()
        await store.incidents.record([ended(life, 3)], applied=2)
        (both,) = await deliver(store, 5)
        assert [kind for kind, _ in both.parts] == ["firing", "resolved"]


async def test_without_collapse_the_two_are_two_messages_in_order(tmp_path: Path) -> None:
    apart = Timing(interval_us=10 * S, collapse=False)
    life = begun(0, timing=apart)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        await store.outbox.settle([settled(message, DeliveryStatus.RETRY_PENDING, 0, next_s=5)])
        await store.incidents.record([ended(life, 3, apart)], applied=2)
        (first,) = await deliver(store, 20)
        (second,) = await deliver(store, 20)
        assert [kind for kind, _ in (*first.parts, *second.parts)] == ["firing", "resolved"]
    async with open_store(tmp_path / "other.db") as store:
        await store.incidents.record([life, ended(life, 3, apart)], applied=2)
        assert [len(one.parts) for one in await deliver(store, 20)] == [1]
        assert [len(one.parts) for one in await deliver(store, 20)] == [1]


async def test_an_incident_stays_in_the_group_in_which_it_was_first_told(tmp_path: Path) -> None:
    """The configuration may change between its beginning and its end."""
    life = begun(0)
    end = grouped(ended(life, 3), START_US + 3 * S, group="another")
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 3)
        await store.outbox.settle([settled(message, DeliveryStatus.RETRY_PENDING, 3, next_s=99)])
        await store.incidents.record([end], applied=2)
        assert await claim(store, 50) == []
        (both,) = await deliver(store, 99)
        assert both.group_key == "g"


async def test_a_storm_is_a_handful_of_messages_and_nothing_is_lost(tmp_path: Path) -> None:
    storm = [begun(n) for n in range(10_000)]
    sent: list[Outgoing] = []
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record(storm, applied=1)
        while found := await deliver(store, 1):
            sent += found
        await store.incidents.record([ended(one, 2) for one in storm], applied=2)
        while found := await deliver(store, 12):
            sent += found
        assert (await store.outbox.counts())[DeliveryStatus.RETRY_PENDING] == 0
    assert len(sent) <= 20
    assert max(len(message.parts) for message in sent) <= MAX_PARTS
    assert sum(len(message.parts) for message in sent) == 20_000


async def test_a_storm_recorded_in_portions_shares_messages_as_one_commit_does(
    tmp_path: Path,
) -> None:
    storm = [begun(n) for n in range(2 * MAX_PARTS + 5)]
    async with open_store(tmp_path / "alertd.db") as store:
        for start in range(0, len(storm), 10):
            last = start + 10 >= len(storm)
            await store.incidents.record(storm[start : start + 10], applied=1 if last else None)
        sent = await deliver(store, 0)
        while found := await deliver(store, 1):
            sent += found
    assert [len(message.parts) for message in sent] == [MAX_PARTS, MAX_PARTS, 5]


async def test_a_portion_goes_on_in_the_message_of_the_one_before_until_that_is_offered(
    tmp_path: Path,
) -> None:
    first, second, third = begun(0), begun(1), begun(2)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([first], applied=None)
        assert await store.incidents.applied() == 0
        await store.incidents.record([second], applied=None)
        (message,) = await claim(store, 0)
        assert [view for _, view in message.parts] == [
            each.notifications[0].view for each in (first, second)
        ]
        await store.incidents.record([third], applied=1)
        assert await store.incidents.applied() == 1
        await store.outbox.settle([settled(message, DeliveryStatus.SUCCESS, 0)])
        assert await claim(store, 9) == []
        (later,) = await claim(store, 10)
        assert [view for _, view in later.parts] == [third.notifications[0].view]


async def test_recording_again_moves_nothing_between_messages(tmp_path: Path) -> None:
    first, second = begun(0), begun(1, at_s=1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([first], applied=1)
        await store.incidents.record([first, second], applied=2)
        await store.incidents.record([first, second], applied=2)
        assert [len(one.parts) for one in await deliver(store, 0)] == [1]
        assert [len(one.parts) for one in await deliver(store, 10)] == [1]
        assert await deliver(store, 100) == []


async def test_a_failed_message_can_be_requeued_and_has_all_its_attempts_again(
    tmp_path: Path,
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        (message,) = await claim(store, 0)
        assert await requeued(store, message, 0) is DeliveryStatus.RETRY_PENDING
        await store.outbox.settle([settled(message, DeliveryStatus.FAILED, 1)])
        assert await requeued(store, message, 60) is DeliveryStatus.FAILED
        (again,) = await deliver(store, 60)
        assert (again.id, again.attempts, again.begun_us) == (
            *(message.id, 0),
            START_US + 60 * S,
        )
        assert again.parts == message.parts
        assert await requeued(store, message, 0) is DeliveryStatus.SUCCESS
        assert await store.outbox.requeue("unknown", START_US) is None
        detail = await store.incidents.get(incident_of(life))
        assert detail is not None
        happened = [entry.what for entry in detail.timeline if entry.notification_id]
        assert happened == ["queued", "failed", "requeued", "sent"]


async def refused(store: Store, count: int) -> list[str]:
    """Have that many messages refused, each of a group of its own; return their ids.

    They are to be tried again after 100 s, the oldest of them last.
    """
    for n in range(count):
        one = grouped(firing(START_US + n, targets=(OPS,)), START_US, group=f"g{n}")
        await store.incidents.record([one], applied=n + 1)
    waiting = await claim(store, 0)
    assert len(waiting) == count
    await store.outbox.settle(
        [
            settled(one, DeliveryStatus.RETRY_PENDING, 1, 100 + count - n)
            for n, one in enumerate(waiting)
        ]
    )
    return [one.id for one in waiting]


async def succeed(store: Store, number: int, at_s: float, target: Target = OPS) -> None:
    """Have a receiver take a message of its own group."""
    one = firing(START_US + 1000 + number, targets=(target,))
    at_us = START_US + round(at_s * S)
    await store.incidents.record([grouped(one, at_us, group=f"new {number}")], applied=1)
    new = {notification.id for notification in one.notifications}
    [mine] = [message for message in await claim(store, at_s) if message.id in new]
    await store.outbox.settle([settled(mine, DeliveryStatus.SUCCESS, at_s)])


async def test_a_success_has_what_waits_for_the_same_receiver_tried_now_the_oldest_first(
    tmp_path: Path,
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        waiting = await refused(store, 5)
        await succeed(store, 0, 2, target=SLACK)
        assert await claim(store, 2) == []
        await succeed(store, 1, 3)
        found = await claim(store, 3)
        assert [one.id for one in found] == waiting
        assert {one.attempts for one in found} == {1}
        assert await store.outbox.next_due_us() == START_US + 3 * S


async def test_a_hurried_message_that_fails_waits_in_full_and_may_be_hurried_after_that(
    tmp_path: Path,
) -> None:
    """So what one receiver refuses while it takes the rest costs twice the attempts, not all."""
    attempted_s = []
    async with open_store(tmp_path / "alertd.db") as store:
        [poison] = await refused(store, 1)
        for at_s in range(2, 60):
            await succeed(store, at_s, at_s)
            for message in await claim(store, at_s):
                assert message.id == poison
                attempted_s.append(at_s)
                again = settled(message, DeliveryStatus.RETRY_PENDING, at_s, at_s + 10)
                await store.outbox.settle([again])
    assert attempted_s == [2, 12, 13, 23, 24, 34, 35, 45, 46, 56, 57]


async def test_what_a_receiver_asked_for_is_not_hurried_but_by_a_person(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun(0)], applied=1)
        [message] = await claim(store, 0)
        asked = settled(message, DeliveryStatus.RETRY_PENDING, 1, 100)
        await store.outbox.settle([msgspec.structs.replace(asked, must_wait=True)])
        await succeed(store, 0, 2)
        assert await claim(store, 99) == []
        assert await requeued(store, message, 99) is DeliveryStatus.RETRY_PENDING
        [again] = await claim(store, 99)
        assert (again.id, again.attempts, again.begun_us) == (message.id, 1, message.begun_us)


async def test_a_success_hurries_no_more_than_a_transaction_should_hold_and_all_in_the_end(
    tmp_path: Path,
) -> None:
    count = HURRIED_BY_A_SUCCESS + 20
    async with open_store(tmp_path / "alertd.db") as store:
        waiting = await refused(store, count)
        await succeed(store, 0, 2)
        first = await claim(store, 2)
        assert [one.id for one in first] == waiting[:HURRIED_BY_A_SUCCESS]
        await store.outbox.settle([settled(first[0], DeliveryStatus.SUCCESS, 3)])
        assert {one.id for one in await claim(store, 3)} == set(waiting[1:])


async def test_who_has_one_sent_now_has_what_must_be_told_before_it_sent_too(
    tmp_path: Path,
) -> None:
    life = begun(0, timing=PROMPT)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        [first] = await claim(store, 0)
        lost = settled(first, DeliveryStatus.RETRY_PENDING, 1, 100)
        await store.outbox.settle([msgspec.structs.replace(lost, may_have_arrived=True)])
        end = ended(life, 2, timing=PROMPT)
        await store.incidents.record([end], applied=2)
        [told_end] = [one.id for one in end.notifications]
        for _ in range(2):
            assert await store.outbox.requeue(told_end, START_US + 5 * S)
        assert [one.id for one in await deliver(store, 5)] == [first.id]
        assert [one.id for one in await deliver(store, 5)] == [told_end]


async def test_what_has_ended_is_told_to_have_ended_again_behind_a_beginning_that_is_requeued(
    tmp_path: Path,
) -> None:
    """Else its receiver would take for on what is over."""
    over, on = begun(0), begun(1)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([over, on], applied=1)
        lost = await give_up(store, 0)
        await store.incidents.record([ended(over, 20)], applied=2)
        [told_end] = await deliver(store, 20)
        for at_s in (100, 200):
            assert await requeued(store, lost, at_s) is DeliveryStatus.FAILED
            assert await requeued(store, lost, at_s) is DeliveryStatus.RETRY_PENDING
            [again] = await claim(store, at_s)
            assert (again.id, again.parts) == (lost.id, lost.parts)
            failed_again = at_s == 100
            status = DeliveryStatus.FAILED if failed_again else DeliveryStatus.SUCCESS
            await store.outbox.settle([settled(again, status, at_s)])
            [end_again] = await deliver(store, at_s)
            assert end_again.parts == told_end.parts
            assert end_again.id not in {lost.id, told_end.id}, "the same key would be ignored"
        assert await store.outbox.next_due_us() is None


async def test_an_end_that_is_still_to_be_told_is_told_once_behind_what_is_requeued(
    tmp_path: Path,
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        lost = await give_up(store, 0)
        await store.incidents.record([ended(life, 5)], applied=2)
        await store.outbox.requeue(lost.id, START_US + 6 * S)
        found = await deliver(store, 6) + await deliver(store, 10) + await deliver(store, 60)
        assert [kind for one in found for kind, _ in one.parts] == ["firing", "resolved"]


async def test_what_is_requeued_while_its_end_is_sent_collapses_with_the_end_that_is_told_again(
    tmp_path: Path,
) -> None:
    life = begun(0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([life], applied=1)
        lost = await give_up(store, 0)
        await store.incidents.record([ended(life, 20)], applied=2)
        [on_its_way] = await claim(store, 20)
        await requeued(store, lost, 21)
        [again] = await store.outbox.claim(START_US + 21 * S, limit=9, exclude=[on_its_way.id])
        refused_again = settled(again, DeliveryStatus.RETRY_PENDING, 22, 23)
        await store.outbox.settle([refused_again, settled(on_its_way, DeliveryStatus.SUCCESS, 22)])
        found = await deliver(store, 60)
        assert [[kind for kind, _ in one.parts] for one in found] == [["firing", "resolved"]]
        assert await store.outbox.next_due_us() is None


async def test_messages_are_listed_the_newest_first_by_status_and_channel(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        for n in range(5):
            one = grouped(firing(START_US + n, targets=(OPS,)), START_US, group=f"g{n}")
            await store.incidents.record([one], applied=n)
        failed, *_ = await claim(store, 0)
        await store.outbox.settle([settled(failed, DeliveryStatus.FAILED, 1)])

        async def listed(**filters: object) -> list[str]:
            query = DeliveryQuery(limit=2, **filters)  # type: ignore[arg-type]
            found = []
            while True:
                page = await store.outbox.page(query)
                found += [item.group_key for item in page.items]
                if page.next_cursor is None:
                    return found
                query = msgspec.structs.replace(query, cursor=page.next_cursor)

        assert await listed() == ["g4", "g3", "g2", "g1", "g0"]
        assert await listed(status=DeliveryStatus.FAILED) == ["g0"]
        assert await listed(status=DeliveryStatus.RETRY_PENDING) == ["g4", "g3", "g2", "g1"]
        assert await listed(channel="nobody") == []
        (item,) = (await store.outbox.page(DeliveryQuery(status=DeliveryStatus.FAILED))).items
        assert (item.attempts, item.last_error, item.kinds) == (1, "503", ("firing",))
        assert item.incident_count == 1


OLD = """
    INSERT INTO incidents VALUES ('i', 'r', 'rule', 1, 'critical', 1.0, '>', '{}', 1, 1, NULL, 1,
        2.5, 2.5, 0, 1, 1, 0, 'stream', NULL, NULL, NULL, 'summary');
    INSERT INTO notifications VALUES
        (1, 'n1', 'i', 'r', 'firing', 'ops', NULL, 'SUCCESS', 2, 10, 20, NULL, 20,
         '{"version":1,"incidents":[{"id":"i","value":2.5,"message":"\u00e4"}]}'),
        (2, 'n2', 'i', 'r', 'resolved', 'ops', NULL, 'RETRY_PENDING', 1, 30, 40, '503', NULL,
         '{"version":1,"incidents":[{"id":"i","state":"resolved"}]}');
"""


@pytest.mark.parametrize("content", ["", OLD])
async def test_notifications_of_an_older_schema_become_messages_of_their_own(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "alertd.db"
    connection = apsw.Connection(str(path))
    connection.create_scalar_function("least_us", lambda *_: 0, 2)
    connection.create_scalar_function("greatest_us", lambda *_: 0, 2)
    for script in MIGRATIONS[:5]:
        connection.execute(script)
    connection.execute(content)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 5)
    connection.close()
    async with open_store(path) as store:
        found = await store.outbox.claim(START_US, limit=10)
        if not content:
            assert found == []
            return
        (message,) = found
        assert (message.id, message.attempts, message.target) == ("n2", 1, OPS)
        ((kind, view),) = message.parts
        assert (kind, msgspec.json.decode(view)) == ("resolved", {"id": "i", "state": "resolved"})
        detail = await store.incidents.get("i")
        assert detail is not None
        assert [(one.id, one.status, one.attempts) for one in detail.item.notifications] == [
            ("n1", DeliveryStatus.SUCCESS, 2),
            ("n2", DeliveryStatus.RETRY_PENDING, 1),
        ]


async def test_an_end_is_told_to_those_who_heard_of_the_beginning(tmp_path: Path) -> None:
    """Whoever else the rule names by then never heard of it."""
    one = firing(targets=(OPS,))
    async with open_store(tmp_path / "a.db") as store:
        await store.incidents.record([one], applied=1)
        await deliver(store, 0)
        await store.incidents.record([resolved(one, targets=(OPS, SLACK))], applied=2)
        assert [message.target for message in await deliver(store, 10)] == [OPS]
        detail = await store.incidents.get(incident_of(one))
        assert detail is not None
        [withheld] = [entry for entry in detail.timeline if entry.what is TimelineEvent.WITHHELD]
        assert withheld.detail.endswith("nobody was told that it began")
