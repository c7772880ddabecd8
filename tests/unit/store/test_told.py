"""What a channel was told of and is on, or has ended lately."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alertd.outbound import DeliveryStatus
from alertd.store import told
from alertd.store.store import Store, open_store
from alertd.store.told import Place
from tests.unit.store.store_samples import OPS, START_US, firing, resolved, settlement


async def everything(store: Store, since_us: int = 0) -> list[bytes]:
    found: list[bytes] = []
    place: Place | None = Place(since_us)
    while place is not None:
        page = await store.outbox.told("ops", place)
        found += page.views
        place = page.next_place
    return found


async def test_it_is_what_was_delivered_over_that_channel_and_is_so_now(tmp_path: Path) -> None:
    told_of, waiting, ended = (firing(START_US + n, targets=(OPS,)) for n in (1, 2, 3))
    elsewhere = firing(START_US + 4)
    end = resolved(ended, targets=(OPS,))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([told_of, waiting, ended, elsewhere, end], applied=1)
        delivered = [told_of, ended, elsewhere, end]
        await store.outbox.settle(
            [
                settlement(notification, DeliveryStatus.SUCCESS)
                for announcement in delivered
                for notification in announcement.notifications
            ]
        )
        end_view, on_view = await everything(store)
        assert end_view == end.notifications[0].view
        assert on_view == told_of.notifications[0].view
        ended_us = end.transition.incident.ended_us  # type: ignore[union-attr]  # it has one
        assert ended_us is not None
        assert await everything(store, ended_us) == [end_view, on_view]
        assert await everything(store, ended_us + 1) == [on_view]


async def test_an_end_that_is_not_delivered_yet_is_not_told_again(tmp_path: Path) -> None:
    """Nor is its beginning: it would be true no more."""
    begun = firing(targets=(OPS,))
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([begun, resolved(begun, targets=(OPS,))], applied=1)
        await store.outbox.settle([settlement(begun.notifications[0], DeliveryStatus.SUCCESS)])
        assert await everything(store) == []


async def test_pages_hold_all_of_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "PAGE_INCIDENTS", 2)
    begun = [firing(START_US + n, targets=(OPS,)) for n in range(7)]
    ends = [resolved(one, targets=(OPS,)) for one in begun[:4]]
    async with open_store(tmp_path / "alertd.db") as store:
        await store.incidents.record([*begun, *ends], applied=1)
        await store.outbox.settle(
            [
                settlement(announcement.notifications[0], DeliveryStatus.SUCCESS)
                for announcement in (*begun, *ends)
            ]
        )
        views = await everything(store)
    expected = [announcement.notifications[0].view for announcement in (*ends, *begun[4:])]
    assert [msgspec.json.decode(view) for view in views] == list(map(msgspec.json.decode, expected))
