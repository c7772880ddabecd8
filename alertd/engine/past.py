"""The stretch of event time that late events may still change, and how it is judged again.

Owns the levels of one group since a point behind its allowed lateness, the machine's state at
that point and before each change of level, the incidents that were told and ended since, and the
intervals that were over before the rule became active, which are not told. A late event changes
the levels of a range; the machine then runs from there until it is in the state that was recorded,
and what it finds is held against what was told (``corrections.py``).

Invariant: ``base`` after all of ``changes`` is the live machine, and each state is what it was on
its way there. Nothing is kept of a group that has been quiet for as long as its lateness.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from alertd.engine.condition import Level
from alertd.engine.machine import Ended, Machine, MachineDump
from alertd.engine.window import BEFORE_TIME_US
from alertd.model import EndReason, Incident

Change = tuple[int, Level]
"""An instant, and the level from there on."""

Interval = tuple[int, int]
"""``[start, end)``."""

PastDump = tuple[
    MachineDump, int, tuple[tuple[int, int], ...], tuple[Incident, ...], tuple[Interval, ...]
]
"""A past as plain data; see ``Past.dump``."""


class Found(NamedTuple):
    """A breach interval ``[started_us, ended_us)`` as the present data has it."""

    started_us: int
    fired_us: int
    ended_us: int | None
    """None while it holds at the horizon."""
    reason: EndReason | None


class Past:
    """Levels since ``base``, ascending, and what has ended since."""

    __slots__ = ("_states", "base", "changes", "covered_us", "ended", "passed")

    def __init__(self, base: Machine) -> None:
        self.base = base
        self.covered_us = BEFORE_TIME_US
        """The end of the last breach interval that lies wholly before ``base``."""
        self.changes: list[Change] = []
        self._states: list[MachineDump] = []  # the machine's just before each of the changes
        self.ended: list[Incident] = []
        self.passed: list[Interval] = []
        """What events that came before the rule had shown, and what was over by then."""

    def note(self, at_us: int, level: Level, machine: Machine) -> None:
        """The level changes at ``at_us``, which is not before any earlier change.

        ``machine`` is the live one, which has served everything before, and not yet this.
        """
        self.changes.append((at_us, level))
        self._states.append(machine.dump())

    def revise(
        self, from_us: int, until_us: int, levels: list[Change], horizon_us: int
    ) -> tuple[list[Found], Machine | None]:
        """Replace the levels of ``[from_us, until_us)``, not before base, by ``levels``.

        ``levels`` begins at ``from_us``. What held at ``until_us`` holds from there again, if
        that is not beyond the horizon.

        The machine runs over what is new, and on from there until it is in the state that it had.
        What happens then is known; if it is firing there, the end of that is looked up. Returns
        what it finds on its way, and its state at the horizon; None where that is what it was.
        O(log n) and the changes that it passes.
        """
        first, unchanged = self._splice(from_us, until_us, levels, horizon_us)
        machine, place = self.base.copy(), max(0, first - 1)
        if first:
            machine.load(self._states[place])
        found: list[Found] = []
        while place < len(self.changes):
            at_us, level = self.changes[place]
            found += _served(machine, at_us - 1)
            state = machine.dump()
            if place >= unchanged and state == self._states[place]:
                if machine.open_since is None:
                    return found, None
                place = self._last_while_open(place, state)
                machine.load(self._states[place])
                at_us, level = self.changes[place]
            else:
                self._states[place] = state
            machine.change(at_us, level)
            found += _served(machine, at_us)
            place += 1
        return found + _rest(machine, horizon_us), machine

    def _last_while_open(self, place: int, state: MachineDump) -> int:
        """Return the place of the last change up to which what is firing in ``state`` does so."""
        open_since = _open_since(state)
        return (
            bisect_left(
                self._states,
                True,
                place + 1,
                key=lambda later: _open_since(later) != open_since,
            )
            - 1
        )

    def _splice(
        self, from_us: int, until_us: int, levels: list[Change], horizon_us: int
    ) -> tuple[int, int]:
        """Put the new levels in; return the place of the first, and of the first behind them."""
        first = bisect_left(self.changes, from_us, key=_instant)
        last = bisect_right(self.changes, until_us, key=_instant)
        before = self.changes[first - 1][1] if first else self.base.level
        resumed = self.changes[last - 1][1] if last else self.base.level
        after = [(until_us, resumed)] if until_us <= horizon_us else []
        new = _without_repeats(before, [*levels, *after])
        self.changes[first:last] = new
        self._states[first:last] = [self.base.dump()] * len(new)  # until the machine comes by
        return first, first + len(new)

    def find_all(self, horizon_us: int) -> list[Found]:
        """Return what the machine finds in the whole stretch. O(changes)."""
        machine, found = self.base.copy(), []
        for at_us, level in self.changes:
            found += _served(machine, at_us - 1)
            machine.change(at_us, level)
            found += _served(machine, at_us)
        return found + _rest(machine, horizon_us)

    def ended_near(self, found: Sequence[Found]) -> list[Incident]:
        """Return the ended incidents that may touch any of ``found``, by their start."""
        return self.ended_between(found[0].started_us, found[-1].ended_us) if found else []

    def ended_between(self, first_us: int, last_us: int | None) -> list[Incident]:
        """Return the ended incidents that touch a stretch, to no end if it is None, by their start.

        O(ended incidents), some 30 ns each.
        """
        near = [
            incident
            for incident in self.ended
            if (last_us is None or incident.started_us <= last_us)
            and incident.ended_us is not None
            and incident.ended_us >= first_us
        ]
        return sorted(near, key=lambda incident: incident.started_us)

    def replace(self, corrected: Sequence[Incident]) -> None:
        """Put corrected incidents in the places of their former selves."""
        if corrected:
            by_id = {incident.id: incident for incident in corrected}
            self.ended = [by_id.get(old.id, old) for old in self.ended]

    @property
    def is_empty(self) -> bool:
        """Whether ``base`` is all that is remembered."""
        return not (self.changes or self.ended or self.passed)

    @property
    def is_calm(self) -> bool:
        """Whether nothing was pending or firing in it at any time. O(changes)."""
        return (
            self.base.is_idle
            and not (self.ended or self.passed)
            and all(started_us is None for _, _, started_us, *_ in self._states)
        )

    def leave_untold(self) -> None:
        """Take what has ended for passed: the rule was not yet active."""
        self.passed = [(i.started_us, i.ended_us) for i in self.ended if i.ended_us is not None]
        self.ended = []

    def is_outdated(self, time_us: int) -> bool:
        """Return whether about half of anything that is remembered lies before ``time_us``. O(1).

        So forgetting is amortised O(1), and what there is one of goes at once.
        """
        changes, ended, passed = self.changes, self.ended, self.passed
        return bool(
            (changes and changes[len(changes) // 2][0] < time_us)
            or (passed and passed[len(passed) // 2][1] < time_us)
            or (ended and (ended[len(ended) // 2].ended_us or 0) < time_us)
        )

    def forget_before(self, time_us: int) -> None:
        """Move ``base`` up to just before ``time_us``, which no late event reaches any more.

        O(changes that are forgotten).
        """
        kept = bisect_left(self.changes, time_us, key=_instant)
        for at_us, level in self.changes[:kept]:
            self._cover(_served(self.base, at_us - 1))
            self.base.change(at_us, level)
            self._cover(_served(self.base, at_us))
        self._cover(_served(self.base, time_us - 1))
        del self.changes[:kept], self._states[:kept]
        # What base is still in the middle of may have been told already, and must be recognised.
        begun_us = self.base.started_us
        oldest_us = time_us if begun_us is None else min(time_us, begun_us)
        self.ended = [
            incident
            for incident in self.ended
            if incident.ended_us is not None and incident.ended_us >= oldest_us
        ]
        self.passed = [each for each in self.passed if each[1] >= oldest_us]

    def _cover(self, found: Sequence[Found]) -> None:
        """Remember up to where a breach was, which nobody can read off the levels any more."""
        for each in found:
            if each.ended_us is not None:
                self.covered_us = max(self.covered_us, each.ended_us)

    def dump(self) -> tuple[object, ...]:
        """Return the past as plain data for a snapshot."""
        changes = tuple((at_us, int(level)) for at_us, level in self.changes)
        ended = tuple(map(msgspec.to_builtins, self.ended))
        return self.base.dump(), self.covered_us, changes, ended, tuple(self.passed)

    def load(self, state: PastDump) -> None:
        """Take what ``dump`` returned. O(changes): the machine runs over them again."""
        base, self.covered_us, changes, ended, passed = state
        self.base.load(base)
        self.ended = list(ended)
        self.passed = list(passed)
        machine = self.base.copy()
        for at_us, level in changes:
            _served(machine, at_us - 1)
            self.note(at_us, Level(level), machine)
            machine.change(at_us, Level(level))
            _served(machine, at_us)


def _rest(machine: Machine, horizon_us: int) -> list[Found]:
    """Let the machine come to the horizon; return what ends on the way, and what is open there."""
    found = _served(machine, horizon_us)
    still_open = machine.open_since
    if still_open is not None:
        found.append(Found(still_open.started_us, still_open.fired_us, None, None))
    return found


def _served(machine: Machine, until_us: int) -> list[Found]:
    """Serve the machine's deadlines up to ``until_us``; return the intervals that end there."""
    found: list[Found] = []
    while True:
        opened = machine.open_since
        outcome = machine.serve(until_us)
        if outcome is None:
            return found
        if isinstance(outcome, Ended) and opened is not None:
            found.append(Found(*opened, outcome.ended_us, outcome.reason))


def _open_since(state: MachineDump) -> tuple[int | None, int | None]:
    _, _, started_us, fired_us, *_ = state
    return started_us, fired_us


def _instant(change: Change) -> int:
    return change[0]


def _without_repeats(before: Level, changes: list[Change]) -> list[Change]:
    kept = []
    for at_us, level in changes:
        if level is not before:
            kept.append((at_us, level))
        before = level
    return kept
