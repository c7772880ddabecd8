"""Stored events and series as they are shown, over HTTP and on the command line alike.

Owns the field names. It needs no web framework, so that ``alertd events`` starts quickly.
"""

from __future__ import annotations

from msgspec import Struct

from alertd.clock import Timestamp, format_us, optional_time
from alertd.store.event_pages import SeriesTotals, StoredEvent
from alertd.store.history import Page
from alertd.store.rollup_pages import Bucket


class EventItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """One event as it was accepted."""

    metric_name: str
    """What was measured or counted."""
    timestamp: Timestamp
    """When it happened."""
    value: float
    """The measurement."""
    labels: dict[str, str]
    """What it is about; with the metric they are the series."""
    id: str | None
    """The sender's id of it."""
    received_at: Timestamp
    """When its request had arrived."""


class EventList(Struct, frozen=True, rename="camel"):
    """A page of events, in the order of their times."""

    items: tuple[EventItem, ...]
    """The events."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class BucketItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """The events of one series in a stretch of time that begins at ``timestamp``."""

    metric_name: str
    """What was measured or counted."""
    timestamp: Timestamp
    """Where the stretch begins."""
    labels: dict[str, str]
    """What it is about; with the metric they are the series."""
    count: int
    """Events in it."""
    sum: float
    """Of their values, correctly rounded."""
    min: float
    """The least of them."""
    max: float
    """The greatest of them."""


class BucketList(Struct, frozen=True, rename="camel"):
    """A page of them, in the order of time."""

    items: tuple[BucketItem, ...]
    """The stretches."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


class SeriesItem(Struct, frozen=True, kw_only=True, rename="camel"):
    """One series. The times are those of events, None where none was ever accepted."""

    metric_name: str
    """What is measured or counted."""
    labels: dict[str, str]
    """What it is about."""
    first_seen: Timestamp | None
    """Time of its first event."""
    last_seen: Timestamp | None
    """Time of its last event."""
    count: int
    """Events accepted and not a duplicate, also those that are no longer stored."""


class SeriesList(Struct, frozen=True, rename="camel"):
    """A page of series, in the order in which they were first seen."""

    items: tuple[SeriesItem, ...]
    """The series."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


def event_item(event: StoredEvent) -> EventItem:
    """Return an event as it is shown."""
    return EventItem(
        metric_name=event.series.metric_name,
        timestamp=format_us(event.time_us),
        value=event.value,
        labels=dict(event.series.labels),
        id=event.id,
        received_at=format_us(event.received_us),
    )


def event_list(page: Page[StoredEvent]) -> EventList:
    """Return a page of events as it is shown."""
    return EventList(tuple(map(event_item, page.items)), page.next_cursor)


def bucket_item(bucket: Bucket) -> BucketItem:
    """Return summed up events as they are shown."""
    summary = bucket.summary
    return BucketItem(
        metric_name=bucket.series.metric_name,
        timestamp=format_us(bucket.start_us),
        labels=dict(bucket.series.labels),
        count=summary.events,
        sum=summary.total,
        min=summary.least,
        max=summary.greatest,
    )


def bucket_list(page: Page[Bucket]) -> BucketList:
    """Return a page of summed up events as it is shown."""
    return BucketList(tuple(map(bucket_item, page.items)), page.next_cursor)


def series_list(page: Page[SeriesTotals]) -> SeriesList:
    """Return a page of series as it is shown."""
    return SeriesList(tuple(map(_series_item, page.items)), page.next_cursor)


def _series_item(item: SeriesTotals) -> SeriesItem:
    totals = item.totals
    return SeriesItem(
        metric_name=item.series.metric_name,
        labels=dict(item.series.labels),
        first_seen=optional_time(totals.first_us),
        last_seen=optional_time(totals.last_us),
        count=totals.count,
    )
