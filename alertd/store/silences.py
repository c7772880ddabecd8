"""Silences on disk: they survive restarts, and those that are over are kept for a while.

Owns the table ``silences``. Leaves their meaning to ``notify/silence.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import apsw
import msgspec
from msgspec import Struct

from alertd.model import US_PER_S, Matcher
from alertd.notify.silence import Silence
from alertd.store import cursor
from alertd.store.history import Page
from alertd.store.readers import Readers
from alertd.store.writer import Writer

KEPT_US: Final = 90 * 86_400 * US_PER_S
"""How long one is kept after its end; what is older goes when another one is written."""

_decode_matchers = msgspec.json.Decoder(tuple[Matcher, ...]).decode


class SilenceQuery(Struct, frozen=True, kw_only=True):
    """Which silences to list."""

    limit: int = 100
    """1 to ``MAX_PAGE_ITEMS``."""
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class SilenceTable:
    """The silences: written when somebody asks, read at start."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def put(self, silence: Silence) -> None:
        """Add ``silence``, or write it anew."""
        await self._writer.run("write a silence", partial(_put, silence))

    async def expire(self, silence_id: str, now_us: int) -> Silence | None:
        """End a silence now; return it as it is then, None if there is none of that id.

        What it holds back is due to be looked at now, in the same transaction. One that is over
        stays as it is.
        """
        return await self._writer.run("end a silence", partial(_expire, silence_id, now_us))

    async def get(self, silence_id: str) -> Silence | None:
        """Return one silence, None if there is none of that id."""
        return await self._readers.run("read a silence", partial(_get, silence_id))

    async def since(self, now_us: int) -> list[Silence]:
        """Return the silences that are not over at ``now_us``, those that end first, first."""
        return await self._readers.run("read the silences", partial(_since, now_us))

    async def page(self, query: SilenceQuery) -> Page[Silence]:
        """Return a page of silences, over or not, those that end last first.

        Raises ``InvalidParameters`` for a limit out of range or a cursor that is not one of ours.
        """
        cursor.check_limit(query.limit)
        before = None if query.cursor is None else cursor.time_and_id(query.cursor)
        return await self._readers.run("list the silences", partial(_page, query.limit, before))


_COLUMNS: Final = "id, matchers, starts_us, ends_us, created_us, created_by, comment"


def _put(silence: Silence, connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM silences WHERE ends_us < ?", (silence.created_us - KEPT_US,))
    connection.execute(
        f"INSERT OR REPLACE INTO silences ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  # constants
        (
            silence.id,
            msgspec.json.encode(silence.matchers).decode(),
            silence.starts_us,
            silence.ends_us,
            silence.created_us,
            silence.created_by,
            silence.comment,
        ),
    )


def _expire(silence_id: str, now_us: int, connection: apsw.Connection) -> Silence | None:
    silence = _get(silence_id, connection)
    if silence is None or silence.ends_us <= now_us:
        return silence
    # One that has not begun never does.
    ended = msgspec.structs.replace(
        silence, starts_us=min(silence.starts_us, now_us), ends_us=now_us
    )
    _put(ended, connection)
    connection.execute(
        "UPDATE notifications SET look_us = ? "
        "WHERE held_ref = ? AND message_seq IS NULL AND look_us IS NOT NULL",
        (now_us, silence_id),
    )
    return ended


def _get(silence_id: str, connection: apsw.Connection) -> Silence | None:
    return next(_read(connection, "WHERE id = ?", silence_id), None)


def _since(now_us: int, connection: apsw.Connection) -> list[Silence]:
    return list(_read(connection, "WHERE ends_us > ? ORDER BY ends_us", now_us))


def _page(limit: int, before: tuple[int, str] | None, connection: apsw.Connection) -> Page[Silence]:
    where = "" if before is None else "WHERE (ends_us, id) < (?, ?) "
    found = list(
        _read(
            connection,
            f"{where}ORDER BY ends_us DESC, id DESC LIMIT ?",
            *(before or ()),
            limit + 1,
        )
    )
    items = tuple(found[:limit])
    if len(found) <= limit:
        return Page(items, None)
    return Page(items, cursor.encode(items[-1].ends_us, items[-1].id))


def _read(connection: apsw.Connection, where: str, *bound: str | int) -> Iterator[Silence]:
    for silence_id, matchers, *rest in list(
        connection.execute(f"SELECT {_COLUMNS} FROM silences {where}", bound)  # noqa: S608  # constants
    ):
        starts_us, ends_us, created_us, created_by, comment = rest
        yield Silence(
            id=silence_id,
            matchers=_decode_matchers(matchers),
            starts_us=starts_us,
            ends_us=ends_us,
            created_us=created_us,
            created_by=created_by,
            comment=comment,
        )
