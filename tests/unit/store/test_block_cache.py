"""What was read lately is not decoded again, within a bound, and never stands for anything else."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from alertd.store import block_codec
from alertd.store.block_cache import Cache
from alertd.store.store import open_store
from tests.unit.store.log_samples import SERIES_IDS, collected, random_log
from tests.unit.store.store_samples import series


@dataclass
class Thing:
    size_bytes: int


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache: Cache[Thing] = Cache(30)
    things = {number: Thing(10) for number in range(4)}
    for number in range(3):
        cache.keep(number, things[number])
    assert cache.get(0) is things[0]
    cache.keep(3, things[3])
    assert [cache.get(number) for number in range(4)] == [things[0], None, things[2], things[3]]
    assert cache.size_bytes == 30


def test_it_never_takes_more_than_it_may() -> None:
    choose = random.Random(3)  # noqa: S311 - not a secret
    cache: Cache[Thing] = Cache(100)
    kept: dict[int, Thing] = {}
    for _ in range(500):
        number = choose.randrange(30)
        thing = Thing(choose.randrange(1, 150))
        cache.keep(number, kept.setdefault(number, thing))
        assert cache.size_bytes <= 100
        there = [thing for thing in map(cache.get, range(30)) if thing is not None]
        assert sum(thing.size_bytes for thing in there) == cache.size_bytes
        assert all(cache.get(number) in (None, kept[number]) for number in kept)


@pytest.mark.parametrize("max_bytes", [0, 2000, 1 << 20])
async def test_reads_are_the_same_whatever_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    decoded = 0
    usual = block_codec.Block.__init__

    def counting(self: block_codec.Block, body: bytes) -> None:
        nonlocal decoded
        decoded += 1
        usual(self, body)

    monkeypatch.setattr(block_codec.Block, "__init__", counting)
    monkeypatch.setattr(Cache.__init__, "__defaults__", (max_bytes,))
    choose = random.Random(7)  # noqa: S311 - not a secret
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([], [s for n in SERIES_IDS for s in series(1, first=n)])
        await random_log(store, choose)
        everything = (SERIES_IDS, -(1 << 60), 1 << 60)
        expected = await collected(store.events.read(*everything))
        while await store.folding.fold(40):
            pass
        decoded = 0
        assert await collected(store.events.read(*everything)) == expected
        first, decoded = decoded, 0
        assert await collected(store.events.read(*everything)) == expected
        assert first > 0
        assert decoded == (0 if max_bytes == 1 << 20 else first)
        assert store.events.cached_bytes <= 2 * max_bytes
