"""The quarantine's table: bounded, newest first, pruned a little at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.errors import InvalidInput
from alertd.model import RefusalReason
from alertd.store import quarantine
from alertd.store.quarantine import QuarantineQuery, RefusedEvent
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import START_US


def refused(number: int, reason: RefusalReason = RefusalReason.MALFORMED) -> RefusedEvent:
    return RefusedEvent(
        received_us=START_US + number,
        reason=reason,
        path=f"/{number}/value",
        message="must be a number",
        event=f'{{"n": {number}, "ä": "😀"}}',
    )


async def pages(store: Store, query: QuarantineQuery) -> list[list[int]]:
    """Return the numbers on each page, to the last."""
    found = []
    cursor: str | None = None
    while True:
        page = await store.quarantine.page(
            QuarantineQuery(reason=query.reason, limit=query.limit, cursor=cursor)
        )
        found.append([item.received_us - START_US for item in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_events_are_listed_newest_first_page_by_page(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.quarantine.add([refused(number) for number in range(5)])
        assert await pages(store, QuarantineQuery(limit=2)) == [[4, 3], [2, 1], [0]]
        assert await pages(store, QuarantineQuery(limit=5)) == [[4, 3, 2, 1, 0]]
        (item,) = (await store.quarantine.page(QuarantineQuery(limit=1))).items
        assert (item.path, item.event) == ("/4/value", '{"n": 4, "ä": "😀"}')


async def test_a_reason_filters(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        reasons = list(RefusalReason)
        await store.quarantine.add([refused(n, reasons[n % 4]) for n in range(12)])
        too_old = QuarantineQuery(reason=RefusalReason.TOO_OLD, limit=2)
        assert await pages(store, too_old) == [[10, 6], [2]]


async def test_the_oldest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_ROWS", 3)
    async with open_store(tmp_path / "alertd.db") as store:
        assert await store.quarantine.count() == 0
        assert await store.quarantine.add([refused(0), refused(1)]) == 2
        assert await store.quarantine.add([refused(2), refused(3), refused(4)]) == 3
        assert await pages(store, QuarantineQuery()) == [[4, 3, 2]]


async def test_pruning_takes_the_oldest_a_portion_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "PRUNE_STEP_ROWS", 3)
    async with open_store(tmp_path / "alertd.db") as store:
        await store.quarantine.add([refused(number) for number in range(6)])
        assert await store.quarantine.prune(before_us=START_US + 3) == 3
        assert await store.quarantine.prune(before_us=START_US + 3) == 1
        assert await store.quarantine.prune(before_us=START_US + 3) == 0
        assert await pages(store, QuarantineQuery()) == [[5, 4]]
        assert await store.quarantine.count() == 2


@pytest.mark.parametrize("cursor", ["", "x", "🙂", "LTE", "MA", "bm90IGEgbnVtYmVy", "9" * 100])
async def test_a_foreign_cursor_is_refused(tmp_path: Path, cursor: str) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        with pytest.raises(InvalidInput, match="is not a cursor"):
            await store.quarantine.page(QuarantineQuery(cursor=cursor))
