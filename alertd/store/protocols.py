"""The seams behind which another store can stand.

Owns the contracts only. Events and rules share one ordered log: whatever changes the engine's
state has a position in it, and replaying it from a position gives the same state again.
Incidents and the outbox are not behind a protocol: their one transaction is SQLite's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from alertd.model import EventBatch, Series
from alertd.rules import RuleChange, RuleRecord


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One input of the engine, at its place in the log. Positions start at 1 and only grow."""

    position: int
    body: EventBatch | RuleChange


class EventStore(Protocol):
    """The append-only log, and the series that its events refer to."""

    async def append(self, batches: Sequence[EventBatch], new_series: Sequence[Series]) -> int:
        """Make ``batches`` durable in one transaction, with the series they use first.

        Returns the position of the first; they are consecutive. Once it has been called, a
        cancelled caller does not undo it. Raises ``StoreUnavailable`` when nothing was written
        and it may be tried again; any other failure is ambiguous and must end the process.
        """
        ...

    def replay(self, after: int) -> AsyncIterator[LogEntry]:
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
