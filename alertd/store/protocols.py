"""The seams behind which another store can stand.

Owns the contracts only. Events and rules share one ordered log: whatever changes the engine's
state has a position in it, and replaying it from a position gives the same state again.
Incidents and the outbox are not behind a protocol: their one transaction is SQLite's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from alertd.ingest.idempotency import AnsweredRequest
from alertd.model import EventBatch, Series
from alertd.rules import RuleChange, RuleRecord

if TYPE_CHECKING:
    from alertd.store.event_columns import EventColumns


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One input of the engine, at its place in the log. Positions start at 1 and only grow."""

    position: int
    body: EventBatch | RuleChange


class StoredEvents(NamedTuple):
    """Events of one entry of the log that a read asked for, in their order there."""

    position: int
    batch: EventBatch


class TimeSpan(NamedTuple):
    """The least and the greatest event time that is stored."""

    least_us: int
    greatest_us: int


class EventReads(Protocol):
    """The stored events, whoever may write more."""

    async def span(self) -> TimeSpan | None:
        """Return between which event times there are events, None if there are none."""
        ...

    def read(
        self,
        series_ids: Collection[int],
        from_us: int,
        until_us: int,
        *,
        after: int = 0,
        through: int | None = None,
    ) -> AsyncGenerator[StoredEvents, None]:
        """Yield the events of ``series_ids`` with ``from_us < t <= until_us``, in log order.

        Only entries at positions in ``(after, through]`` are looked at; ``through = None`` is the
        end of the log when the read begins. An entry without such events is not yielded; what is
        yielded keeps its receive time and its ids. As entries never change, the same arguments
        give the same events, but for entries that retention has removed since.

        Cost: that of the entries whose span of event times meets the range, not of the whole
        log. Memory is bounded whatever the range, and the store is held only while a part is
        read, never between two parts: take as long as you like, add checkpoints of your own (a
        part may be 50,000 events, without one), and use ``contextlib.aclosing`` if you may leave
        early. Raises ``StoreUnavailable``, after which it may be asked again, and
        ``StoreCorrupt``, naming the position, for an entry that is damaged.
        """
        ...

    def read_columns(
        self, series_ids: Collection[int], from_us: int, until_us: int
    ) -> AsyncGenerator[EventColumns, None]:
        """Yield the same events in columns, many entries at a time.

        For whoever needs a few of many: no object is made for an event. The rest is as with
        ``read``.
        """
        ...

    async def events_per_series_us(self, from_us: int) -> float:
        """Return about how many events a series has in a microsecond behind ``from_us``.

        A guess to begin with: 0 where nothing is known.
        """
        ...


class EventStore(EventReads, Protocol):
    """The append-only log, and the series that its events refer to."""

    async def append(
        self,
        batches: Sequence[EventBatch],
        new_series: Sequence[Series],
        answered: Sequence[AnsweredRequest] = (),
    ) -> int:
        """Make ``batches`` durable in one transaction, with the series they use first.

        ``answered`` are those of the requests they came in that had a key. Returns the position
        of the first; they are consecutive. Once it has been called, a
        cancelled caller does not undo it. Raises ``StoreUnavailable`` when nothing was written
        and it may be tried again; any other failure is ambiguous and must end the process.
        """
        ...

    def replay(self, after: int) -> AsyncGenerator[LogEntry, None]:
        """Yield every entry behind position ``after``, in order."""
        ...

    async def all_series(self) -> list[Series]:
        """Return every series, by id."""
        ...


class RuleStore(Protocol):
    """The rules as they are now; each change is also an entry of the log."""

    async def all(self) -> list[RuleRecord]:
        """Return every rule, by name."""
        ...

    async def apply(self, change: RuleChange) -> int:
        """Make ``change`` durable, rows and log entry together, and return its position."""
        ...
