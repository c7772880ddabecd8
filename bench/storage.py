"""What it costs to keep events: bytes, the CPU of folding, reading back.

Owns a store of its own for each workload, in this process. It is filled, folded as the daemon
does, replayed, and asked for single series. Leaves what the events are like to ``traffic.py``.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import trio

from alertd.metrics import Metrics
from alertd.model import EventBatch
from alertd.store.store import Store, open_store
from alertd.upkeep.folder import Folder
from bench.results import StorageFigures, percentiles
from bench.traffic import DAY_US, SEED, Traffic, workloads

SEGMENT_EVENTS = 1_000_000
READS = 200
REPLAYED_EVENTS = 900_000
_GROUP = 20
"""Batches in one transaction while a store is filled."""


def measure(folder: Path, tell: Callable[[str], None]) -> Iterator[StorageFigures]:
    """Yield the figures of each workload."""
    for traffic in workloads():
        tell(f"storage: {traffic.name} …")
        with TemporaryDirectory(prefix="alertd-bench-", dir=folder) as name:
            yield trio.run(_measure, traffic, Path(name) / "alertd.db")


async def _measure(traffic: Traffic, path: Path) -> StorageFigures:
    async with open_store(path) as store:
        await fill(store, traffic)
        unfolded_bytes = await _size_bytes(store)
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await new_folder(store).fold()
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


async def fill(store: Store, traffic: Traffic) -> None:
    """Append all of ``traffic``."""
    await store.events.append([], traffic.all_series())
    batches = traffic.batches()
    while group := list(islice(batches, _GROUP)):
        await store.events.append(group, [])


def new_folder(store: Store) -> Folder:
    """Return what folds the log of ``store`` as in the daemon, a million events at a time."""
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
