"""The log of a store of schema 1 gets its event times when it is opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import pytest

from alertd.model import EventBatch
from alertd.rules import RuleChange
from alertd.store.connection import APPLICATION_ID
from alertd.store.entry_codec import encode_batch, encode_change
from alertd.store.failures import StoreCorrupt
from alertd.store.schema import MIGRATIONS
from alertd.store.store import open_store
from tests.unit.store.store_samples import (
    START_US,
    batch,
    change,
    record,
    replayed,
    seen_by_another,
)

INSERT_1 = (
    "INSERT INTO event_log (position, received_us, kind, count, has_ids, body) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


def write_schema_1(path: Path, entries: Sequence[tuple[int, EventBatch | RuleChange]]) -> None:
    """Write the file that an alertd of schema 1 with ``entries`` in its log left behind."""
    connection = apsw.Connection(str(path))
    connection.execute(MIGRATIONS[0])
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 1)
    for position, body in entries:
        if isinstance(body, EventBatch):
            has_ids, packed = body.ids is not None, encode_batch(body)
            row = (position, body.received_us, "events", len(body), has_ids, packed)
        else:
            row = (position, body.at_us, "rules", len(body.put), False, encode_change(body))
        connection.execute(INSERT_1, row)
    connection.close()


ENTRIES: list[tuple[int, EventBatch | RuleChange]] = [
    (5, batch(3, received_us=START_US + 5)),  # what retention left begins somewhere
    (6, change(record())),
    (7, batch(1, received_us=START_US - 7, ids=("é",))),
    (8, batch(2000)),
]


async def test_the_entries_are_kept_and_get_their_event_times(tmp_path: Path) -> None:
    path = tmp_path / "alertd.db"
    write_schema_1(path, ENTRIES)
    async with open_store(path) as store:
        assert await replayed(store) == ENTRIES
        assert seen_by_another(
            path, "SELECT position, least_us, greatest_us FROM event_log ORDER BY position"
        ) == [
            (5, START_US + 3, START_US + 5),
            (6, None, None),
            (7, START_US - 7, START_US - 7),
            (8, START_US - 1999, START_US),
        ]
        found = [stored.position async for stored in store.events.read({0}, 0, START_US)]
        assert found == [7, 8]
        assert await store.events.append([batch()], []) == 9


async def test_an_entry_that_does_not_decode_is_named_and_the_file_left_as_it_was(
    tmp_path: Path,
) -> None:
    path = tmp_path / "alertd.db"
    write_schema_1(path, ENTRIES)
    damaged = apsw.Connection(str(path))
    damaged.execute("UPDATE event_log SET body = zeroblob(length(body)) WHERE position = 7")
    damaged.close()
    with pytest.raises(StoreCorrupt, match=r"event_log entry 7: .*checksum"):
        async with open_store(path):
            pytest.fail("opened")
    assert seen_by_another(path, "PRAGMA user_version") == [(1,)]
    assert seen_by_another(path, "SELECT position FROM event_log ORDER BY position") == [
        (5,),
        (6,),
        (7,),
        (8,),
    ]
