"""Requests that were accepted under an ``Idempotency-Key``, and what they were answered.

Owns the table ``request_keys``. A row is written in the transaction of the request's events, by
``event_log.py``; a later request under a key that has expired takes the row's place. Rows are
pruned from the oldest end, in small steps, by calls of ``prune``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

import apsw

from alertd.ingest.idempotency import AnsweredRequest, RequestId
from alertd.store.readers import Readers
from alertd.store.writer import Writer

PRUNE_STEP_ROWS: Final = 500
"""Rows that one transaction deletes at most: a few milliseconds of the writer."""
WAL_BYTES_PER_REQUEST: Final = 8192
"""Of a row, whose digest falls anywhere in the index; what its answer takes comes on top."""


class Pruned(NamedTuple):
    """What one step of pruning deleted."""

    rows: int
    forgotten_early: int
    """How many of them had not expired: there were too many."""


class RequestTable:
    """The answered requests, read by key."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def find(self, key_digest: bytes, *, since_us: int) -> AnsweredRequest | None:
        """Return the request of that key received after ``since_us``, None if there is none."""
        return await self._readers.run(
            "look up an Idempotency-Key", partial(_find, key_digest, since_us)
        )

    async def prune(self, *, before_us: int, max_rows: int) -> Pruned:
        """Delete some of what was received up to ``before_us``, or is beyond ``max_rows``.

        Call it again while it deletes ``PRUNE_STEP_ROWS``. Raises ``StoreUnavailable``.
        """
        return await self._writer.run(
            "forget Idempotency-Keys",
            partial(_prune, before_us, max_rows),
            must_go_on=True,
        )


def write(connection: apsw.Connection, requests: Iterable[AnsweredRequest]) -> None:
    """Remember ``requests``, in the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO request_keys (key_digest, body_digest, received_us, answer) "
        "VALUES (?, ?, ?, ?)",
        [
            (
                request.id.key_digest,
                request.id.body_digest,
                request.received_us,
                request.answer.decode(),
            )
            for request in requests
        ],
    )


def _find(key_digest: bytes, since_us: int, connection: apsw.Connection) -> AnsweredRequest | None:
    row = connection.execute(
        "SELECT body_digest, received_us, answer FROM request_keys "
        "WHERE key_digest = ? AND received_us > ?",
        (key_digest, since_us),
    ).fetchone()
    if row is None:
        return None
    body_digest, received_us, answer = row
    return AnsweredRequest(RequestId(key_digest, body_digest), received_us, answer.encode())


def _prune(before_us: int, max_rows: int, connection: apsw.Connection) -> Pruned:
    # Rows are numbered in the order of their writing, so the oldest have the least numbers.
    deleted = connection.execute(
        "DELETE FROM request_keys "
        "WHERE seq IN (SELECT seq FROM request_keys ORDER BY seq LIMIT ?) "
        "AND (received_us <= ? OR seq <= (SELECT max(seq) FROM request_keys) - ?) "
        "RETURNING received_us",
        (PRUNE_STEP_ROWS, before_us, max_rows),
    )
    early = [received_us > before_us for (received_us,) in deleted]
    return Pruned(len(early), sum(early))
