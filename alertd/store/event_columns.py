"""Stored events in columns, and the first of them in the order of pages.

Owns that order: by time, those of one time in the order of arrival. No object is made of an event
before it is certain to be on a page. It is pure; needs NumPy, and is imported when somebody asks
for events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alertd.store.protocols import StoredEvents
from alertd.store.runs import Floats, Integers


class Found(NamedTuple):
    """An event with its place in the order: the first three, of which no two are the same."""

    time_us: int
    position: int
    place: int
    """Within its entry; comparable only there."""
    series_id: int
    value: float
    received_us: int
    id: str | None


class EventColumns(NamedTuple):
    """Events; the columns have one length, and are those of ``Found``."""

    times_us: Integers
    positions: Integers
    places: Integers
    series_ids: Integers
    values: Floats
    received_us: Integers
    ids: list[str | None]

    @classmethod
    def of_entries(cls, entries: Sequence[StoredEvents]) -> EventColumns:
        """Return the events of ``entries``, one at least."""
        batches = [batch for _, batch in entries]
        counts = [len(batch) for batch in batches]
        return cls(
            times_us=np.concatenate([np.asarray(batch.times_us) for batch in batches]),
            positions=np.repeat(np.array([position for position, _ in entries]), counts),
            places=np.concatenate([np.arange(count) for count in counts]),
            series_ids=np.concatenate([np.asarray(batch.series_ids) for batch in batches]),
            values=np.concatenate([np.asarray(batch.values) for batch in batches]),
            received_us=np.repeat(np.array([batch.received_us for batch in batches]), counts),
            ids=[each for batch in batches for each in batch.ids or [None] * len(batch)],
        )

    def __len__(self) -> int:
        return len(self.ids)


def first_in_order(
    parts: Sequence[EventColumns], behind: tuple[int, int, int] | None, limit: int
) -> list[Found]:
    """Return the first ``limit`` events of ``parts`` in order.

    Behind a place: a time and a position, and how many of their events are not meant any more.
    """
    found: list[Found] = []
    seen = 0
    if behind is not None:
        time_us, position, seen = behind
        parts = [part for part in (_from(part, time_us, position) for part in parts) if len(part)]
    if not parts:
        return found
    keys = [np.concatenate([part[number] for part in parts]) for number in range(3)]
    order = np.lexsort(keys[::-1])[seen : seen + limit]
    columns = [np.concatenate([part[number] for part in parts])[order] for number in range(3, 6)]
    ids = [event_id for part in parts for event_id in part.ids]
    return list(
        map(
            Found,
            *(key[order].tolist() for key in keys),
            *(column.tolist() for column in columns),
            [ids[place] for place in order.tolist()],
        )
    )


def _from(part: EventColumns, time_us: int, position: int) -> EventColumns:
    """Return what is at that time and position, or behind it."""
    times_us, positions = part.times_us, part.positions
    places = np.flatnonzero(
        (times_us > time_us) | ((times_us == time_us) & (positions >= position))
    )
    if len(places) == len(part):
        return part
    return EventColumns(
        times_us=times_us[places],
        positions=positions[places],
        places=part.places[places],
        series_ids=part.series_ids[places],
        values=part.values[places],
        received_us=part.received_us[places],
        ids=[part.ids[place] for place in places.tolist()],
    )
