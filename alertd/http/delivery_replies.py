"""What a message looks like, and how far it has come."""

from __future__ import annotations

from msgspec import Struct

from alertd.clock import Timestamp, format_us, optional_time
from alertd.http.wire import shown_endpoint
from alertd.outbound import DeliveryStatus
from alertd.store.deliveries import Delivery
from alertd.store.history import Page


class DeliveryReply(Struct, frozen=True, kw_only=True, rename="camel"):
    """One message and how far it has come."""

    id: str
    """Also the ``Idempotency-Key`` that it is sent with."""
    channel: str
    """Name of a configured channel, or the type of one that a rule names by its endpoint."""
    endpoint: str | None
    """Without its secret part, for which an ellipsis stands; null for a configured channel."""
    group_key: str
    """What its incidents have in common, as a JSON object."""
    kinds: tuple[str, ...]
    """``firing``, ``resolved``, ``repeat``, ``flapping``: what is in it."""
    status: DeliveryStatus
    """How far it has come."""
    attempts: int
    """That ended."""
    last_error: str | None
    """Why the last attempt that failed did so."""
    created_at: Timestamp
    """When it was begun."""
    next_attempt_at: Timestamp | None
    """Null once it has ended."""
    delivered_at: Timestamp | None
    """When it ended as SUCCESS."""
    failed_at: Timestamp | None
    """When it was given up."""
    incident_count: int
    """How many incidents it tells of."""
    incidents: tuple[str, ...]
    """Ids of the first 100."""


class DeliveryList(Struct, frozen=True, rename="camel"):
    """A page of messages, the newest first."""

    items: tuple[DeliveryReply, ...]
    """The messages."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class RequeueReply(Struct, frozen=True, rename="camel"):
    """A message that will be sent again."""

    id: str
    """The message's."""
    status: DeliveryStatus
    """Its new one."""


def delivery_list(page: Page[Delivery]) -> DeliveryList:
    """Return a page of messages as it is shown."""
    return DeliveryList(tuple(_delivery(item) for item in page.items), page.next_cursor)


def _delivery(item: Delivery) -> DeliveryReply:
    status, ended_at = item.status, optional_time(item.settled_us)
    return DeliveryReply(
        id=item.id,
        channel=item.target.channel,
        endpoint=shown_endpoint(item.target),
        group_key=item.group_key,
        kinds=item.kinds,
        status=status,
        attempts=item.attempts,
        last_error=item.last_error,
        created_at=format_us(item.created_us),
        next_attempt_at=(
            format_us(item.next_attempt_us) if status is DeliveryStatus.RETRY_PENDING else None
        ),
        delivered_at=ended_at if status is DeliveryStatus.SUCCESS else None,
        failed_at=ended_at if status is DeliveryStatus.FAILED else None,
        incident_count=item.incident_count,
        incidents=item.incidents,
    )
