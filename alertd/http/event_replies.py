"""What is replied to events, and how refused ones are shown."""

from __future__ import annotations

from msgspec import Struct

from alertd.clock import Timestamp, format_us
from alertd.http.wire import ErrorItem
from alertd.model import RefusalReason
from alertd.store.history import Page
from alertd.store.quarantine import QuarantinedEvent


class EventReceipt(Struct, frozen=True, kw_only=True, rename="camel"):
    """The reply to accepted events."""

    accepted: int
    """Events that are durable now."""
    duplicates: int
    """Events whose ``id`` was accepted before; not stored again."""
    rejected: int
    """Events that were not taken."""
    errors: tuple[ErrorItem, ...]
    """Why not: the first 100 mistakes."""
    errors_truncated: bool
    """Whether there are more."""


class QuarantineReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One event that was refused."""

    id: int
    """Its number in the quarantine."""
    received_at: Timestamp
    """When it came."""
    reason: RefusalReason
    """Why it was refused."""
    path: str
    """Where in its request the first mistake was."""
    message: str
    """What was wrong there."""
    event: str
    """The event as JSON; one of more than 2 KiB is cut and ends with an ellipsis."""


class QuarantineList(Struct, frozen=True, rename="camel"):
    """A page of refused events, the newest first."""

    items: tuple[QuarantineReply, ...]
    """The refused events."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


def quarantine_list(page: Page[QuarantinedEvent]) -> QuarantineList:
    """Return a page of refused events as it is shown."""
    items = tuple(
        QuarantineReply(
            id=item.id,
            received_at=format_us(item.received_us),
            reason=item.reason,
            path=item.path,
            message=item.message,
            event=item.event,
        )
        for item in page.items
    )
    return QuarantineList(items, page.next_cursor)
