"""What has happened in a world so far: everything that the checkers go by, and its trace.

The trace is a list of lines, one for each thing that can be seen from outside, and what is left
in the database at the end. Two runs of one seed must give the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import trio

from tests.simulation.plan import Event, Plan
from tests.simulation.receivers import Delivery

EventName = tuple[str, int]
"""What an event is known by: its host and its time."""


@dataclass(slots=True)
class Request:
    """A body of events that a client sends, and how that went."""

    number: int
    key: str | None
    body: bytes
    events: tuple[tuple[EventName, Event], ...]
    attempts: int = 0
    answers: list[bytes] = field(default_factory=list)
    """The receipts; each says that the events are durable."""
    unanswered: int = 0
    """Attempts after which nobody can say whether the events were stored."""

    @property
    def good(self) -> list[tuple[EventName, Event]]:
        """The events that are to be stored."""
        return [(name, event) for name, event in self.events if not event.is_bad]

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it again must not store anything twice."""
        return self.key is not None or all(event.has_id for _, event in self.events)


@dataclass
class Story:
    """One world as seen from outside."""

    plan: Plan
    requests: list[Request] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    crashes: int = 0
    """Ends of the daemon that were not in order."""
    lives: int = 0
    repeats_allowed: int = 0
    """Deliveries that a receiver forgot, so that they were made again."""
    most_under_way: int = 0
    findings: list[str] = field(default_factory=list)
    """Bounds that were passed, and errors that must not be."""
    trace: list[str] = field(default_factory=list)

    def note(self, *what: object) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{trio.current_time():10.4f} " + " ".join(map(str, what)))

    def digest(self) -> str:
        """Return a hash of the trace."""
        return blake2b("\n".join(self.trace).encode(), digest_size=8).hexdigest()
