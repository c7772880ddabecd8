"""A portion of background work is so small that no transaction holds the writer for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.blocking import Threads
from alertd.store import folding
from alertd.store.portion import LONG_S, SHORT_S, SMALLEST_SHARE, Portion
from alertd.store.store import open_store
from alertd.store.writer import Turn
from tests.unit.store.store_samples import batch, replayed, series


def test_a_portion_that_took_long_is_halved_and_one_that_took_short_is_doubled() -> None:
    portion = Portion(64)
    assert portion.size == 64
    portion.took(LONG_S * 1.01)
    assert portion.size == 32
    portion.took((LONG_S + SHORT_S) / 2)
    assert portion.size == 32, "neither long nor short: as it is"
    portion.took(SHORT_S * 0.99)
    assert portion.size == 64
    portion.took(0)
    assert portion.size == 64, "never more than the most"


def test_a_portion_stays_large_enough_to_come_to_an_end() -> None:
    for most in (1, 32, 1 << 20):
        portion = Portion(most)
        for _ in range(100):
            portion.took(1)
        assert portion.size == max(1, most // SMALLEST_SHARE)


@pytest.mark.parametrize("size", [1 << 10, 1 << 14, 1 << 18])
@pytest.mark.parametrize("us_per_unit", [0.01, 0.5, 7])
def test_it_settles_where_no_transaction_is_long(size: int, us_per_unit: float) -> None:
    portion = Portion(size)
    took_s: list[float] = []
    for _ in range(40):
        took_s.append(portion.size * us_per_unit / 1e6)
        portion.took(took_s[-1])
    settled_s = took_s[20:]
    smallest_s = size // SMALLEST_SHARE * us_per_unit / 1e6
    assert max(settled_s) <= max(LONG_S, smallest_s)
    assert min(settled_s) >= SHORT_S or max(settled_s) == size * us_per_unit / 1e6


class Disk(Threads):
    """Threads on which every transaction takes as long as one says."""

    def __init__(self) -> None:
        self.transaction_s = 0.0
        self._now_s = 0.0

    def stopwatch_s(self) -> float:
        """Return a later time at each call; a transaction's begin and end are two calls."""
        self._now_s += self.transaction_s
        return self._now_s


async def test_folding_works_in_smaller_portions_while_the_disk_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding, "DELETE_ENTRIES", 16)
    monkeypatch.setattr(folding, "DELETE_BYTES", 1 << 20)
    disk = Disk()
    turns: list[Turn] = []

    async with open_store(tmp_path / "alertd.db", blocking=disk, on_turn=turns.append) as store:

        async def deletions() -> int:
            """Fold 64 entries; return how many transactions their deletion took."""
            for _ in range(64):
                await store.events.append([batch(1)], [])
            entries = await replayed(store)
            turns.clear()
            assert await store.folding.fold(64) == 64
            assert await replayed(store) == entries
            return sum(turn.work == "delete what was folded" for turn in turns)

        await store.events.append([batch(1)], series(1))
        nothing_left = 4  # before and after: no block without a segment, no entry any more
        assert await deletions() == 64 // 16 + nothing_left
        disk.transaction_s = 0.03
        assert await deletions() > 3 * 64 // 16
        assert all(turn.ended_s - turn.began_s == pytest.approx(0.03) for turn in turns)
        disk.transaction_s = 0.0
        await deletions()
        assert await deletions() == 64 // 16 + nothing_left


async def test_every_transaction_tells_how_long_it_waited_and_held_the_writer(
    tmp_path: Path,
) -> None:
    turns: list[Turn] = []
    async with open_store(tmp_path / "alertd.db", on_turn=turns.append) as store:
        await store.events.append([batch(1)], series(1))
        await store.folding.settle()
    works = [turn.work for turn in turns]
    assert works[0] == "store events"
    assert "delete what was folded" in works
    assert all(turn.submitted_s <= turn.began_s <= turn.ended_s for turn in turns)
