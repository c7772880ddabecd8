"""Looking at messages: which were delivered, which wait, which were given up.

Owns the queries of ``GET /api/notifications``. Pages run from the newest to the oldest. Leaves
redaction of endpoints to whoever shows them.
"""

from __future__ import annotations

from typing import Final

import apsw
from msgspec import Struct

from alertd.model import Target
from alertd.outbound import DeliveryStatus
from alertd.store import cursor
from alertd.store.history import Page

MAX_INCIDENTS_LISTED: Final = 100
"""Ids of incidents that one item names; the rest are counted."""


_TELLS: Final = (
    "seq IN (SELECT message_seq FROM notifications "
    "WHERE incident_seq = (SELECT seq FROM incidents WHERE id = ?))"
)


class DeliveryQuery(Struct, frozen=True, kw_only=True):
    """Which messages to list."""

    status: DeliveryStatus | None = None
    channel: str | None = None
    incident_id: str | None = None
    """Only messages that tell of it."""
    limit: int = 100
    """1 to ``MAX_PAGE_ITEMS``."""
    cursor: str | None = None
    """``next_cursor`` of the page before; None for the first."""


class Delivery(Struct, frozen=True, kw_only=True):
    """One message and how far it has come. The target's endpoint is not redacted."""

    id: str
    target: Target
    group_key: str
    kinds: tuple[str, ...]
    """What it says, in the order of the first of each."""
    status: DeliveryStatus
    attempts: int
    last_error: str | None
    created_us: int
    next_attempt_us: int
    settled_us: int | None
    incident_count: int
    incidents: tuple[str, ...]
    """The first ``MAX_INCIDENTS_LISTED`` ids."""


def check_delivery_query(query: DeliveryQuery) -> None:
    """Raise ``InvalidParameters`` for a limit out of range or a cursor that is not one of ours."""
    cursor.check_limit(query.limit)
    if query.cursor is not None:
        cursor.integers(query.cursor, 1)


def read_deliveries(query: DeliveryQuery, connection: apsw.Connection) -> Page[Delivery]:
    """Return the page that ``query``, which ``check_delivery_query`` passed, asks for.

    Cost: one index for FAILED or RETRY_PENDING; otherwise the newest messages are walked.
    """
    clauses, bindings = ["TRUE"], list[str | int]()
    if query.status is not None:
        # A constant, so that SQLite can use the index of just these.
        clauses.append(f"status = '{query.status.value}'")
    if query.channel is not None:
        clauses.append("channel = ?")
        bindings.append(query.channel)
    if query.incident_id is not None:
        clauses.append(_TELLS)
        bindings.append(query.incident_id)
    if query.cursor is not None:
        clauses.append("seq < ?")
        bindings += cursor.integers(query.cursor, 1)
    rows = list(
        connection.execute(
            "SELECT seq, id, channel, endpoint, group_key, status, attempts, last_error, "  # noqa: S608  # constants
            f"created_us, next_attempt_us, settled_us FROM messages WHERE {' AND '.join(clauses)} "
            "ORDER BY seq DESC LIMIT ?",
            (*bindings, query.limit + 1),
        )
    )
    items = tuple(_delivery(connection, *row) for row in rows[: query.limit])
    more = len(rows) > query.limit
    return Page(items, cursor.encode(rows[query.limit - 1][0]) if more else None)


def _delivery(
    connection: apsw.Connection,
    seq: int,
    message_id: str,
    channel: str,
    endpoint: str | None,
    group_key: str,
    status: str,
    attempts: int,
    last_error: str | None,
    created_us: int,
    next_attempt_us: int,
    settled_us: int | None,
) -> Delivery:
    told = list(
        connection.execute(
            "SELECT n.kind, i.id FROM notifications n JOIN incidents i ON i.seq = n.incident_seq "
            "WHERE n.message_seq = ? ORDER BY n.seq",
            (seq,),
        )
    )
    incidents = tuple(dict.fromkeys(incident_id for _, incident_id in told))
    return Delivery(
        id=message_id,
        target=Target(channel, endpoint),
        group_key=group_key,
        kinds=tuple(dict.fromkeys(kind for kind, _ in told)),
        status=DeliveryStatus(status),
        attempts=attempts,
        last_error=last_error,
        created_us=created_us,
        next_attempt_us=next_attempt_us,
        settled_us=settled_us,
        incident_count=len(incidents),
        incidents=incidents[:MAX_INCIDENTS_LISTED],
    )
