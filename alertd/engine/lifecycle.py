"""From condition to incident: ok → pending → firing → resolved (SEMANTICS, sections 4 and 6).

Owns the incidents of one (rule, group): it runs the machine (``machine.py``), remembers the past
that late events may change (``past.py``), and writes the transitions that follow into the
journal. Leaves to the windows how a level comes about: they give a ``Sight`` of the window
where a transition needs its values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple, Protocol

import msgspec

from alertd.engine.condition import Level, is_worse
from alertd.engine.corrections import Correction, Grown, New, Over, correct
from alertd.engine.journal import Journal
from alertd.engine.machine import Began, Dropped, Ended, Fired, Machine, MachineDump, Outcome
from alertd.engine.past import Change, Found, Interval, Past, PastDump
from alertd.engine.retrospect import Look, Retrospect, breaches
from alertd.engine.window import NEVER_US, Sight
from alertd.model import (
    DetectedBy,
    EndReason,
    GroupState,
    Incident,
    Labels,
    Rule,
    Transition,
    TransitionKind,
    continuation_id,
    incident_id,
)

LifecycleDump = tuple[MachineDump, float | None, Incident | None, PastDump | None]
"""A lifecycle as plain data; see ``Lifecycle.dump``."""

_ENDINGS = (Level.CLEAR, Level.NO_DATA)


class Viewer(Protocol):
    """Whatever can show its window: a group."""

    def sight(self, at_us: int) -> Sight:
        """Return what the window holds now, seen as the window of the instant ``at_us``."""
        ...


class Discovery(NamedTuple):
    """How it came about that the past is judged again."""

    detected_by: DetectedBy
    late_by_us: int


class Lifecycle:
    """The state of one (rule, group): its level, its phase and its open incident."""

    __slots__ = ("_active_us", "_group", "_journal", "_machine", "_past", "_rule", "incident",
                 "peak")  # fmt: skip

    def __init__(
        self, rule: Rule, active_us: int, level: Level, group: Labels, journal: Journal
    ) -> None:
        """``level`` is where the condition stands before anything has been seen."""
        self._rule = rule
        self._active_us = active_us
        self._group = group
        self._journal = journal
        self._machine = Machine(rule, level)
        # None while it is idle and nothing has changed for as long as a late event may reach back.
        self._past: Past | None = None
        self.incident: Incident | None = None
        self.peak: float | None = None

    @property
    def level(self) -> Level:
        """Where the condition stands."""
        return self._machine.level

    @property
    def deadline_us(self) -> int:
        """The next instant at which something happens without a change of level."""
        return self._machine.deadline_us

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending or firing."""
        return self._machine.is_idle and self.incident is None

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to know of it but its level."""
        return self.is_idle and self._past is None and self.peak is None

    @property
    def is_steady(self) -> bool:
        """Whether it is firing, in breach, and only a change of level can change that."""
        machine = self._machine
        return (
            self.incident is not None
            and machine.level is Level.BREACH
            and machine.open_since is not None
            and machine.deadline_us == NEVER_US
        )

    @property
    def state(self) -> GroupState:
        """Where the group stands, for people."""
        if self.incident is not None:
            return GroupState.FIRING
        if not self._machine.is_idle:
            return GroupState.PENDING
        return GroupState.NO_DATA if self.level is Level.NO_DATA else GroupState.OK

    def change(self, at_us: int, level: Level, viewer: Viewer) -> None:
        """The level changes at ``at_us``; it held its former value up to there.

        Deadlines before ``at_us`` must have been served.
        """
        self._kept().note(at_us, level, self._machine)
        self._tell(self._machine.change(at_us, level), viewer)
        self.serve(at_us, viewer)

    def observe(self, value: float) -> None:
        """Keep the worst value of a breach; called at each change point while in breach."""
        if self.peak is None or is_worse(self._rule, value, self.peak):
            self.peak = value
            if self.incident is not None:
                self.incident = msgspec.structs.replace(self.incident, peak_value=value)

    def serve(self, until_us: int, viewer: Viewer) -> None:
        """Fire or resolve if the deadline is at or before ``until_us``."""
        if self._machine.deadline_us <= until_us:
            deadline_us = self._machine.deadline_us
            self._tell(self._machine.serve(until_us), viewer, deadline_us)

    def forget_before(self, time_us: int) -> None:
        """No late event reaches further back than ``time_us`` from now on. Amortised O(1)."""
        past = self._past
        if past is not None and past.is_outdated(time_us):
            past.forget_before(time_us)
            if past.is_empty and self.is_idle:
                self._past = None

    def rest(self) -> None:
        """Forget the levels of the past: whoever asks for them will read them off the events.

        When something began to be pending cannot be read off the events of a later stretch.
        """
        past = self._past
        if past is not None and self.is_idle and past.is_calm:
            self._past = None

    def _kept(self) -> Past:
        """Return what is remembered; if that was nothing, the past begins with what is now."""
        if self._past is None:
            self._past = Past(self._machine.copy())
        return self._past

    # ---- late data

    def revise(
        self,
        from_us: int,
        until_us: int,
        looks: list[Look],
        horizon_us: int,
        discovery: Discovery,
        past: Retrospect,
    ) -> None:
        """``[from_us, until_us)`` was another than was thought: correct what follows.

        ``looks`` begin at ``from_us``; everything up to ``horizon_us`` has been judged.
        """
        self._correct(from_us, until_us, looks, horizon_us, discovery, past)

    def reconsider(
        self,
        from_us: int,
        looks: list[Look],
        told: Sequence[Incident],
        passed: list[Interval],
        horizon_us: int,
        discovery: Discovery,
        past: Retrospect,
    ) -> None:
        """Take ``looks``, from ``from_us`` to the horizon, for what has been all along.

        ``told`` are the incidents that overlap that stretch, in order, ``passed`` the intervals
        that were over before the rule. An incident that is open at ``from_us`` began before it;
        so far back nothing else is looked at. Which incident is open is known by ``told`` only:
        this may have been done before, and the process have died before its next snapshot.
        """
        machine = Machine(self._rule, Level.CLEAR)
        open_then = [i for i in told if i.started_us < from_us <= (i.ended_us or from_us)]
        if open_then:
            machine.resume(open_then[0].started_us, open_then[0].fired_us)
        kept = self._past = Past(machine)
        kept.ended = self._be_as_told(told)
        kept.passed = passed
        self._correct(from_us, horizon_us + 1, looks, horizon_us, discovery, past)

    def _be_as_told(self, told: Sequence[Incident]) -> list[Incident]:
        """Have that incident open which was told last and not ended; return those that have.

        An earlier one that is open too was opened by a reconciliation before a crash, and later
        events then began another without knowing of it: it ends where that one begins.
        """
        still_open = [incident for incident in told if incident.ended_us is None]
        newest = still_open[-1] if still_open else None
        if newest is None or self.incident is None or self.incident.id != newest.id:
            self.incident = newest
            self.peak = None if newest is None else newest.peak_value
        ended = []
        for incident in told:
            if incident.ended_us is not None:
                ended.append(incident)
            elif newest is not None and incident is not newest:
                at_us = max(incident.fired_us, newest.started_us)
                ended.append(self._write_end(incident, at_us, EndReason.RECOVERED, None))
        return ended

    def _correct(
        self,
        from_us: int,
        until_us: int,
        looks: list[Look],
        horizon_us: int,
        discovery: Discovery,
        past: Retrospect,
    ) -> None:
        """Hold what the past now shows against what was told of it."""
        kept, levels = self._kept(), [(at_us, level) for at_us, level, _ in looks]
        found, machine = kept.revise(from_us, until_us, levels, horizon_us)
        self._machine = machine or self._machine
        holds = self._machine.open_since is not None
        if self.incident is not None and not holds:
            found = kept.find_all(horizon_us)  # what it ends with may lie far back
        told = [*kept.ended_near(found), *(() if self.incident is None else (self.incident,))]
        gone = EndReason.NO_DATA if self.level is Level.NO_DATA else EndReason.RECOVERED
        for correction in correct(told, kept.passed, found, holds, gone, kept.covered_us):
            self._apply(correction, discovery, past)
        self._raise_peaks(looks)
        if self._machine.is_idle:
            self.peak = None

    def _raise_peaks(self, looks: list[Look]) -> None:
        """Let incidents have for their peak what a second look shows within them, if it is worse.

        Of one that has ended it is told silently; of the open one when it ends, as ever.
        O(breaches + ended incidents).
        """
        found = list(breaches(looks))
        if not found:
            return
        since_us = self._machine.started_us if self.incident is None else self.incident.started_us
        for at_us, value in found:
            if since_us is not None and at_us >= since_us:
                self.observe(value)
        raised = []
        for incident in self._kept().ended_between(found[0][0], found[-1][0]):
            assert incident.ended_us is not None
            first = bisect_left(found, incident.started_us, key=itemgetter(0))
            last = bisect_left(found, incident.ended_us, first, key=itemgetter(0))
            peak = incident.peak_value
            for _, value in found[first:last]:
                peak = self._worse_of(peak, value)
            if peak != incident.peak_value:
                raised.append(msgspec.structs.replace(incident, peak_value=peak))
        self._kept().replace(raised)
        for incident in raised:
            self._write(TransitionKind.CORRECTED, incident.started_us, incident.value, incident)

    def _apply(self, correction: Correction, discovery: Discovery, past: Retrospect) -> None:
        if isinstance(correction, New):
            self._apply_new(correction, discovery, past)
        elif isinstance(correction, Grown):
            self._apply_grown(correction, past)
        else:
            self._apply_over(correction, past)

    def _apply_new(self, new: New, discovery: Discovery, past: Retrospect) -> None:
        found, continues = new.found, new.continues
        if continues is not None and continues.ended_us is not None:
            at_us = continues.ended_us
            found = Found(at_us, max(at_us, found.fired_us), None, None)
        incident = self._make(found, past.look_back(found.fired_us), discovery)
        peak = past.worst(found.started_us, found.ended_us)
        incident = msgspec.structs.replace(
            incident,
            id=incident.id if continues is None else continuation_id(continues.id),
            peak_value=incident.value if peak is None else peak,
            continues=None if continues is None else continues.id,
        )
        self._write(TransitionKind.FIRING, incident.fired_us, incident.value, incident)
        if found.ended_us is None or found.reason is None:
            self.incident, self.peak = incident, incident.peak_value
        else:
            self._end(incident, found.ended_us, found.reason, None)

    def _apply_grown(self, grown: Grown, past: Retrospect) -> None:
        incident = msgspec.structs.replace(
            grown.incident,
            started_us=grown.started_us,
            ended_us=grown.ended_us,
            merged_into=grown.merged_into,
            peak_value=self._worse_of(
                grown.incident.peak_value, past.worst(grown.started_us, grown.ended_us)
            ),
        )
        if incident.ended_us is None:
            self.incident = incident
        else:
            self._kept().replace([incident])
        self._write(TransitionKind.CORRECTED, incident.started_us, incident.value, incident)

    def _apply_over(self, over: Over, past: Retrospect) -> None:
        incident = msgspec.structs.replace(over.incident, started_us=over.started_us)
        self.incident = None
        self._end(incident, over.ended_us, over.reason, past.look_back(over.ended_us).value)

    def _worse_of(self, one: float | None, other: float | None) -> float | None:
        if one is None or other is None:
            return other if one is None else one
        return other if is_worse(self._rule, other, one) else one

    # ---- a warm start

    def intervals(self, from_us: int, levels: list[Change], until_us: int) -> list[Interval]:
        """Return the intervals that begin and end within these levels, which change nothing."""
        past = Past(Machine(self._rule, Level.CLEAR))
        found, _ = past.revise(from_us, until_us + 1, levels, until_us)
        return [(each.started_us, each.ended_us) for each in found if each.ended_us is not None]

    def begin_telling(self, journal: Journal, pending_value: float | None) -> None:
        """What came before the rule has been judged in silence: from now on write to ``journal``.

        What holds now is told; what has ended is not. ``pending_value`` is the window's where
        the condition turned true, if it is pending.
        """
        self._journal = journal
        if self._past is not None:
            self._past.leave_untold()
        if self.incident is not None:
            self.incident = msgspec.structs.replace(self.incident, detected_by=DetectedBy.BACKFILL)
            fired_us, value = self.incident.fired_us, self.incident.value
            self._write(TransitionKind.FIRING, fired_us, value, self.incident)
        elif self._machine.started_us is not None and self._rule.for_us:
            self._write(TransitionKind.PENDING, self._machine.started_us, pending_value)

    # ---- rule edits

    def resolve(self, ended_us: int, reason: EndReason, value: float | None) -> None:
        """End the open incident at ``ended_us``; forget a pending one without a word."""
        incident = self.incident
        self.incident = self.peak = None
        self._machine.reset()
        self._past = None  # it would lead to what ends here
        if incident is not None:
            self._end(incident, ended_us, reason, value)

    def adopt(self, rule: Rule, at_us: int) -> Rule:
        """Go on from ``at_us`` under an edited rule whose windows are the same.

        What was judged by the rule's former version is not judged again by this one. Returns that.
        """
        former, self._rule = self._rule, rule
        self._machine.adopt(rule, at_us)
        self._past = None if self.is_idle else Past(self._machine.copy())
        return former

    def rejudge(self, at_us: int, level: Level, viewer: Viewer, former: Rule) -> None:
        """The rule was edited: by its new form the level at ``at_us`` is ``level``.

        What that ends is told by its ``former`` one, under which it was on; late events find the
        group where this leaves it.
        """
        if self.incident is not None and level in _ENDINGS and level != self.level:
            edited, self._rule = self._rule, former
            self._machine.level = level
            self.resolve(at_us, EndReason.RULE_CHANGED, viewer.sight(at_us).value)
            self._rule = edited
        if level != self.level:
            self.change(at_us, level, viewer)
        else:
            self.serve(at_us, viewer)

    # ---- transitions

    def _tell(self, outcome: Outcome | None, viewer: Viewer, at_us: int = 0) -> None:
        match outcome:
            case Began(began_us):
                if self._rule.for_us:
                    self._write(TransitionKind.PENDING, began_us, viewer.sight(began_us).value)
            case Dropped(dropped_us):
                self.peak = None
                self._write(TransitionKind.CLEARED, dropped_us, viewer.sight(dropped_us).value)
            case Fired(started_us, fired_us):
                found = Found(started_us, fired_us, None, None)
                live = Discovery(DetectedBy.STREAM, 0)
                self.incident = self._make(found, viewer.sight(fired_us), live)
                self._write(TransitionKind.FIRING, fired_us, self.incident.value, self.incident)
            case Ended(ended_us, reason) if self.incident is not None:
                incident, self.incident, self.peak = self.incident, None, None
                self._end(incident, ended_us, reason, viewer.sight(at_us).value)

    def _make(self, found: Found, sight: Sight, discovery: Discovery) -> Incident:
        rule = self._rule
        return Incident(
            id=incident_id(rule.id, self._group, found.started_us, self._active_us, rule.version),
            rule_id=rule.id,
            rule_version=rule.version,
            group=self._group,
            started_us=found.started_us,
            fired_us=found.fired_us,
            value=sight.value,
            peak_value=sight.value if self.peak is None else self.peak,
            window_start_us=sight.window_start_us,
            window_end_us=sight.window_end_us,
            event_time_us=found.fired_us if sight.newest_us is None else sight.newest_us,
            detected_us=self._journal.now_us,
            detected_by=discovery.detected_by,
            late_by_us=discovery.late_by_us,
        )

    def _end(
        self, incident: Incident, ended_us: int, reason: EndReason, value: float | None
    ) -> None:
        self._kept().ended.append(self._write_end(incident, ended_us, reason, value))

    def _write_end(
        self, incident: Incident, ended_us: int, reason: EndReason, value: float | None
    ) -> Incident:
        ended = msgspec.structs.replace(incident, ended_us=ended_us, end_reason=reason)
        self._write(TransitionKind.RESOLVED, ended_us, value, ended)
        return ended

    def _write(
        self,
        kind: TransitionKind,
        at_us: int,
        value: float | None,
        incident: Incident | None = None,
    ) -> None:
        self._journal.write(
            Transition(
                kind=kind,
                rule=self._rule,
                group=self._group,
                at_us=at_us,
                detected_us=self._journal.now_us,
                value=value,
                incident=incident,
            )
        )

    # ---- snapshots

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        incident = None if self.incident is None else msgspec.to_builtins(self.incident)
        past = None if self._past is None else self._past.dump()
        return self._machine.dump(), self.peak, incident, past

    def load(self, state: LifecycleDump) -> None:
        """Take what ``dump`` returned."""
        machine, self.peak, self.incident, past = state
        self._machine.load(machine)
        if past is not None:
            self._kept().load(past)
