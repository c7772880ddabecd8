"""ok → pending → firing → resolved, as a function of levels over time (SEMANTICS, section 4).

Owns the state machine of one (rule, group), and nothing else: no incident, no value, no
journal. It is told at which instants the level changes and how far time has gone, and answers
with what that means. The same machine runs live and over the past, when late data has changed
it (``past.py``).

Invariant: instants never go back; ``deadline_us`` is the only instant at which something can
happen without a change of level, and it is ``NEVER_US`` when nothing can.
"""

from __future__ import annotations

from typing import NamedTuple

from alertd.engine.condition import Level
from alertd.engine.window import NEVER_US
from alertd.model import EndReason, Rule


class Began(NamedTuple):
    """The condition turned true; it is pending."""

    at_us: int


class Dropped(NamedTuple):
    """The condition ended before it had held for long enough."""

    at_us: int


class Fired(NamedTuple):
    """The condition has held for long enough."""

    started_us: int
    fired_us: int


class Ended(NamedTuple):
    """The clear condition has held for long enough; it began at ``ended_us``."""

    ended_us: int
    reason: EndReason


Outcome = Began | Dropped | Fired | Ended

_REASON_OF_LEVEL = {Level.CLEAR: EndReason.RECOVERED, Level.NO_DATA: EndReason.NO_DATA}

MachineDump = tuple[int, int, int | None, int | None, int | None, EndReason]
"""A machine as plain data; see ``Machine.dump``."""


class Machine:
    """The phase of one (rule, group)."""

    __slots__ = ("_cleared_us", "_end_reason", "_fired_us", "_for_us", "_keep_firing_us",
                 "deadline_us", "level", "started_us")  # fmt: skip

    def __init__(self, rule: Rule, level: Level) -> None:
        """``level`` is where the condition stands before anything has been seen."""
        self._for_us = rule.for_us
        self._keep_firing_us = rule.keep_firing_us
        self.level = level
        self.deadline_us = NEVER_US
        self.started_us: int | None = None
        """When c turned true, while pending or firing."""
        self._fired_us: int | None = None  # while firing
        self._cleared_us: int | None = None  # when the clear condition began, while firing
        self._end_reason = EndReason.RECOVERED

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending or firing."""
        return self.started_us is None

    @property
    def open_since(self) -> Fired | None:
        """When what is firing started and fired, or None."""
        if self.started_us is None or self._fired_us is None:
            return None
        return Fired(self.started_us, self._fired_us)

    def change(self, at_us: int, level: Level) -> Outcome | None:
        """The level changes at ``at_us``; it held its former value up to there.

        Deadlines before ``at_us`` must have been served; one that this change makes due at once
        is to be served next.
        """
        self.level = level
        if self._fired_us is not None:
            self._change_while_firing(at_us, level)
            return None
        if level is Level.BREACH:
            if self.started_us is None:
                self.started_us = at_us
                self.deadline_us = at_us + self._for_us
                return Began(at_us)
        elif self.started_us is not None:
            self.started_us = None
            self.deadline_us = NEVER_US
            return Dropped(at_us)
        return None

    def serve(self, until_us: int) -> Outcome | None:
        """Fire or end if the deadline is at or before ``until_us``."""
        if self.deadline_us > until_us:
            return None
        assert self.started_us is not None
        if self._fired_us is None:
            self._fired_us = self.deadline_us
            self.deadline_us = NEVER_US
            return Fired(self.started_us, self._fired_us)
        assert self._cleared_us is not None
        ended = Ended(self._cleared_us, self._end_reason)
        self.reset()
        return ended

    def resume(self, started_us: int, fired_us: int) -> None:
        """Be in the midst of what started and fired then; the condition has held up to now."""
        self.started_us, self._fired_us = started_us, fired_us
        self._hold()
        self.level = Level.BREACH

    def reset(self) -> None:
        """Forget what is pending or firing; the level stays."""
        self.started_us = self._fired_us = None
        self._hold()

    def adopt(self, rule: Rule, at_us: int) -> None:
        """Go on from ``at_us`` under a rule with other durations."""
        self._for_us = rule.for_us
        self._keep_firing_us = rule.keep_firing_us
        if self._cleared_us is not None:
            self.deadline_us = max(self._cleared_us + rule.keep_firing_us, at_us)
        elif self.started_us is not None and self._fired_us is None:
            self.deadline_us = max(self.started_us + rule.for_us, at_us)

    def copy(self) -> Machine:
        """Return a machine in the same state."""
        twin = object.__new__(Machine)
        for name in Machine.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def _change_while_firing(self, at_us: int, level: Level) -> None:
        if level not in _REASON_OF_LEVEL:
            self._hold()
        elif self._cleared_us is None:
            self._cleared_us = at_us
            self._end_reason = _REASON_OF_LEVEL[level]
            self.deadline_us = at_us + self._keep_firing_us

    def _hold(self) -> None:
        """No clear condition holds, and nothing will happen without a change of level."""
        self._cleared_us = None
        self._end_reason = EndReason.RECOVERED
        self.deadline_us = NEVER_US

    def dump(self) -> MachineDump:
        """Return the state as plain data for a snapshot. Machines in one state have equal ones."""
        return (
            int(self.level),
            self.deadline_us,
            self.started_us,
            self._fired_us,
            self._cleared_us,
            self._end_reason,
        )

    def load(self, state: MachineDump) -> None:
        """Take what ``dump`` returned."""
        level, self.deadline_us, self.started_us, self._fired_us, self._cleared_us, reason = state
        self.level, self._end_reason = Level(level), EndReason(reason)
