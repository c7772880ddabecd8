"""The store as the rest of alertd sees it: one database, its parts, and its lifetime."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import structlog

from alertd.blocking import Blocking, Threads
from alertd.errors import StoreUnavailable
from alertd.store.carried import set_down
from alertd.store.checkpointer import Checkpointer
from alertd.store.connection import (
    Durability,
    abandon,
    check_sqlite,
    open_writable,
    prepare_folder,
    sole_daemon,
)
from alertd.store.event_log import EventLog
from alertd.store.event_pages import EventPages
from alertd.store.failures import translate
from alertd.store.flapping import FlappingTable
from alertd.store.folders import sync_file
from alertd.store.folding import Folding
from alertd.store.incidents import IncidentStore
from alertd.store.migrations import migrate
from alertd.store.outbox import Outbox
from alertd.store.quarantine import QuarantineTable
from alertd.store.quick_check import refuse_damaged, telling
from alertd.store.readers import Readers
from alertd.store.requests import RequestTable
from alertd.store.reserve import RESERVE_BYTES, Reserve
from alertd.store.restore import finish_restore
from alertd.store.retention import EventRetention
from alertd.store.rollup_pages import RollupPages
from alertd.store.rules import RuleTable
from alertd.store.silences import SilenceTable
from alertd.store.space import Space, rewrite_if_rigid
from alertd.store.waiting import WaitingList
from alertd.store.wal import Wal
from alertd.store.writer import Turn, Writer

_log = structlog.get_logger()

_THREADS: Final = Threads()


@dataclass(frozen=True, slots=True)
class Store:
    """The parts of an open store. They share one writer thread and one pool of readers."""

    events: EventLog
    pages: EventPages
    rollup_pages: RollupPages
    folding: Folding
    retention: EventRetention
    space: Space
    rules: RuleTable
    incidents: IncidentStore
    outbox: Outbox
    waiting: WaitingList
    silences: SilenceTable
    flapping: FlappingTable
    requests: RequestTable
    quarantine: QuarantineTable
    writer: Writer
    blocking: Blocking
    path: Path
    """The real path of the database."""

    @property
    def sqlite_bytes(self) -> int:
        """How much memory SQLite holds in this process.

        It is pages, up to what ``connection.py`` allows each connection, and little else.
        """
        return apsw.memory_used()

    def make_durable(self) -> None:
        """Fsync what was committed, which ``relaxed`` durability leaves open. Blocks.

        Raises ``OSError``.
        """
        with suppress(FileNotFoundError):
            sync_file(self.path.with_name(f"{self.path.name}-wal"))


def _tell_nobody(_what: object) -> None:
    pass


@asynccontextmanager
async def open_store(
    path: Path,
    *,
    durability: Durability = Durability.FULL,
    blocking: Blocking = _THREADS,
    on_progress: Callable[[str], None] = _tell_nobody,
    on_turn: Callable[[Turn], None] = _tell_nobody,
) -> AsyncIterator[Store]:
    """Open the database at ``path``, made and migrated if need be, for as long as the block runs.

    ``blocking`` does all of the store's work, and other work beside the event loop as well.

    Checking a large file takes seconds (see ``quick_check.py``), migrating it may take minutes:
    ``on_progress`` is told in a phrase, and not in the event loop, that it goes on. ``on_turn``
    is told, not in the event loop either, for how long the writer was held by what.

    Raises ``StoreOpenError`` (in use, unusable, written by a newer alertd) and ``StoreCorrupt``.
    """
    check_sqlite(apsw.sqlite_lib_version())
    path = prepare_folder(path)
    with sole_daemon(path):
        finish_restore(path)
        connection, wal = await blocking.run(partial(_open, path, durability, on_progress))
        worker = blocking.worker("alertd-store-writer")
        copier = blocking.worker("alertd-store-checkpoints")
        checkpointer = Checkpointer(path, copier, wal.checkpoints)
        writer = Writer(
            connection, wal, str(path), worker, checkpointer, blocking.stopwatch_s, on_turn
        )
        readers = Readers(path, blocking)
        _log.info("store opened", path=str(path), durability=durability.value)
        events = EventLog(writer, readers, str(path))
        folding = Folding(writer, readers, str(path))
        try:
            yield Store(
                events=events,
                pages=EventPages(events, readers, str(path)),
                rollup_pages=RollupPages(events, readers, str(path)),
                folding=folding,
                retention=EventRetention(folding, writer, readers, str(path)),
                space=Space(writer, readers),
                rules=RuleTable(writer, readers, str(path)),
                incidents=IncidentStore(writer, readers),
                outbox=Outbox(writer, readers),
                waiting=WaitingList(writer, readers),
                silences=SilenceTable(writer, readers),
                flapping=FlappingTable(readers),
                requests=RequestTable(writer, readers),
                quarantine=QuarantineTable(writer, readers),
                writer=writer,
                blocking=blocking,
                path=path,
            )
        finally:
            readers.close()
            await writer.aclose()


def _open(
    path: Path, durability: Durability, on_progress: Callable[[str], None] = _tell_nobody
) -> tuple[apsw.Connection, Wal]:
    """Open the database. On a full disk the reserve gives it the little room that this takes."""
    reserve = Reserve(path)
    try_open = partial(_try_open, path, durability, on_progress, reserve)
    try:
        return try_open()
    except StoreUnavailable as error:
        if shutil.disk_usage(path.parent).free >= RESERVE_BYTES:
            raise
        if not reserve.release():
            raise StoreUnavailable(f"{error}; the disk is full: free some space there") from error
        return try_open()


def _try_open(
    path: Path, durability: Durability, on_progress: Callable[[str], None], reserve: Reserve
) -> tuple[apsw.Connection, Wal]:
    connection = open_writable(path, durability)
    try:
        with telling(connection, on_progress, "checking the database"):
            refuse_damaged(connection, path)
        with telling(connection, on_progress, "migrating the database"):
            migrate(connection, path)
            rewrite_if_rigid(connection, path)
            set_down(connection, path)
        return connection, Wal(connection, path, reserve)
    except BaseException as error:
        abandon(connection)
        if isinstance(error, apsw.Error):
            meaning = translate(error, "open the database", str(path))
            if meaning is not None:
                raise meaning from error
        raise
