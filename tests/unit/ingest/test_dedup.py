"""The memory of event ids: bounded, and the same after a restart with another horizon."""

from __future__ import annotations

from typing import cast

import pytest

from alertd.ingest.dedup import PIECE_IDS, DedupIndex, digest_of
from alertd.model import US_PER_S

HOUR_US = 3600 * US_PER_S
DAY_US = 24 * HOUR_US
NOW_US = 20_000 * DAY_US + HOUR_US - 12_345


def digests(count: int) -> list[bytes]:
    return [digest_of("m", str(number)) for number in range(count)]


def copy_of(index: DedupIndex, *, horizon_us: int, max_ids: int = 1_000_000) -> DedupIndex:
    copy = DedupIndex(horizon_us, max_ids=max_ids)
    for item in index.dump():
        _, received_us, joined = cast("tuple[str, int, bytes]", item)
        copy.load_piece(received_us, joined)
    return copy


@pytest.mark.parametrize("horizon_us", [HOUR_US, DAY_US, 30 * DAY_US])
def test_ids_survive_a_restart_with_another_horizon_and_are_forgotten_by_that_one(
    horizon_us: int,
) -> None:
    index = DedupIndex(DAY_US, max_ids=1_000_000)
    index.add(digests(2)[:1], NOW_US - 59 * 60 * US_PER_S)
    index.add(digests(2)[1:], NOW_US)
    copy = copy_of(index, horizon_us=horizon_us)
    later = digest_of("m", "later")
    copy.add([later], NOW_US + horizon_us // 2)
    assert [digest in copy for digest in (*digests(2), later)] == [True] * 3
    copy.add([], NOW_US + 2 * horizon_us)
    assert len(copy) == 0


def test_a_dump_comes_in_pieces_and_holds_every_id() -> None:
    index = DedupIndex(DAY_US, max_ids=1_000_000)
    known = digests(2 * PIECE_IDS + 1)
    index.add(known, NOW_US)
    assert len(list(index.dump())) == 3
    copy = copy_of(index, horizon_us=DAY_US)
    assert len(copy) == len(known)
    assert all(digest in copy for digest in known)


def test_the_index_may_grow_while_it_is_dumped() -> None:
    index = DedupIndex(DAY_US, max_ids=1_000_000)
    index.add(digests(PIECE_IDS + 1), NOW_US)
    dump = index.dump()
    next(iter(dump))
    index.add([digest_of("m", "new")], NOW_US)
    assert len(list(dump)) == 1


def test_the_bound_on_ids_holds_for_a_burst_and_the_newest_are_kept() -> None:
    index = DedupIndex(DAY_US, max_ids=240)
    known = digests(10_000)
    forgotten = 0
    for start in range(0, len(known), 100):
        forgotten += index.add(known[start : start + 100], NOW_US)
        assert len(index) <= 240
    assert all(digest in index for digest in known[-200:])
    assert forgotten == len(known) - len(index)
