"""Logs to read back, and what a read of them has to give."""

from __future__ import annotations

import random
from array import array
from collections.abc import AsyncIterator, Collection, Sequence

from alertd.model import EventBatch
from alertd.store.protocols import StoredEvents
from alertd.store.store import Store
from tests.unit.store.store_samples import START_US, change, record

Log = list[tuple[int, EventBatch]]
"""Positions and batches, as they were appended."""

# Neighbours in memory of each other's bytes: a search that forgets alignment finds too much.
SERIES_IDS = (0, 1, 2, 255, 256, 257, 65_536, 65_537, 1 << 24, (1 << 24) + 1, 0xFFFF_FFFF, 7, 8)


def events_at(times_us: Sequence[int], *, series_id: int = 0) -> EventBatch:
    return EventBatch(
        received_us=START_US,
        series_ids=array("I", [series_id] * len(times_us)),
        times_us=array("q", times_us),
        values=array("d", [float(time_us) for time_us in times_us]),
    )


def filtered(
    log: Log,
    series_ids: Collection[int],
    from_us: int,
    until_us: int,
    after: int = 0,
    through: int | None = None,
) -> list[StoredEvents]:
    """Return what the contract says, the slow way."""
    found = []
    for position, body in log:
        places = [
            place
            for place in range(len(body))
            if body.series_ids[place] in series_ids and from_us < body.times_us[place] <= until_us
        ]
        if places and after < position and (through is None or position <= through):
            found.append(StoredEvents(position, body.select(places)))
    return found


async def collected(read: AsyncIterator[StoredEvents]) -> list[StoredEvents]:
    return [stored async for stored in read]


async def random_log(store: Store, choose: random.Random, *, rounds: int = 40) -> Log:
    """Fill ``store`` with batches of shuffled, repeated and very late times, and rule changes."""
    log: Log = []
    for number in range(rounds):
        if number % 10 == 9:
            await store.rules.apply(change(record(version=number)))
        bodies = []
        for _ in range(choose.randrange(1, 4)):
            size = choose.choice((1, 2, 30))
            center = choose.choice((number * 10, number * 10, choose.randrange(400)))
            ids = tuple(choose.choice((None, "a", "é")) for _ in range(size))
            bodies.append(
                EventBatch(
                    received_us=START_US + number,
                    series_ids=array("I", choose.choices(SERIES_IDS, k=size)),
                    times_us=array("q", (center + choose.randrange(-9, 10) for _ in range(size))),
                    values=array("d", (choose.random() for _ in range(size))),
                    ids=choose.choice((None, ids)),
                )
            )
        first = await store.events.append(bodies, [])
        log += enumerate(bodies, start=first)
    return log
