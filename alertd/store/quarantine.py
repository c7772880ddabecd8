"""Events that were refused, kept so that a person can see what their senders sent.

Owns the table ``quarantine``. It is bounded: a row that is added beyond ``MAX_ROWS`` pushes the
oldest out, in the same transaction. What falls out of time is pruned in small steps, by calls of
``prune``. Leaves which events get here, and how fast, to ``pipeline/quarantine.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import apsw
from msgspec import Struct

from alertd.errors import InvalidParameters
from alertd.model import RefusalReason
from alertd.store import cursor
from alertd.store.history import Page
from alertd.store.readers import Readers
from alertd.store.writer import DEFAULT_WAL_BYTES, Writer

MAX_ROWS: Final = 10_000
PRUNE_STEP_ROWS: Final = 500
"""Rows that one transaction deletes at most: a few milliseconds of the writer."""

_WAL_BYTES_PER_ROW: Final = 8192


class RefusedEvent(Struct, frozen=True, kw_only=True):
    """An event that was refused, as the table holds it."""

    received_us: int
    reason: RefusalReason
    path: str
    message: str
    event: str
    """The beginning of the event as JSON."""


class QuarantinedEvent(RefusedEvent, frozen=True, kw_only=True):
    """A row of the table; ids grow with the order of writing."""

    id: int


class QuarantineQuery(Struct, frozen=True, kw_only=True):
    """Which refused events to list."""

    reason: RefusalReason | None = None
    limit: int = 100
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class QuarantineTable:
    """The refused events: added by the quarantine, read by people."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def add(self, events: Sequence[RefusedEvent]) -> int:
        """Add ``events``, drop what is beyond ``MAX_ROWS``, and return how many there are now."""
        wal_bytes = DEFAULT_WAL_BYTES + len(events) * _WAL_BYTES_PER_ROW
        return await self._writer.run(
            "quarantine events", partial(_add, events), wal_bytes=wal_bytes
        )

    async def page(self, query: QuarantineQuery) -> Page[QuarantinedEvent]:
        """Return a page, the newest first. Raises ``InvalidParameters`` for a foreign cursor."""
        before = None if query.cursor is None else _row_id(query.cursor)
        return await self._readers.run(
            "read the quarantine", partial(_page, query.reason, before, query.limit)
        )

    async def count(self) -> int:
        """Return how many there are."""
        return await self._readers.run("count the quarantine", _count)

    async def prune(self, *, before_us: int) -> int:
        """Delete some of what was received up to ``before_us``; return how many those were.

        Call it again while that is ``PRUNE_STEP_ROWS``. Raises ``StoreUnavailable``.
        """
        return await self._writer.run(
            "prune the quarantine", partial(_prune, before_us), must_go_on=True
        )


def _add(events: Sequence[RefusedEvent], connection: apsw.Connection) -> int:
    connection.executemany(
        "INSERT INTO quarantine (received_us, reason, path, message, event) VALUES (?, ?, ?, ?, ?)",
        [
            (event.received_us, event.reason.value, event.path, event.message, event.event)
            for event in events
        ],
    )
    connection.execute(
        "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (MAX_ROWS,)
    )
    return _count(connection)


def _count(connection: apsw.Connection) -> int:
    # Rows go from the oldest end only, so the ends tell the number without a look at each.
    count: int = connection.execute(
        "SELECT coalesce((SELECT max(id) FROM quarantine) "
        "- (SELECT min(id) FROM quarantine) + 1, 0)"
    ).get
    return count


def _page(
    reason: RefusalReason | None, before: int | None, limit: int, connection: apsw.Connection
) -> Page[QuarantinedEvent]:
    rows = connection.execute(
        "SELECT id, received_us, reason, path, message, event FROM quarantine "
        "WHERE (?1 IS NULL OR reason = ?1) AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
        (None if reason is None else reason.value, before, limit + 1),
    )
    items = [
        QuarantinedEvent(
            id=row_id,
            received_us=received_us,
            reason=RefusalReason(reason_name),
            path=path,
            message=message,
            event=event,
        )
        for row_id, received_us, reason_name, path, message, event in rows
    ]
    page = tuple(items[:limit])
    return Page(page, cursor.encode(page[-1].id) if len(items) > limit else None)


def _prune(before_us: int, connection: apsw.Connection) -> int:
    connection.execute(
        "DELETE FROM quarantine "
        "WHERE id IN (SELECT id FROM quarantine ORDER BY id LIMIT ?) AND received_us <= ?",
        (PRUNE_STEP_ROWS, before_us),
    )
    return connection.changes()


def _row_id(text: str) -> int:
    """Return the id that a cursor stands for. Raises ``InvalidParameters``."""
    (row_id,) = cursor.integers(text, 1)
    if row_id < 1:
        raise InvalidParameters([cursor.NOT_A_CURSOR])
    return row_id
