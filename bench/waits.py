"""How long appends wait, and for what: alone, beside folding, beside retention.

Owns a store in this process to which batches are appended at a steady rate, and the account of
each wait: until the append is durable, and how much of that the writer was held by something
else. The rest is the append's own commit and fsync. All of it in one run, in turns, so that a
busy moment of the disk does not speak against one of them only. Threads change as often as in the
daemon: each system call of the writer would wait for the interpreter ten times as long otherwise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from alertd.metrics import Metrics
from alertd.model import EventBatch
from alertd.store.store import Store, open_store
from alertd.store.writer import Turn
from alertd.upkeep.interpreter import tuned
from alertd.upkeep.retention import Retention
from bench.results import WaitFigures, percentiles
from bench.storage import fill, new_folder
from bench.traffic import Traffic, walks

STORED_EVENTS = 9_000_000
ROUNDS = 3
ROUND_S = 4.0
APPEND_EVERY_S = 0.02
_APPEND = "store events"
_ALL_IS_OLD_US = 1 << 62

Beside = Callable[[Store], Awaitable[None]]


def measure(folder: Path, tell: Callable[[str], None]) -> list[WaitFigures]:
    """Return how long appends wait beside each kind of work in the background. Some 70 s."""
    tell("waits …")
    with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name, tuned():
        return trio.run(_measure, Path(name) / "alertd.db")


async def _measure(path: Path) -> list[WaitFigures]:
    traffic = Traffic("", 5_000, STORED_EVENTS, walks(2))
    turns: list[Turn] = []
    found: dict[str, list[Turn]] = {what: [] for what in _BESIDE}
    async with open_store(path, on_turn=turns.append) as store:
        await fill(store, traffic)
        new_batches = list(islice(traffic.batches(), 100))
        for _ in range(ROUNDS):
            for what, beside in _BESIDE.items():
                turns.clear()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(beside, store)
                    await _append(store, new_batches)
                    nursery.cancel_scope.cancel()
                found[what] += turns
    return [_figures(what, turns) for what, turns in found.items()]


async def _append(store: Store, batches: Sequence[EventBatch]) -> None:
    """Append a batch every ``APPEND_EVERY_S``."""
    deadline_s = trio.current_time() + ROUND_S
    for batch in cycle(batches):
        began_s = trio.current_time()
        if began_s >= deadline_s:
            return
        await store.events.append([batch], [])
        await trio.sleep_until(began_s + APPEND_EVERY_S)


async def _keep_folding(store: Store) -> None:
    while True:
        await new_folder(store).fold()
        await trio.sleep(0.01)


async def _retain_as_the_daemon(store: Store) -> None:
    """Fold, and beside it roll up what was folded and give its space back, at the daemon's pace."""
    retention = Retention(
        store.retention,
        store.events,
        store.space,
        lambda: 0,
        Metrics(),
        needed_after_us=lambda: _ALL_IS_OLD_US,
        rollups_us=0,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_folding, store)
        while True:
            await retention.retain()
            await trio.sleep(0.01)


async def _retain_without_rest(store: Store) -> None:
    """Fold, roll up what was folded, and give its space back, all the time."""
    while True:
        await new_folder(store).fold()
        while await store.retention.roll_up(_ALL_IS_OLD_US):
            while await store.space.give_back():
                pass
        await trio.sleep(0.01)


async def _do_nothing(_store: Store) -> None:
    await trio.sleep_forever()


_BESIDE: dict[str, Beside] = {
    "nothing else": _do_nothing,
    "folding": _keep_folding,
    "folding and retention": _retain_as_the_daemon,
    "the same without a rest": _retain_without_rest,
}


def _figures(beside: str, turns: Sequence[Turn]) -> WaitFigures:
    appends = [turn for turn in turns if turn.work == _APPEND]
    others = sorted((turn for turn in turns if turn.work != _APPEND), key=attrgetter("began_s"))
    longest = max(others, key=lambda turn: turn.ended_s - turn.began_s, default=Turn("", 0, 0, 0))
    return WaitFigures(
        beside,
        len(appends),
        append=percentiles([turn.ended_s - turn.submitted_s for turn in appends]),
        behind_others=percentiles([_behind(others, turn) for turn in appends]),
        longest_other=longest.work,
        longest_other_ms=1000 * (longest.ended_s - longest.began_s),
    )


def _behind(others: Sequence[Turn], append: Turn) -> float:
    """Return for how long ``append`` waited while the writer was held by one of ``others``."""
    held_s = 0.0
    place = bisect_left(others, append.began_s, key=attrgetter("began_s"))
    while place and others[place - 1].ended_s > append.submitted_s:
        place -= 1
        held_s += others[place].ended_s - max(others[place].began_s, append.submitted_s)
    return held_s
