"""One (rule, group) as the engine sees it: the seam behind which another evaluator can stand.

Owns what the engine asks of a group, whatever its type of window, and what a group that need not
judge tells about that. Leaves the rest to ``window_group.py``, ``continuous.py``, ``resting.py``
and ``bucketed.py``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from alertd.engine.inputs import StoredGroup
from alertd.engine.lifecycle import Lifecycle
from alertd.engine.plan import Plan
from alertd.engine.sources import Sources
from alertd.engine.window import Window
from alertd.model import GroupState, Incident, Labels


class QuietClock(NamedTuple):
    """What an event that is kept without being judged moves; see ``window_group.py``."""

    horizon_us: int
    newest_us: int
    raised_us: int
    heard_us: int
    room: int
    """How many events the group may have before it must be looked at."""


class Rest(NamedTuple):
    """What must be known of a group that need not judge to keep quiet events for it."""

    clock: QuietClock
    lateness_us: int
    quiet: tuple[float, float]
    """The least and the greatest value that changes nothing."""
    roomy_until_us: int
    """Before this all of its events are in its window: when its room is used up it is only given
    more, unless that were more than ``most_room``."""
    most_room: int
    is_strict: bool
    """Whether each event must be later than the one before."""
    apart_us: int
    """How much later it may be."""
    trail_us: int
    """How far the horizon trails the newest event, unless the clock moves it."""
    times: array[int]
    """Its events' times, to which those of further ones are to be added."""
    values: array[float]
    """The same for the values."""


class Group(Protocol):
    """One (rule, group), whatever its type of window."""

    labels: Labels
    lifecycle: Lifecycle
    sources: Sources
    """The series that lead to it. Not its state."""
    wake_us: int
    ticket: int

    @property
    def rule_id(self) -> str:
        """The id of its rule."""
        ...

    @property
    def expires_us(self) -> int:
        """The wall time at which it is to be dropped if no event comes; or ``NEVER_US``."""
        ...

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event received at ``now_us``.

        False if it is older than the allowed lateness: then the windows of the past that it
        belongs to are not judged again here.
        """
        ...

    def rest(self) -> Rest | None:
        """Return what lets quiet events be kept for it, None if it has to judge."""
        ...

    def catch_up(self, clock: QuietClock) -> None:
        """Take the clock that these events have moved."""
        ...

    def note_gap(self, raised_us: int, now_us: int) -> None:
        """Count how long M has not been raised, if the clock has run ahead of it meanwhile."""
        ...

    def forgotten_until_us(self, now_us: int) -> int:
        """Return up to where a late event must find its events, if it is dropped at ``now_us``."""
        ...

    def heed_limits(self) -> None:
        """The plan has other limits than before."""
        ...

    def learn_peak(self, now_us: int) -> None:
        """Bring the open incident's peak value up to date; call this before looking at it."""
        ...

    def advance(self, now_us: int) -> None:
        """Judge what the clock has made due, and ask to be woken for what comes next."""
        ...

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        ...

    def reconsider(
        self,
        from_us: int,
        events: Window,
        before: Window,
        told: Sequence[Incident],
        late_us: int,
        now_us: int,
    ) -> None:
        """Judge ``[from_us, horizon]`` again by ``events``, which are complete for it."""
        ...

    def backfill(self, stored: StoredGroup, now_us: int) -> Iterator[None]:
        """Judge what was stored before the rule became active; the group is new."""
        ...

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        ...

    def horizon_us(self, now_us: int) -> int:
        """Return the event time judged so far at ``now_us``; the activation before any event."""
        ...

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands for a reader at ``now_us``, who moves nothing."""
        ...

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        ...

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        ...
