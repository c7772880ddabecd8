"""Giving the file system back what the database does not need any more.

SQLite keeps the pages of deleted rows in a list of free ones and uses them again. Owns what is
beyond that: the file is made with ``auto_vacuum = INCREMENTAL`` (https://sqlite.org/pragma.html),
so that it can be made shorter in small steps while it is in use; one of before is rewritten once,
at its opening. A tenth of the file stays free for what comes next.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import apsw
import structlog

from alertd.store.portion import Portion
from alertd.store.readers import Readers
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

INCREMENTAL: Final = 2
STEP_PAGES: Final = 64
"""Pages that one transaction moves and gives back at most: about 2 ms."""
KEPT_PAGES: Final = 256
KEPT_SHARE: Final = 10
"""A tenth of the file, and at least ``KEPT_PAGES``, may be free."""
COPIES: Final = 2.2
"""Rewriting a file takes as much again in the folder of temporary files, and in the WAL."""

_log = structlog.get_logger()


class Usage(NamedTuple):
    """What the database takes."""

    size_bytes: int
    free_bytes: int
    """How much of it is free."""


class Space:
    """Makes the file shorter, a little at a time."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._step_pages = Portion(STEP_PAGES)

    async def give_back(self) -> int:
        """Give back up to ``STEP_PAGES``; return how many. Call it again until that is 0.

        Raises ``StoreUnavailable``.
        """
        return await self._writer.run(
            "give back free space",
            partial(_give_back, self._step_pages.size),
            wal_bytes=2 * DEFAULT_WAL_BYTES,
            must_go_on=True,
            may_be_redone=True,
            portion=self._step_pages,
        )

    async def usage(self) -> Usage:
        """Return what the database takes now."""
        return await self._readers.run("measure the database", _usage)


def rewrite_if_rigid(
    connection: apsw.Connection,
    path: Path,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> None:
    """Rewrite a database that cannot give space back; one that there is no room for stays as it is.

    Takes some 10 s a gigabyte. Stopped anywhere, it leaves the file as it was.
    """
    if connection.pragma("auto_vacuum") == INCREMENTAL:
        return
    size_bytes = path.stat().st_size
    for folder in (path.parent, Path(tempfile.gettempdir())):
        if free_bytes(folder) < size_bytes * COPIES:
            _log.warning(
                "the database file cannot become smaller: to rewrite it once, more room is needed",
                path=str(path),
                folder=str(folder),
                needed_bytes=round(size_bytes * COPIES),
            )
            return
    _log.info("rewriting the database, so that it can give space back", bytes=size_bytes)
    connection.pragma("temp_store", "FILE")
    try:
        connection.pragma("auto_vacuum", INCREMENTAL)
        connection.execute("VACUUM")
    except apsw.FullError as error:
        _log.warning("the database is not rewritten: the disk is full", error=str(error))
    finally:
        connection.pragma("temp_store", "MEMORY")


def _give_back(most: int, connection: apsw.Connection) -> int:
    pages: int = connection.pragma("page_count")
    free: int = connection.pragma("freelist_count")
    surplus = free - max(KEPT_PAGES, pages // KEPT_SHARE)
    if surplus <= 0 or connection.pragma("auto_vacuum") != INCREMENTAL:
        return 0
    connection.execute(f"PRAGMA incremental_vacuum({min(surplus, most)})").fetchall()
    return pages - int(connection.pragma("page_count"))


def _usage(connection: apsw.Connection) -> Usage:
    page_bytes: int = connection.pragma("page_size")
    return Usage(
        connection.pragma("page_count") * page_bytes,
        connection.pragma("freelist_count") * page_bytes,
    )
