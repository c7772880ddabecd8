"""How long people wait for stored events: pages of ``GET /api/events`` over many stored ones.

Owns a store of a month of 5,000 series, which it makes with the code that folds (the log is left
out: twenty times as much would be written and deleted), a daemon on it, and the questions. Each
is asked over one connection, one after the other: pages of one series over one day, from a first
look (nothing of it is in memory) on, and pages of all series of a metric.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

import apsw
import trio

from alertd.clock import format_us
from alertd.config.settings import Config
from alertd.core import new_state
from alertd.engine.engine import Engine
from alertd.model import Series
from alertd.store.segment_draft import SegmentDraft
from alertd.store.segments import Segment, insert_blocks, insert_segment
from alertd.store.snapshots import snapshots_folder, write_snapshot
from alertd.store.store import Store, open_store
from alertd.upkeep.snapshotter import pack_state
from bench.daemon import Daemon
from bench.results import ReadFigures, percentiles
from bench.traffic import BEGIN_US, DAY_US, SEED, Traffic, walks

SERIES = 5_000
DAYS = 30
SEGMENT_BATCHES = 1_000
READS = 200
WIDE_READS = 20
_CONFIG = """
event_retention_days = 36500
rollup_retention_days = 36500
history_retention_days = 36500
"""


def measure(folder: Path, tell: Callable[[str], None], *, events: int) -> list[ReadFigures]:
    """Make a store of ``events`` events, 1.5 s a million, and ask it."""
    ticks = max(1, events // SERIES)
    traffic = Traffic("", SERIES, ticks * SERIES, walks(2, every_us=DAYS * DAY_US // ticks))
    tell(f"reads: {traffic.events} events are stored …")
    daemon = Daemon(folder, "", store_options=_CONFIG)
    try:
        trio.run(fill_folded, daemon.store, traffic)
        tell("reads: pages …")
        with daemon:
            return list(_measure(daemon, traffic))
    finally:
        daemon.remove()


def _measure(daemon: Daemon, traffic: Traffic) -> Iterator[ReadFigures]:
    connection = daemon.connect()
    choose = random.Random(SEED)  # noqa: S311 - not a secret
    names = [(series.metric_name, dict(series.labels)) for series in traffic.all_series()]

    def ask(number: int, *, every_host: bool, limit: int) -> float:
        metric, labels = names[number]
        from_us = choose.randrange(BEGIN_US, BEGIN_US + (DAYS - 1) * DAY_US)
        parameters = {"metricName": metric, "limit": str(limit)}
        parameters |= {"from": format_us(from_us), "to": format_us(from_us + DAY_US)}
        if not every_host:
            parameters["labels.host"] = labels["host"]
        began_s = time.perf_counter()
        connection.request("GET", f"/api/events?{urlencode(parameters)}")
        answer = connection.getresponse()
        body = answer.read()
        waited_s = time.perf_counter() - began_s
        assert answer.status == 200, body
        assert body.count(b'"timestamp"') >= min(limit, traffic.events // SERIES // DAYS - 1)
        return waited_s

    for reads, limit, every_host in (
        (READS, 100, False),
        (READS, 1000, False),
        (WIDE_READS, 100, True),
        (WIDE_READS, 1000, True),
    ):
        numbers = [choose.randrange(SERIES) for _ in range(reads)]
        first_s = [ask(number, every_host=every_host, limit=limit) for number in numbers]
        yield ReadFigures(
            asked=f"{SERIES // 10 if every_host else 1} series, a day",
            stored_events=traffic.events,
            limit=limit,
            reads=reads,
            page=percentiles(first_s),
        )


async def fill_folded(path: Path, traffic: Traffic) -> None:
    """Make a store at ``path`` whose events are all folded, and a snapshot at its end."""
    async with open_store(path) as store:
        await store.events.append([], traffic.all_series())
        batches = traffic.batches()
        position = 0
        while part := list(islice(batches, SEGMENT_BATCHES)):
            draft = SegmentDraft()
            for batch in part:
                position += 1
                draft.add(position, batch)
            await _insert(store, draft)
        await store.events.append([next(traffic.batches())], [])
        end = partial(_set_end, position + 1)
        await store.writer.run("move the newest entry behind what was folded", end)
        state = pack_state(Engine(_no_series).dump(), new_state(Config())[1])
        write_snapshot(snapshots_folder(path), position + 1, state)


async def _insert(store: Store, draft: SegmentDraft) -> None:
    positions = draft.directory.positions
    segment = Segment(
        positions[0],
        positions[-1],
        len(positions),
        draft.events,
        draft.least_us,
        draft.greatest_us,
    )

    def insert(connection: apsw.Connection) -> None:
        insert_blocks(segment.first_position, draft.blocks(), connection)
        insert_segment(segment, draft.directory.encode(), connection)

    await store.writer.run("fold", insert, wal_bytes=8 << 20, may_be_redone=True)


def _set_end(position: int, connection: apsw.Connection) -> None:
    """Give the only entry of the log that position, and have all blocks counted as they are."""
    connection.execute("UPDATE event_log SET position = ?", (position,))
    connection.execute(
        "UPDATE meta SET value = (SELECT max(id) FROM blocks) WHERE key = 'counted_block'"
    )


def _no_series(number: int) -> Series:
    raise KeyError(number)
