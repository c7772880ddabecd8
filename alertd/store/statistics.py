"""What a database holds, in figures.

Owns the figures of ``alertd db stats``. Invariant: it changes nothing, and all figures but the
files' sizes are of one moment. Cost: the whole file is read once.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apsw
from msgspec import Struct

from alertd.clock import optional_time
from alertd.store.existing import Progress, WalGuard, guarded, opened, refuse_other_schema, silent
from alertd.store.segments import folded_position
from alertd.store.snapshots import SnapshotFile, snapshot_files, snapshots_folder


class TableFigures(Struct, frozen=True, rename="camel"):
    """One table with its indexes."""

    name: str
    rows: int
    size_bytes: int


class StoreFigures(Struct, frozen=True, rename="camel"):
    """A database and what lies beside it."""

    path: str
    schema: int
    size_bytes: int
    free_bytes: int
    """Of ``size_bytes``, what holds nothing now and is used again."""
    wal_bytes: int
    log_position: int
    events: int
    bytes_per_event: float | None
    """Of everything in the file but what is free; None without events."""
    oldest_event: str | None
    """The least event time, in RFC 3339."""
    newest_event: str | None
    tables: tuple[TableFigures, ...]
    snapshots: tuple[SnapshotFile, ...]


def read_figures(path: Path, on_progress: Progress = silent) -> StoreFigures:
    """Return the figures of the database at ``path``.

    Raises ``StoreOpenError``, ``StoreCorrupt``, ``StoreUnavailable`` and ``TookTooLong``.
    """
    guard = WalGuard(path, "measure the database")
    with opened(path, "measure the database") as connection:
        schema = refuse_other_schema(connection, path)
        with guarded(connection, guard, on_progress, "measuring"):
            connection.execute("BEGIN")
            tables = _tables(connection)
            events, oldest_us, newest_us = connection.execute(
                "SELECT sum(events), min(least_us), max(greatest_us) FROM "
                "(SELECT count AS events, least_us, greatest_us FROM event_log "
                "WHERE kind = 'events' AND position > ? "
                "UNION ALL SELECT events, least_us, greatest_us FROM segments)",
                (folded_position(connection),),
            ).fetchone() or (0, None, None)
            position = connection.execute("SELECT max(position) FROM event_log").get
            page_bytes = connection.pragma("page_size")
            size_bytes = connection.pragma("page_count") * page_bytes
            free_bytes = connection.pragma("freelist_count") * page_bytes
            connection.execute("COMMIT")
    return StoreFigures(
        path=str(path),
        schema=schema,
        size_bytes=size_bytes,
        free_bytes=free_bytes,
        wal_bytes=guard.size_bytes,
        log_position=position or 0,
        events=events or 0,
        bytes_per_event=(size_bytes - free_bytes) / events if events else None,
        oldest_event=optional_time(oldest_us),
        newest_event=optional_time(newest_us),
        tables=tables,
        snapshots=tuple(snapshot_files(snapshots_folder(path))),
    )


def _tables(connection: apsw.Connection) -> tuple[TableFigures, ...]:
    """Return every table, the largest first."""
    sizes: Counter[str] = Counter()
    for table, size_bytes in connection.execute(
        "SELECT coalesce(tbl_name, dbstat.name), pgsize FROM dbstat('main', TRUE) "
        "LEFT JOIN sqlite_schema ON sqlite_schema.name = dbstat.name"
    ):
        sizes[table] += size_bytes
    figures = [
        TableFigures(
            name=name,
            rows=connection.execute(f'SELECT count(*) FROM "{name}"').get,  # noqa: S608  # a table's own name
            size_bytes=sizes[name],
        )
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' UNION SELECT 'sqlite_schema'"
        )
    ]
    return tuple(sorted(figures, key=lambda table: -table.size_bytes))
