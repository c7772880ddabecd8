"""What ended long ago and was told is forgotten; what is open or still to be told never is."""

from __future__ import annotations

from pathlib import Path

from alertd.metrics import Metrics
from alertd.outbound import Announcement, DeliveryStatus
from alertd.store import pruning
from alertd.store.incident_query import HistoryQuery
from alertd.store.store import Store, open_store
from alertd.upkeep.housekeeping import Housekeeper
from tests.unit.store.store_samples import (
    OPS,
    SLACK,
    START_US,
    firing,
    resolved,
    seen_by_another,
    settlement,
)

RETENTION_US = 10_000_000
LATER_US = START_US + 2 * RETENTION_US


def housekeeper_of(store: Store, now_us: int, metrics: Metrics) -> Housekeeper:
    return Housekeeper(
        store.requests,
        store.quarantine,
        store.incidents,
        lambda: now_us,
        metrics,
        request_horizon_us=1,
        max_requests=1,
        quarantine_retention_us=1,
        history_until_us=lambda: now_us - RETENTION_US,
    )


async def tell(store: Store, *announcements: Announcement, but: str = "") -> None:
    """Record ``announcements`` and deliver all notifications, but those to the channel ``but``."""
    await store.incidents.record(announcements, applied=1)
    await store.outbox.settle(
        [
            settlement(notification, DeliveryStatus.SUCCESS)
            for announcement in announcements
            for notification in announcement.notifications
            if notification.target.channel != but
        ]
    )


async def ids(store: Store) -> set[str]:
    page = await store.incidents.history(HistoryQuery(limit=1000))
    return {item.incident.id for item in page.items}


def id_of(announcement: Announcement) -> str:
    assert announcement.transition.incident is not None
    return announcement.transition.incident.id


async def test_an_ended_incident_goes_at_its_age_with_all_that_was_told_of_it(
    tmp_path: Path,
) -> None:
    old, young = firing(), firing(START_US + RETENTION_US)
    metrics = Metrics()
    async with open_store(tmp_path / "a.db") as store:
        await tell(store, old, resolved(old), young, resolved(young))
        await housekeeper_of(store, START_US + RETENTION_US + 1000, metrics).prune()
        assert await ids(store) == {id_of(old), id_of(young)}
        await housekeeper_of(store, START_US + RETENTION_US + 1001, metrics).prune()
        assert await ids(store) == {id_of(young)}
        assert metrics.incidents_forgotten._value.get() == 1
        for table, left in (("timeline", 4), ("notifications", 2), ("messages", 2)):
            assert seen_by_another(store.path, f"SELECT count(*) FROM {table}") == [(left,)], table  # noqa: S608
        assert not seen_by_another(store.path, "PRAGMA foreign_key_check")


async def test_an_open_incident_and_one_still_to_be_told_never_go(tmp_path: Path) -> None:
    open_one, pending = firing(), firing(START_US + 1, targets=(SLACK, OPS))
    async with open_store(tmp_path / "a.db") as store:
        await tell(store, open_one)
        await tell(store, pending, resolved(pending, targets=(SLACK, OPS)), but="ops")
        await housekeeper_of(store, LATER_US, Metrics()).prune()
        assert await ids(store) == {id_of(open_one), id_of(pending)}
        for _ in range(2):  # the end comes after the beginning
            due = await store.outbox.claim(LATER_US, limit=9)
            await store.outbox.settle(
                [
                    settlement(firing_or_end, DeliveryStatus.FAILED, error="HTTP 404")
                    for announcement in (pending, resolved(pending, targets=(SLACK, OPS)))
                    for firing_or_end in announcement.notifications
                    if firing_or_end.id in {message.id for message in due}
                ]
            )
        await housekeeper_of(store, LATER_US, Metrics()).prune()
        assert await ids(store) == {id_of(open_one)}


async def test_what_was_found_late_is_kept_from_when_it_was_found(tmp_path: Path) -> None:
    late = firing(detected_us=START_US + RETENTION_US)
    async with open_store(tmp_path / "a.db") as store:
        await tell(store, late, resolved(late))
        await housekeeper_of(store, START_US + RETENTION_US + 5000, Metrics()).prune()
        assert await ids(store) == {id_of(late)}


async def test_many_go_in_small_transactions(tmp_path: Path) -> None:
    many = [firing(START_US + number) for number in range(2 * pruning.STEP_INCIDENTS + 1)]
    async with open_store(tmp_path / "a.db") as store:
        for begun in many:
            await tell(store, begun, resolved(begun))
        assert await store.incidents.prune(before_us=LATER_US) == pruning.STEP_INCIDENTS
        assert len(await ids(store)) == len(many) - pruning.STEP_INCIDENTS
        await housekeeper_of(store, LATER_US, Metrics()).prune()
        assert await ids(store) == set()
        assert seen_by_another(store.path, "SELECT count(*) FROM messages") == [(0,)]


async def test_an_incident_that_was_forgotten_can_be_found_again(tmp_path: Path) -> None:
    """A replay of the whole log finds it; nothing that was told of it may be in the way."""
    begun = firing()
    ended = resolved(begun)
    async with open_store(tmp_path / "a.db") as store:
        await tell(store, begun, ended)
        assert await store.incidents.prune(before_us=START_US + 1001) == 1
        await tell(store, begun, ended)
        assert await ids(store) == {id_of(begun)}
