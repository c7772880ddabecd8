"""Databases as commands meet them: there already, with or without a daemon that writes to them.

Owns opening one read-only with a clear refusal, and the guard of long reads. Invariant: nothing
here makes, migrates or changes a database. What a command reads at length is one read transaction,
and while that lasts the daemon's write-ahead log cannot be begun again: it grows. So such reads
look at ``WalGuard`` now and then, and give up long before appends would be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from alertd.errors import AlertdError
from alertd.store.connection import open_readonly, refuse_foreign
from alertd.store.failures import StoreOpenError, translate
from alertd.store.schema import MIGRATIONS

MAX_PINNED_WAL_BYTES: Final = 512 << 20
"""Half of ``wal.LIMIT_BYTES``, at which the daemon would refuse events."""

PROGRESS_STEPS: Final = 1_000_000
"""Steps of SQLite's virtual machine between two looks at the guard: some 50 ms."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done and how much there is; 0 of 0 is unknown."""


class TookTooLong(AlertdError):
    """A long read was given up for the daemon's sake. Nothing was changed."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Tell nobody of progress."""


@contextmanager
def opened(path: Path, operation: str) -> Iterator[apsw.Connection]:
    """Open the database at ``path`` read-only; ``operation`` completes "cannot …" in messages.

    Raises ``StoreOpenError`` (there is none, it is another program's, it is not to be looked at),
    ``StoreCorrupt``, and ``StoreUnavailable`` for what fails within the block.
    """
    try:
        is_there = path.is_file()
    except OSError as error:
        raise StoreOpenError(
            f"cannot {operation}: {path}: {error.strerror}; be the daemon's user, or root"
        ) from error
    if not is_there:
        raise StoreOpenError(f"cannot {operation}: there is no database {path}")
    try:
        connection = open_readonly(path)
        try:
            refuse_foreign(connection, path)
            yield connection
        finally:
            connection.close(True)
    except apsw.Error as error:
        meaning = translate(error, operation, str(path))
        raise meaning or StoreOpenError(f"cannot {operation}: {path}: {error}") from error


def refuse_other_schema(connection: apsw.Connection, path: Path) -> int:
    """Return the schema's number if it is the present one; raise ``StoreOpenError`` if not."""
    schema: int = connection.pragma("user_version")
    if schema > len(MIGRATIONS):
        raise StoreOpenError(
            f"{path} has schema {schema} and this alertd knows {len(MIGRATIONS)}; use the newer "
            "alertd that wrote it"
        )
    if schema < len(MIGRATIONS):
        raise StoreOpenError(
            f"{path} has schema {schema}, an older one than this alertd's {len(MIGRATIONS)}; start "
            "this alertd on it once, or use the alertd that wrote it"
        )
    return schema


class WalGuard:
    """Watches the write-ahead log of the database at ``path`` while a read pins it."""

    def __init__(
        self, path: Path, operation: str, *, limit_bytes: int = MAX_PINNED_WAL_BYTES
    ) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._operation = operation
        self._limit_bytes = limit_bytes

    @property
    def size_bytes(self) -> int:
        """How large the file is; 0 if there is none."""
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0

    def look(self) -> None:
        """Raise ``TookTooLong`` if the file has grown to the bound."""
        if self.size_bytes >= self._limit_bytes:
            raise TookTooLong(
                f"cannot {self._operation}: meanwhile {self._wal} has grown to "
                f"{self._limit_bytes >> 20} MiB, and at twice that events would be refused; try "
                "again when fewer events come, or with a faster disk"
            )


@contextmanager
def guarded(
    connection: apsw.Connection, guard: WalGuard, on_progress: Progress, what: str
) -> Iterator[None]:
    """Look at ``guard``, and at the keyboard, while long statements run."""

    def look() -> bool:
        guard.look()
        on_progress(what, 0, 0)
        return False

    connection.set_progress_handler(look, PROGRESS_STEPS)
    try:
        yield
    finally:
        connection.set_progress_handler(None)
