"""The outbox: everything is offered until it has ended, the elder sibling first."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec
import pytest

from alertd.model import Target
from alertd.outbound import Announcement, DeliveryStatus, Notification, Settlement
from alertd.store.outbox import DUE, NEXT_CHANNEL, NEXT_ENDPOINT
from alertd.store.store import Store, open_store
from alertd.store.timeline import TimelineEvent
from tests.unit.store.store_samples import (
    OPS,
    SLACK,
    START_US,
    firing,
    record,
    resolved,
    settlement,
)

LATER_US = START_US + 10**9


async def due(store: Store, now_us: int = LATER_US, **options: object) -> list[str]:
    found = await store.outbox.claim(now_us, **{"limit": 100, **options})  # type: ignore[arg-type]
    return [notification.id for notification in found]


def only(notifications: tuple[Notification, ...]) -> Notification:
    (notification,) = notifications
    return notification


async def test_a_notification_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    begun = firing(targets=(SLACK, OPS))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
    async with open_store(tmp_path / "alertd.db") as store:
        slack, ops = await store.outbox.claim(LATER_US, limit=9)
    assert (slack.target, ops.target) == (SLACK, OPS)
    assert [slack.id, ops.id] == [notification.id for notification in begun.notifications]
    (only_part,) = slack.parts
    assert only_part == ("firing", begun.notifications[0].view)
    assert (slack.attempts, slack.begun_us, slack.next_attempt_us) == (0, START_US, START_US)


async def test_nothing_is_due_before_its_time(tmp_path: Path) -> None:
    begun = firing()
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.outbox.next_due_us() is None
        await store.incidents.record([begun], applied=1)
        assert await store.outbox.next_due_us() == START_US
        assert await due(store, START_US - 1) == []
        assert await due(store, START_US) == [only(begun.notifications).id]


async def test_the_longest_due_comes_first_and_the_limit_holds(tmp_path: Path) -> None:
    found = [firing(START_US + n) for n in (3, 1, 2)]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record(found, applied=1)
        first, second, third = (only(found[n].notifications).id for n in (1, 2, 0))
        assert await due(store) == [first, second, third]
        assert await due(store, limit=2) == [first, second]


async def test_what_is_excluded_is_left_out(tmp_path: Path) -> None:
    begun = firing(targets=(SLACK, OPS, Target("EMAIL", "a@example.org")))
    slack, ops, email = (notification.id for notification in begun.notifications)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        assert await due(store, exclude={slack}) == [ops, email]
        assert await due(store, exclude_targets={OPS}) == [slack, email]
        assert await due(store, exclude_targets={SLACK, Target("EMAIL")}) == [ops, email]
        assert await due(store, exclude={slack}, exclude_targets={OPS}) == [email]


async def test_nobody_is_told_of_the_end_before_the_beginning(tmp_path: Path) -> None:
    begun = firing(targets=(SLACK, OPS))
    ended = resolved(begun, targets=(SLACK, OPS))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun, ended], applied=1)
        slack, ops = begun.notifications
        assert await due(store) == [slack.id, ops.id]
        # Being sent, or waiting for a retry, it still comes before its younger sibling.
        assert await due(store, exclude={slack.id}) == [ops.id]
        later_us = START_US + 60_000_000
        retry = settlement(
            slack, DeliveryStatus.RETRY_PENDING, next_attempt_us=later_us, error="503"
        )
        await store.outbox.settle([retry, settlement(ops, DeliveryStatus.SUCCESS)])
        assert await due(store, later_us - 1) == [ended.notifications[1].id]
        # However it ended, its sibling is told then.
        await store.outbox.settle([settlement(slack, DeliveryStatus.FAILED, error="404")])
        assert await due(store, later_us - 1) == [n.id for n in ended.notifications]


async def test_told_together_they_keep_their_order(tmp_path: Path) -> None:
    begun = firing()
    ended = resolved(begun, after_us=0)  # both are due at the same microsecond
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun, ended], applied=1)
        assert await due(store) == [only(begun.notifications).id]


async def test_incidents_do_not_wait_for_each_other(tmp_path: Path) -> None:
    one, two = firing(START_US), firing(START_US + 1, rule=record("other"))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([one, two], applied=1)
        assert len(await due(store)) == 2


async def test_the_next_due_time_leaves_out_what_waits_for_its_sibling(tmp_path: Path) -> None:
    begun = firing()
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun, resolved(begun)], applied=1)
        retry = settlement(
            only(begun.notifications), DeliveryStatus.RETRY_PENDING, next_attempt_us=LATER_US
        )
        await store.outbox.settle([retry])
        assert await store.outbox.next_due_us() == LATER_US


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (DeliveryStatus.SUCCESS, TimelineEvent.SENT),
        (DeliveryStatus.RETRY_PENDING, TimelineEvent.RETRY),
        (DeliveryStatus.FAILED, TimelineEvent.FAILED),
    ],
)
async def test_settling_twice_is_settling_once(
    tmp_path: Path, status: DeliveryStatus, line: TimelineEvent
) -> None:
    begun = firing(targets=(SLACK, OPS))
    told = begun.notifications[0]
    error = None if status is DeliveryStatus.SUCCESS else "503 Service Unavailable"
    outcome = settlement(told, status, error=error)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        await store.outbox.settle([outcome])
        once = await store.incidents.get(told.incident_id)
        await store.outbox.settle([outcome, outcome])
        twice = await store.incidents.get(told.incident_id)
        assert twice == once
        assert once is not None
        shown = once.item.notifications[0]
        assert (shown.status, shown.attempts, shown.last_error) == (status, 1, error)
        ended = status is not DeliveryStatus.RETRY_PENDING
        assert shown.settled_us == (outcome.at_us if ended else None)
        entry = once.timeline[-1]
        assert (entry.what, entry.at_us, entry.notification_id) == (line, outcome.at_us, told.id)
        assert entry.detail == ("SLACK" if error is None else f"SLACK: {error}")
        assert "hooks.example" not in repr(once.timeline)


async def test_two_that_are_settled_at_one_instant_have_a_line_each(tmp_path: Path) -> None:
    targets = tuple(Target("WEBHOOK", f"https://{n}.example/") for n in range(2))
    begun = firing(targets=targets)
    one, two = begun.notifications
    two = msgspec.structs.replace(two, id=f"{two.id}/2")
    begun = msgspec.structs.replace(begun, notifications=(one, two))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        await store.outbox.settle([settlement(n, DeliveryStatus.SUCCESS) for n in (one, two)])
        found = await store.incidents.get(one.incident_id)
        assert found is not None
        sent = [entry for entry in found.timeline if entry.what is TimelineEvent.SENT]
        assert [entry.notification_id for entry in sent] == [one.id, two.id]


async def test_what_has_ended_stays_as_it_ended(tmp_path: Path) -> None:
    begun = firing()
    told = only(begun.notifications)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        await store.outbox.settle([settlement(told, DeliveryStatus.FAILED, error="404")])
        await store.outbox.settle([settlement(told, DeliveryStatus.RETRY_PENDING)])
        assert await due(store) == []
        assert (await store.outbox.counts())[DeliveryStatus.FAILED] == 1


async def test_settling_what_is_unknown_is_harmless(tmp_path: Path) -> None:
    unknown = Settlement(
        id="x",
        status=DeliveryStatus.SUCCESS,
        attempts=1,
        next_attempt_us=0,
        last_error=None,
        at_us=0,
    )
    async with open_store(tmp_path / "alertd.db") as store:
        await store.outbox.settle([unknown])
        assert sum((await store.outbox.counts()).values()) == 0


async def test_counts_name_every_status(tmp_path: Path) -> None:
    found = [firing(START_US + n) for n in range(6)]
    async with open_store(tmp_path / "alertd.db") as store:
        assert set(await store.outbox.counts()) == set(DeliveryStatus)
        await store.incidents.record(found, applied=1)
        await store.outbox.settle(
            [
                settlement(only(found[0].notifications), DeliveryStatus.FAILED),
                *(
                    settlement(only(one.notifications), DeliveryStatus.SUCCESS)
                    for one in found[1:3]
                ),
            ]
        )
        assert await store.outbox.counts() == {
            DeliveryStatus.FAILED: 1,
            DeliveryStatus.SUCCESS: 2,
            DeliveryStatus.RETRY_PENDING: 3,
        }


async def test_what_is_to_be_known_of_a_success_is_on_the_timeline(tmp_path: Path) -> None:
    begun = firing()
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        sent = settlement(only(begun.notifications), DeliveryStatus.SUCCESS)
        await store.outbox.settle([msgspec.structs.replace(sent, note="default words: why")])
        detail = await store.incidents.get(only(begun.notifications).incident_id)
    assert detail is not None
    assert any("default words: why" in line.detail for line in detail.timeline)
    assert detail.item.notifications[0].last_error is None


async def test_a_claim_never_walks_what_waits_for_a_receiver_that_is_full(tmp_path: Path) -> None:
    """Each query of a claim is one look at an index, and sorts nothing."""
    queries: list[tuple[str, tuple[str | int, ...], str]] = [
        (NEXT_CHANNEL, ("a",), "(channel>?)"),
        (NEXT_ENDPOINT, ("a", ""), "(channel=? AND <expr>>?)"),
        (DUE, ("a", "", 0, "[]", 1), "(channel=? AND <expr>=? AND next_attempt_us<?)"),
    ]

    def plans(connection: apsw.Connection) -> list[list[str]]:
        return [
            [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            for sql, values, _ in queries
        ]

    async with open_store(tmp_path / "alertd.db") as store:
        found = await store.writer.run("explain", plans)
    for plan, (_, _, seeks) in zip(found, queries, strict=True):
        assert plan[0].endswith(f"USING INDEX messages_due {seeks}")
        assert not [step for step in plan if step.startswith("SCAN messages") or "TEMP" in step]


def own_ids(announcement: Announcement) -> Announcement:
    """Return it with notifications that have ids of their own for each endpoint."""
    told = tuple(
        msgspec.structs.replace(one, id=f"{one.id}/{one.target.endpoint}")
        for one in announcement.notifications
    )
    return msgspec.structs.replace(announcement, notifications=told)


async def test_receivers_are_found_one_after_the_other_and_each_gets_its_turn(
    tmp_path: Path,
) -> None:
    hooks = [Target("WEBHOOK", f"https://hook-{n}.example/") for n in range(5)]
    targets = (*hooks, Target("a"), Target("z"), SLACK)
    async with open_store(tmp_path / "alertd.db") as store:
        begun = [firing(START_US + n, targets=(target,)) for n in range(3) for target in targets]
        await store.incidents.record([own_ids(one) for one in begun], applied=1)
        for limit in (2, 5, 8, 24, 100):
            full = set(targets[:-4])
            some = await store.outbox.claim(LATER_US, limit=limit, exclude_targets=full)
            assert {one.target for one in some} <= set(targets) - full
            assert len(some) == min(limit, 3 * 4)
        everybody = await store.outbox.claim(LATER_US, limit=100)
        assert {one.target for one in everybody} == set(targets)
        under_way = [one.id for one in everybody if one.target != SLACK]
        rest = await store.outbox.claim(LATER_US, limit=1, exclude=under_way)
        assert [one.target for one in rest] == [SLACK], "who waits is not hidden by who is served"
