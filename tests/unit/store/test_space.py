"""A database gives back what it does not need; an old one is rewritten for it, if there is room."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from alertd.store import space
from alertd.store.connection import Durability, open_writable
from alertd.store.space import INCREMENTAL, rewrite_if_rigid
from alertd.store.store import open_store
from tests.unit.store.store_samples import batch, replayed, series


def rigid_copy(path: Path, target: Path) -> None:
    """Copy a database to one that was made before it could give space back."""
    shutil.copy(path, target)
    connection = apsw.Connection(str(target))
    connection.pragma("journal_mode", "delete")
    connection.pragma("auto_vacuum", 0)
    connection.execute("VACUUM")
    connection.pragma("journal_mode", "wal")
    assert connection.pragma("auto_vacuum") == 0
    connection.close()


async def test_a_new_database_can_give_space_back(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db") as store:
        assert await store.writer.run("ask", lambda c: c.pragma("auto_vacuum")) == INCREMENTAL
        assert await store.space.give_back() == 0


async def test_an_old_database_is_rewritten_once_and_holds_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "KEPT_PAGES", 8)
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([batch(2000)] * 20, series(2000))
        entries = await replayed(store)
    rigid_copy(tmp_path / "a.db", tmp_path / "b.db")
    async with open_store(tmp_path / "b.db") as store:
        assert await store.writer.run("ask", lambda c: c.pragma("auto_vacuum")) == INCREMENTAL
        assert await store.writer.run("ask", lambda c: c.pragma("journal_mode")) == "wal"
        assert await replayed(store) == entries
        await store.writer.run("delete", lambda c: c.execute("DELETE FROM event_log").fetchall())
        given_back = 0
        while pages := await store.space.give_back():
            given_back += pages
        assert given_back > 100


async def test_an_old_database_is_left_alone_where_there_is_no_room(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([batch()], series(3))
    rigid_copy(tmp_path / "a.db", tmp_path / "b.db")
    connection = open_writable(tmp_path / "b.db", Durability.FULL)
    rewrite_if_rigid(connection, tmp_path / "b.db", lambda folder: 1000)
    assert connection.pragma("auto_vacuum") == 0
    connection.close()
