"""What the engine can be told, besides a batch of events (``model.EventBatch``)."""

from __future__ import annotations

from array import array

from msgspec import Struct

from alertd.model import EndReason, EventBatch, Incident, Labels, Limits, Rule


class Tick(Struct, frozen=True):
    """Time has passed: it is ``now_us``, and every batch received before has been applied."""

    now_us: int


class RulesChanged(Struct, frozen=True, kw_only=True):
    """Some rules are new or edited, some are gone. Applied as one."""

    at_us: int
    put: tuple[Rule, ...] = ()
    dropped: tuple[tuple[str, EndReason], ...] = ()
    """Ids of rules that no longer watch, with the reason that their incidents end for."""
    limits: Limits | None = None
    """What is kept at most from now on, if that is another."""


class Overdue(Struct, frozen=True):
    """A group has had events that were older than its rule's lateness."""

    rule_id: str
    group: Labels
    least_us: int
    """The oldest of them, in event time."""


class Stretch(Struct, frozen=True, kw_only=True):
    """What has to be judged again for an ``Overdue``, and the events that this takes."""

    overdue: Overdue
    from_us: int
    """Where judging begins; it goes on to the horizon."""
    read_after_us: int
    """Events later than this, in event time, are needed."""
    received_from_us: int
    """When the rule became active: events received before are left out, unless they are later
    than ``warm_after_us``."""
    warm_after_us: int


class Reconsider(Struct, frozen=True, kw_only=True):
    """Judge a stretch again, by events that were read from the store."""

    now_us: int
    stretch: Stretch
    times_us: array[int]
    """Event times, ascending, equal ones in order of arrival; typecode ``q``."""
    values: array[float]
    before_times_us: array[int]
    """Those of them that had been received before the rule became active."""
    before_values: array[float]
    told: tuple[Incident, ...]
    """The group's incidents that overlap the stretch, by their start, as they were told last:
    whatever a ``Tick`` of ``now_us`` has to tell was told before."""


class Doubt(Struct, frozen=True, kw_only=True):
    """What was told and what the state says are not the same: let the store decide.

    So it is when the state was made anew without the beginning of the log, or by other code than
    what was told. What was told counts (SEMANTICS, section 6): each group becomes overdue.
    """

    now_us: int
    told: tuple[Incident, ...]
    """Incidents that are open by what was told, and not by the state."""
    found: tuple[Incident, ...]
    """Those that are open by the state, and not by what was told."""


class LookBack(Struct, frozen=True):
    """What a rule that is new, or whose windows are, wants to know of the past."""

    rule_id: str
    read_after_us: int
    """Events later than this, in event time, are needed."""
    lateness_us: int
    """The L by which the clocks of its groups go (``progress.Progress``)."""


class StoredGroup(Struct, frozen=True, kw_only=True):
    """The stored events of one group, and how far its clock has come by them."""

    labels: Labels
    times_us: array[int]
    """Event times, ascending, equal ones in order of arrival; typecode ``q``."""
    values: array[float]
    newest_us: int
    """M of SEMANTICS, section 5: the greatest event time that the wall clock has reached."""
    raised_us: int
    """R: when M was raised to that."""
    heard_us: int
    """When the last of the events was received."""
    clock_us: int
    """How far the clock has moved the horizon so far."""


class Backfill(Struct, frozen=True, kw_only=True):
    """Start a new rule warm: fill its windows with what was stored before it became active."""

    now_us: int
    rule_id: str
    groups: tuple[StoredGroup, ...]
    """Every group that has stored events later than ``LookBack.read_after_us``, by labels."""


Input = EventBatch | Tick | RulesChanged | Reconsider | Backfill | Doubt
