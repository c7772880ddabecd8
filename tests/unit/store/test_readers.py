"""The readers: they cannot write, and their failures have a meaning."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import apsw
import pytest
import trio

from alertd.errors import StoreUnavailable
from alertd.store.failures import StoreCorrupt
from alertd.store.readers import Readers
from alertd.store.store import open_store
from tests.unit.store.store_samples import batch, series


def failing(code: int) -> NoReturn:
    raise apsw.exception_for(code)


async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        readers = Readers(store.path, store.blocking)
        with pytest.raises(StoreUnavailable, match=r"cannot try in .* read-only"):
            await readers.run("try", lambda connection: connection.execute("DELETE FROM meta"))
        readers.close()


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (apsw.SQLITE_BUSY, StoreUnavailable),
        (apsw.SQLITE_IOERR_READ, StoreUnavailable),
        (apsw.SQLITE_CORRUPT, StoreCorrupt),
        (apsw.SQLITE_ERROR, apsw.SQLError),
    ],
)
async def test_a_failure_has_a_meaning_and_the_next_read_works(
    tmp_path: Path, code: int, meaning: type[Exception]
) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        readers = Readers(store.path, store.blocking)
        with pytest.raises(meaning):
            await readers.run("try", lambda _: failing(code))
        assert await readers.run("read", lambda connection: connection.execute("SELECT 7").get) == 7
        readers.close()


async def test_many_reads_share_few_connections(tmp_path: Path) -> None:
    async with open_store(tmp_path / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        readers = Readers(store.path, store.blocking, max_readers=2)
        used: set[int] = set()

        async def read() -> None:
            used.add(await readers.run("read", id))

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(read)
        assert 1 <= len(used) <= 2
        readers.close()
