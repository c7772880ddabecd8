"""Incidents: recorded whole, recorded again without effect, and listed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alertd.clock import format_us
from alertd.errors import InvalidInput
from alertd.model import Incident, Target, Transition, TransitionKind
from alertd.outbound import Announcement, DeliveryStatus, Hold, HoldReason, Told
from alertd.rules import compile_rule
from alertd.store.incident_query import HistoryQuery, IncidentState
from alertd.store.store import Store, open_store
from alertd.store.timeline import TimelineEntry, TimelineEvent
from tests.unit.store.store_samples import (
    OPS,
    SLACK,
    START_US,
    firing,
    record,
    resolved,
    seen_by_another,
    settlement,
)


def incident_of(announcement: Announcement) -> Incident:
    incident = announcement.transition.incident
    assert incident is not None
    return incident


def ids(announcements: list[Announcement]) -> list[str]:
    return [incident_of(announcement).id for announcement in announcements]


async def listed(store: Store, query: HistoryQuery) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    while True:
        page = await store.incidents.history(query)
        assert len(page.items) <= query.limit
        more = [item.incident.id for item in page.items]
        assert not set(more) & set(found)
        found += more
        if page.next_cursor is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.next_cursor)


async def test_an_incident_is_read_as_it_was_recorded(tmp_path: Path) -> None:
    begun = firing(for_us=2_000_000, targets=(SLACK, OPS))
    ended = resolved(begun, after_us=5_000_000)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=4)
        found = await store.incidents.get(incident_of(begun).id)
        assert found is not None
        assert found.item.incident == incident_of(begun)
        await store.incidents.record([ended], applied=5)
    async with open_store(tmp_path / "alertd.db") as store:
        found = await store.incidents.get(incident_of(begun).id)
        assert found is not None
        assert found.item.incident == incident_of(ended)
        rule = begun.transition.rule
        shown = found.item
        assert (shown.rule_name, shown.severity, shown.threshold, shown.operator) == (
            rule.name,
            rule.severity,
            rule.threshold,
            rule.operator,
        )
        assert shown.summary == ended.summary
        assert shown.status is DeliveryStatus.RETRY_PENDING
        assert [(told.kind, told.channel) for told in shown.notifications] == [
            ("firing", "SLACK"),
            ("firing", "ops"),
            ("resolved", "SLACK"),
        ]
        of_itself = [entry for entry in found.timeline if entry.notification_id is None]
        assert of_itself == [
            TimelineEntry(
                START_US,
                TimelineEvent.PENDING,
                "the condition holds; after 2 s it is an incident",
            ),
            TimelineEntry(START_US + 2_000_000, TimelineEvent.FIRED, begun.summary),
            TimelineEntry(START_US + 5_000_000, TimelineEvent.RESOLVED, "recovered"),
        ]
        queued = [entry.detail for entry in found.timeline if entry.notification_id is not None]
        assert sorted(queued) == [
            "SLACK: behind a message that is not delivered yet",
            "SLACK: first of its group",
            "ops: first of its group",
        ]
        assert await store.incidents.applied() == 5


async def test_an_incident_that_fires_at_once_was_never_pending(tmp_path: Path) -> None:
    begun = firing(for_us=0)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        found = await store.incidents.get(incident_of(begun).id)
        assert found is not None
        fired, queued = found.timeline
        assert fired == TimelineEntry(START_US, TimelineEvent.FIRED, begun.summary)
        assert queued.what is TimelineEvent.QUEUED


async def test_an_unknown_incident_is_none(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.incidents.get("nothing") is None


async def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    begun = firing()
    ended = resolved(begun)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun, ended], applied=9)
        told = begun.notifications[0]
        await store.outbox.settle([settlement(told, DeliveryStatus.SUCCESS)])
        before = everything_in(store.path)
        await store.incidents.record([begun], applied=3)
        assert await store.incidents.applied() == 9
        await store.incidents.record([ended], applied=9)
        assert everything_in(store.path) == before


def everything_in(path: Path) -> list[list[tuple[object, ...]]]:
    tables = ("incidents", "timeline", "notifications", "messages", "attempts", "meta")
    return [seen_by_another(path, f"SELECT * FROM {name}") for name in tables]  # noqa: S608


async def test_pending_and_cleared_leave_no_incident(tmp_path: Path) -> None:
    transition = Transition(
        kind=TransitionKind.PENDING,
        rule=compile_rule(record()),
        group=(),
        at_us=START_US,
        detected_us=START_US,
        value=1.0,
    )
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([Announcement(transition=transition, summary="")], applied=2)
        assert await listed(store, HistoryQuery()) == []
        assert await store.incidents.applied() == 2


async def test_an_incident_and_its_notifications_are_recorded_together_or_not_at_all(
    tmp_path: Path,
) -> None:
    good, bad = firing(), firing(START_US + 1)
    broken = msgspec.structs.replace(bad.notifications[0], view=b"\xff")
    announcement = msgspec.structs.replace(bad, notifications=(broken,))
    async with open_store(tmp_path / "alertd.db") as store:
        with pytest.raises(UnicodeDecodeError):
            await store.incidents.record([good, announcement], applied=7)
        assert await listed(store, HistoryQuery()) == []
        assert await store.outbox.claim(START_US * 2, limit=10) == []
        assert await store.incidents.applied() == 0


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_pages_hold_every_incident_once_the_newest_first(tmp_path: Path, limit: int) -> None:
    # Several are detected at the same instant: a page may end between them.
    found = [firing(START_US + n, detected_us=START_US + n // 4) for n in range(17)]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record(found, applied=1)
        assert await listed(store, HistoryQuery(limit=limit)) == ids(found)[::-1]


async def test_what_is_detected_meanwhile_shifts_no_page(tmp_path: Path) -> None:
    found = [firing(START_US + n) for n in range(4)]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record(found, applied=1)
        first = await store.incidents.history(HistoryQuery(limit=2))
        await store.incidents.record([firing(START_US + 99)], applied=2)
        second = await store.incidents.history(HistoryQuery(limit=2, cursor=first.next_cursor))
        seen = [item.incident.id for item in (*first.items, *second.items)]
        assert seen == ids(found)[::-1]
        assert second.next_cursor is None


async def test_filters_select_and_combine(tmp_path: Path) -> None:
    other = record("other")
    failed, sent, pending = firing(START_US), firing(START_US + 10), firing(START_US + 20)
    silent = firing(START_US + 30, targets=())
    foreign = firing(START_US + 40, rule=other)
    mixed = firing(START_US + 50, targets=(SLACK, OPS))
    everything = [failed, sent, pending, silent, foreign, mixed]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([*everything, resolved(sent, targets=())], applied=1)
        await store.outbox.settle(
            [
                settlement(failed.notifications[0], DeliveryStatus.FAILED, error="404"),
                settlement(sent.notifications[0], DeliveryStatus.SUCCESS),
                settlement(mixed.notifications[0], DeliveryStatus.FAILED, error="410"),
            ]
        )

        async def of(**filters: object) -> list[str]:
            return sorted(await listed(store, HistoryQuery(limit=2, **filters)))  # type: ignore[arg-type]

        assert await of() == sorted(ids(everything))
        assert await of(rule_id=other.id) == ids([foreign])
        assert await of(rule_id="none") == []
        assert await of(status=DeliveryStatus.FAILED) == sorted(ids([failed, mixed]))
        assert await of(status=DeliveryStatus.SUCCESS) == sorted(ids([sent, silent]))
        assert await of(status=DeliveryStatus.RETRY_PENDING) == sorted(ids([pending, foreign]))
        assert await of(told=Told.FAILED) == ids([failed])
        assert await of(told=Told.DELIVERED) == ids([sent])
        assert await of(told=Told.PENDING) == sorted(ids([pending, foreign, mixed]))
        assert await of(told=Told.NOBODY) == ids([silent])
        assert await of(told=Told.NOBODY, status=DeliveryStatus.FAILED) == []
        assert await of(told=Told.PENDING, rule_id=other.id) == ids([foreign])
        assert await of(state=IncidentState.FIRING, rule_id=other.id) == ids([foreign])
        assert await of(state=IncidentState.RESOLVED) == ids([sent])
        assert await of(state=IncidentState.FIRING) == sorted(
            ids([failed, pending, silent, foreign, mixed])
        )
        # Detected 5 us after the start; the range is half-open.
        assert await of(from_us=START_US + 15, to_us=START_US + 35) == sorted(ids([sent, pending]))
        assert await of(
            rule_id=record().id,
            from_us=START_US + 6,
            to_us=START_US + 56,
            state=IncidentState.FIRING,
            status=DeliveryStatus.FAILED,
        ) == ids([mixed])


async def test_the_status_shown_is_the_one_that_is_filtered_by(tmp_path: Path) -> None:
    mixed = firing(targets=(SLACK, OPS))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([mixed], applied=1)
        for told, status in zip(
            mixed.notifications, (DeliveryStatus.SUCCESS, DeliveryStatus.FAILED), strict=True
        ):
            await store.outbox.settle([settlement(told, status)])
            for wanted in DeliveryStatus:
                page = await store.incidents.history(HistoryQuery(status=wanted))
                assert all(item.status is wanted for item in page.items)
        page = await store.incidents.history(HistoryQuery())
        assert [item.status for item in page.items] == [DeliveryStatus.FAILED]


BOSS = Target("boss")
HELD = Hold(HoldReason.SILENCED, "s1", START_US + 9, "silence s1")


@pytest.mark.parametrize(
    ("settled", "is_held", "status", "told"),
    [
        ((), False, "SUCCESS", Told.NOBODY),
        ((), True, "SUCCESS", Told.HELD_BACK),
        (("RETRY_PENDING",), False, "RETRY_PENDING", Told.PENDING),
        (("FAILED",), True, "FAILED", Told.FAILED),
        (("SUCCESS",), True, "SUCCESS", Told.DELIVERED),
        (("SUCCESS", "FAILED"), False, "FAILED", Told.DELIVERED),
        (("FAILED", "RETRY_PENDING"), False, "FAILED", Told.PENDING),
    ],
)
async def test_that_nothing_went_wrong_does_not_mean_that_anybody_was_told(
    tmp_path: Path, settled: tuple[str, ...], is_held: bool, status: str, told: Told
) -> None:
    begun = firing(targets=(SLACK, OPS)[: len(settled)])
    if is_held:
        held = msgspec.structs.replace(firing(targets=(BOSS,)).notifications[0], hold=HELD)
        begun = msgspec.structs.replace(begun, notifications=(*begun.notifications, held))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun], applied=1)
        for notification, outcome in zip(begun.notifications, settled, strict=False):
            await store.outbox.settle([settlement(notification, DeliveryStatus(outcome))])
        [item] = (await store.incidents.history(HistoryQuery())).items
        assert (item.status, item.told) == (status, told)
        for asked in Told:
            page = await store.incidents.history(HistoryQuery(told=asked))
            assert [found.told for found in page.items] == [told] * (asked is told)
        detail = await store.incidents.get(item.incident.id)
        assert detail is not None
        assert detail.item.told is told


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "äö", "////", "bm8tY29sb24", "Og", "eDp5", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5Onk"],
)
async def test_a_bad_cursor_is_refused_by_name(tmp_path: Path, cursor: str) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        with pytest.raises(InvalidInput) as refusal:
            await store.incidents.history(HistoryQuery(cursor=cursor))
        assert [problem.path for problem in refusal.value.problems] == ["/cursor"]


@pytest.mark.parametrize("limit", [0, -1, 1001])
async def test_a_bad_limit_is_refused_by_name(tmp_path: Path, limit: int) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        with pytest.raises(InvalidInput) as refusal:
            await store.incidents.history(HistoryQuery(limit=limit))
        assert [problem.path for problem in refusal.value.problems] == ["/limit"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"ended_us": START_US + 9_000_000},
            "late events show that it lasted from {start} to {end}",
        ),
        ({"ended_us": None}, "late events show that it is on since {start}"),
        (
            {"ended_us": START_US + 9_000_000, "merged_into": "another"},
            "late events show that it is a part of another",
        ),
    ],
)
async def test_what_late_events_make_of_an_incident_is_on_its_timeline_once(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    begun = firing()
    ended = resolved(begun, after_us=5_000_000)
    incident = msgspec.structs.replace(incident_of(ended), **change)
    transition = msgspec.structs.replace(
        ended.transition, kind=TransitionKind.CORRECTED, incident=incident
    )
    corrected = Announcement(transition=transition, summary=begun.summary)
    async with open_store(tmp_path / "alertd.db") as store:
        for announcement in (begun, ended, corrected, corrected):
            await store.incidents.record([announcement], applied=1)
        found = await store.incidents.get(incident.id)
        assert found is not None
    lines = [entry for entry in found.timeline if entry.what is TimelineEvent.CORRECTED]
    assert [line.detail for line in lines] == [
        told.format(start=format_us(START_US), end=format_us(START_US + 9_000_000))
    ]
