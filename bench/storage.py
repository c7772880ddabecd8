"""What it costs to keep events: bytes, the CPU of folding, reading back, and who waits for it.

Owns a store of its own for each workload, in this process. It is filled, folded as the daemon
does, replayed, and asked for single series. Leaves what the events are like to ``traffic.py``.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import trio

from alertd.metrics import Metrics
from alertd.model import EventBatch
from alertd.store.store import Store, open_store
from alertd.upkeep.folder import Folder
from bench.results import StorageFigures, WaitFigures, percentiles
from bench.traffic import DAY_US, SEED, Traffic, walks, workloads

SEGMENT_EVENTS = 1_000_000
READS = 200
REPLAYED_EVENTS = 900_000
APPENDS_S = 6.0
_APPEND_EVERY_S = 0.02
_GROUP = 20
"""Batches in one transaction while a store is filled."""


def measure(folder: Path, tell: Callable[[str], None]) -> Iterator[StorageFigures]:
    """Yield the figures of each workload."""
    for traffic in workloads():
        tell(f"storage: {traffic.name} …")
        with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
            yield trio.run(_measure, traffic, Path(name) / "alertd.db")


def measure_waits(folder: Path, tell: Callable[[str], None]) -> list[WaitFigures]:
    """Return how long appends wait, without folding and with it going on all the time."""
    tell("storage: appends …")
    with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
        return trio.run(_measure_waits, Path(name) / "alertd.db")


async def _measure(traffic: Traffic, path: Path) -> StorageFigures:
    async with open_store(path) as store:
        await _fill(store, traffic)
        unfolded_bytes = await _size_bytes(store)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await _folder(store).fold()
        await store.folding.fold(SEGMENT_EVENTS)
        fold_s, fold_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        reads = [wait async for wait in _reads(store, traffic)]
        replayed_per_s = await _replay_rate(store)
    folded_bytes = await trio.to_thread.run_sync(_vacuumed_bytes, path)
    return StorageFigures(
        workload=traffic.name,
        series=traffic.series,
        events=traffic.events,
        unfolded_bytes_per_event=unfolded_bytes / traffic.events,
        folded_bytes_per_event=folded_bytes / traffic.events,
        fold_cpu_s_per_million=fold_cpu_s / traffic.events * 1e6,
        fold_s_per_million=fold_s / traffic.events * 1e6,
        replayed_events_per_s=replayed_per_s,
        read=percentiles(reads),
    )


def _vacuumed_bytes(path: Path) -> int:
    """Return the size of the file once it has nothing free in it."""
    connection = apsw.Connection(str(path))
    connection.execute("VACUUM")
    connection.close()
    return path.stat().st_size


async def _fill(store: Store, traffic: Traffic) -> None:
    await store.events.append([], traffic.all_series())
    batches = traffic.batches()
    while group := list(islice(batches, _GROUP)):
        await store.events.append(group, [])


def _folder(store: Store) -> Folder:
    return Folder(
        store.folding, lambda: 0, Metrics(), after_events=SEGMENT_EVENTS, after_us=1 << 60
    )


async def _size_bytes(store: Store) -> int:
    """Return the size of the database with everything in it, and nothing else."""

    def checkpoint(connection: apsw.Connection) -> int:
        return connection.pragma("page_count") * connection.pragma("page_size")  # type: ignore[no-any-return]

    return await store.writer.run("measure", checkpoint)


async def _reads(store: Store, traffic: Traffic) -> AsyncIterator[float]:
    """Yield the time that it takes to read one day, or what there is of it, of one series."""
    span = await store.events.span()
    assert span is not None
    choose = random.Random(SEED)  # noqa: S311 - not a secret
    for _ in range(READS):
        series_id = choose.randrange(traffic.series)
        from_us = choose.randrange(span.least_us, max(span.least_us + 1, span.greatest_us - DAY_US))
        began_s = time.perf_counter()
        async for _ in store.events.read([series_id], from_us, from_us + DAY_US):
            pass
        yield time.perf_counter() - began_s


async def _replay_rate(store: Store) -> float:
    """Return how many events a second come out of the first segment."""
    began_s = time.perf_counter()
    events = 0
    async for entry in store.events.replay(0):
        events += len(entry.body) if isinstance(entry.body, EventBatch) else 0
        if events >= REPLAYED_EVENTS:
            break
    return events / (time.perf_counter() - began_s)


async def _measure_waits(path: Path) -> list[WaitFigures]:
    """Append batches at a steady rate, first alone, then with a folding of older events beside."""
    traffic = Traffic("", 5_000, 3_000_000, walks(2))
    async with open_store(path) as store:
        await _fill(store, traffic)
        batches = list(islice(traffic.batches(), 100))
        alone = await _appends(store, batches)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_keep_folding, store)
            folding = await _appends(store, batches)
            nursery.cancel_scope.cancel()
    return [
        WaitFigures("nothing else", len(alone), percentiles(alone)),
        WaitFigures("folding", len(folding), percentiles(folding)),
    ]


async def _keep_folding(store: Store) -> None:
    while True:
        await _folder(store).fold()
        await trio.sleep(0.01)


async def _appends(store: Store, batches: Sequence[EventBatch]) -> list[float]:
    """Append a batch every ``_APPEND_EVERY_S``; return how long each took."""
    waits_s: list[float] = []
    deadline_s = trio.current_time() + APPENDS_S
    for batch in cycle(batches):
        began_s = trio.current_time()
        if began_s >= deadline_s:
            return waits_s
        await store.events.append([batch], [])
        waits_s.append(trio.current_time() - began_s)
        await trio.sleep_until(began_s + _APPEND_EVERY_S)
    raise AssertionError("cycle never ends")
