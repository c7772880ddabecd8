"""What has happened in a world so far: everything that the checkers go by, and its trace.

The trace is a list of lines, one for each thing that can be seen from outside, and what is left
in the database at the end. Two runs of one seed must give the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import trio

from alertd.rules import RuleSpec
from tests.simulation.plan import Event, Plan
from tests.simulation.receivers import Attempt, Delivery

EventName = tuple[str, int]
"""What an event is known by: its host and its time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told of its request: that all but some of its events are durable."""

    at_us: int
    refused: frozenset[int]
    """Which of the events were refused, by their place in the body."""
    error: str | None = None
    """Why it was refused as a whole."""


@dataclass(slots=True)
class Hushed:
    """A silence that somebody was promised."""

    id: str
    host: str | None
    """What it is about; None for everything."""
    begins_us: int
    ends_us: int
    """Between these it is certain that it holds."""


@dataclass(slots=True)
class Request:
    """A body of events that a client sends, and how that went."""

    number: int
    key: str | None
    body: bytes
    events: tuple[tuple[EventName, Event], ...]
    answers: list[Answer] = field(default_factory=list)
    unanswered: int = 0
    """Attempts after which nobody can say whether the events were stored."""

    @property
    def acknowledged(self) -> set[EventName]:
        """The events that are durable, by what the client was told."""
        return {
            name
            for answer in self.answers
            for place, (name, _) in enumerate(self.events)
            if place not in answer.refused
        }

    @property
    def is_repeatable(self) -> bool:
        """Whether sending it again must not store anything twice."""
        return self.key is not None or all(event.has_id for _, event in self.events)


@dataclass
class Story:
    """One world as seen from outside."""

    plan: Plan
    filed: tuple[RuleSpec, ...] = ()
    """The rules that stand in the files."""
    used_times: set[int] = field(default_factory=set)
    hushed: list[Hushed] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """When somebody was promised that an incident is acknowledged, by its id."""
    requeued: set[str] = field(default_factory=set)
    """The ids of messages that somebody asked to have sent again, or now."""
    requests: list[Request] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    refusals: list[Delivery] = field(default_factory=list)
    """What receivers refused for good."""
    attempts: list[Attempt] = field(default_factory=list)
    """That ended, in that order."""
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
