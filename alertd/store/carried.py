"""The snapshot that a backup carries: as a table of the copy, which a store never has.

Owns the way in and out. A backup is then still one file, and a start after its restore need not
replay the whole log. Invariant: the snapshot was whole under its name before the state of the
database that was copied: so whatever it knows is recorded there, and starting from it is what a
start after a crash at that moment would be. Taken later it might hold an incident that the clock
made after the copy, which nobody would ever record.

Set down where the database is opened, as the only snapshot of its folder: others there belong to
another database. Interrupted anywhere, that is done again at the next opening.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import apsw
import structlog

from alertd.store.failures import StoreCorrupt
from alertd.store.snapshots import (
    CHUNK_BYTES,
    Damaged,
    read_snapshot,
    set_all_aside,
    snapshot_names,
    snapshots_folder,
    write_snapshot,
)

_TABLE: Final = "carried_snapshot"
_INSERT: Final = f"INSERT INTO {_TABLE} (body) VALUES (?)"  # noqa: S608  # a constant
_SELECT: Final = f"SELECT body FROM {_TABLE} ORDER BY piece"  # noqa: S608

_log = structlog.get_logger(__name__)


@contextmanager
def newest_held(database: Path) -> Iterator[BinaryIO | None]:
    """Hold the newest good snapshot of ``database`` open; None if there is none.

    What the daemon does to the folder meanwhile does not matter any more. To be entered before
    the database is looked at.
    """
    for path in snapshot_names(snapshots_folder(database)):
        try:
            file = path.open("rb")
        except OSError:
            continue  # the daemon removes the oldest now and then
        with file:
            try:
                read_snapshot(file).verify()
            except (Damaged, OSError):
                continue
            file.seek(0)
            yield file
            return
    yield None


def carry(snapshot: BinaryIO, copy: Path) -> None:
    """Put ``snapshot`` into the database ``copy``, which nobody else has open. Not yet durable."""
    connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.pragma("journal_mode", "OFF")
        connection.pragma("synchronous", "OFF")
        with connection:
            _drop(connection)
            connection.execute(
                f"CREATE TABLE {_TABLE} (piece INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT"
            )
            while piece := snapshot.read(CHUNK_BYTES):
                connection.execute(_INSERT, (piece,))
        connection.pragma("journal_mode", "DELETE")
    finally:
        connection.close(True)


def carried_position(connection: apsw.Connection) -> int | None:
    """Return the position of the snapshot that this database carries, None if it carries none.

    Reads all of it. Raises ``StoreCorrupt`` if it is damaged.
    """
    if not _is_there(connection):
        return None
    try:
        with closing(_Pieces(connection)) as pieces:
            snapshot = read_snapshot(pieces)
            snapshot.verify()
    except Damaged as damage:
        raise StoreCorrupt(f"the snapshot that it carries is damaged: {damage}") from damage
    return snapshot.position


def set_down(connection: apsw.Connection, database: Path) -> None:
    """Make a file of the snapshot that ``database`` carries, if it does, and let go of it there.

    Where that cannot be done, the log is replayed instead.
    """
    if not _is_there(connection):
        return
    folder = snapshots_folder(database)
    try:
        set_all_aside(folder)
        with closing(_Pieces(connection)) as pieces:
            snapshot = read_snapshot(pieces)
            write_snapshot(folder, snapshot.position, snapshot.chunks)
        _log.info("the backup's snapshot is used", position=snapshot.position)
    except (Damaged, OSError) as error:
        _log.warning("the backup's snapshot cannot be used; the log remains", error=str(error))
    _drop(connection)


def _is_there(connection: apsw.Connection) -> bool:
    return bool(connection.table_exists(None, _TABLE))


def _drop(connection: apsw.Connection) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {_TABLE}")


class _Pieces:
    """The pieces of a carried snapshot, to be read as a file is."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._rows = connection.execute(_SELECT)
        self._left = b""

    def close(self) -> None:
        """Read no further."""
        self._rows.close(True)

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        while len(self._left) < size and (row := next(self._rows, None)) is not None:
            self._left += bytes(row[0])
        found, self._left = self._left[:size], self._left[size:]
        return found
