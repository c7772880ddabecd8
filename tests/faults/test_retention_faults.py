"""Wherever retention stops, each event counts once: raw, or rolled up, and the rest is done later.

Retention makes rollups of a folded segment on a disk that fails at any call; then the store is
opened on a sound one and goes on. ``ALERTD_FAULT_STRIDE`` and ``ALERTD_FAULT_PLACE`` are those of
``test_disk_faults.py``.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import pytest
import trio

from alertd.store.store import Store, open_store
from tests.faults.disk import FaultAt, watched_by
from tests.faults.inline import Inline
from tests.faults.life import Story, append, copy_files, live
from tests.faults.test_disk_faults import FAULTS, case, places

LATER_US: Final = 1 << 62
"""By then every event is old."""
LOG: Final = (append(30, known=0, new=3), append(900), append(700), append(800))


async def retire(store: Store) -> None:
    """Make rollups of all that is folded."""
    while await store.retention.roll_up(LATER_US):
        pass


STEPS: Final = (retire, append(100))


@pytest.fixture(scope="module")
def folded(memory_folder: Path) -> Path:
    """Return a store with a folded segment in it."""
    (memory_folder / "folded").mkdir()
    path = memory_folder / "folded" / "alertd.db"

    async def fill() -> None:
        async with open_store(path, blocking=Inline()) as store:
            for step in LOG:
                await step(store)
            await store.folding.fold(1 << 40)

    trio.run(fill)
    return path


@pytest.mark.parametrize("is_sticky", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("name", FAULTS)
def test_wherever_retention_stops_each_event_counts_once(
    folded: Path, name: str, is_sticky: bool, memory_folder: Path
) -> None:
    kind, fault = FAULTS[name]
    sound = FaultAt(kind, 0, fault)
    path = retire_on(folded, sound, memory_folder)
    raw, rolled_up = 0, counted(folded)[0]
    assert counted(path) == (raw, rolled_up)
    for place in places(sound.seen):
        watcher = FaultAt(kind, place, fault, is_sticky)
        with case(place):
            path = retire_on(folded, watcher, memory_folder)
            assert watcher.fired
            assert sorted(counted(path)) == [0, rolled_up]
            again = Story()
            trio.run(partial(live, path, STEPS, again, only=[0]))
            assert again.acknowledged == [0]
            assert counted(path) == (raw, rolled_up)


def retire_on(folded: Path, watcher: FaultAt, folder: Path) -> Path:
    """Have retention work on a copy, on a watched disk; return the copy's path."""
    shutil.rmtree(folder / "retired", ignore_errors=True)
    path = copy_files(folded, folder / "retired")
    with watched_by(watcher):
        trio.run(partial(live, path, STEPS, Story(), only=range(len(STEPS))))
    return path


def counted(path: Path) -> tuple[int, int]:
    """Return how many events are in segments, and how many in rollups that count."""
    connection = apsw.Connection(str(path), vfs="unix")
    try:
        assert connection.pragma("integrity_check") == "ok"
        raw: int = connection.execute("SELECT ifnull(sum(events), 0) FROM segments").get
        rolled_up: int = connection.execute("SELECT ifnull(sum(events), 0) FROM rolled_up").get
        return raw, rolled_up
    finally:
        connection.close()
