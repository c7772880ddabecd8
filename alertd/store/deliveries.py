"""Looking at messages: which were delivered, which wait, which were given up.

Owns the queries of ``GET /api/notifications``. Pages run from the newest to the oldest. Invariant:
as ``incident_query.py`` has it, a page looks at a bounded number of messages. Leaves redaction of
endpoints to those who show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import apsw
from msgspec import Struct

from alertd.model import Target
from alertd.outbound import DeliveryStatus
from alertd.store import cursor
from alertd.store.history import Page
from alertd.store.incident_query import MAX_LOOKED_AT

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

    Cost: a walk, from the newest on, over what has FAILED or over all messages, ``MAX_LOOKED_AT``
    of them at most.
    """
    walk, bindings = _walk(query)
    only, only_bindings = _only(query)
    first = _beyond(walk, bindings, connection) if only else None
    rows = list(
        connection.execute(
            "SELECT seq, id, channel, endpoint, group_key, status, attempts, last_error, "  # noqa: S608  # constants
            f"created_us, next_attempt_us, settled_us FROM {walk}{only} AND seq >= ? "
            "ORDER BY seq DESC LIMIT ?",
            (*bindings, *only_bindings, first or 0, query.limit + 1),
        )
    )
    items = tuple(_delivery(connection, *row) for row in rows[: query.limit])
    rest_end = rows[query.limit - 1][0] if len(rows) > query.limit else first
    return Page(items, None if rest_end is None else cursor.encode(rest_end))


def _walk(query: DeliveryQuery) -> tuple[str, list[str | int]]:
    """Return which messages are walked over, made of constants, and the values to bind to it."""
    end = 2**63 - 1 if query.cursor is None else cursor.integers(query.cursor, 1)[0]
    walk = "messages NOT INDEXED WHERE seq < ?"
    bindings: list[str | int] = [end]
    if query.status is DeliveryStatus.FAILED:
        walk = "messages INDEXED BY messages_failed WHERE status = 'FAILED' AND seq < ?"
    if query.incident_id is None:
        return walk, bindings
    return f"{walk} AND {_TELLS}", [*bindings, query.incident_id]


def _only(query: DeliveryQuery) -> tuple[str, list[str]]:
    """Return what has to be looked at message by message, likewise."""
    clauses, bindings = "", []
    if query.status not in (None, DeliveryStatus.FAILED):
        clauses += " AND status = ?"
        bindings.append(query.status.value)
    if query.channel is not None:
        clauses += " AND channel = ?"
        bindings.append(query.channel)
    return clauses, bindings


def _beyond(walk: str, bindings: Sequence[str | int], connection: apsw.Connection) -> int | None:
    """Return behind which message a page has looked at all that it may, None if at the end."""
    seq: int | None = connection.execute(
        f"SELECT seq + 1 FROM {walk} ORDER BY seq DESC LIMIT 1 OFFSET ?",  # noqa: S608  # constants
        (*bindings, MAX_LOOKED_AT),
    ).get
    return seq


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
