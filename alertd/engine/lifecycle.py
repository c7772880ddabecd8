"""From condition to incident: ok → pending → firing → resolved (SEMANTICS, section 4).

Owns the state machine of one (rule, group). It is told at which instants the condition's level
changes and how far time has been judged, and writes the transitions that follow into the
journal. Leaves to the windows how a level comes about: they give a ``Sight`` of the window
where a transition needs its values.

Invariant: instants never go back; ``deadline_us`` is the only instant at which something can
happen without a change of level, and it is ``NEVER_US`` when nothing can.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import msgspec

from alertd.engine.condition import Level, is_worse
from alertd.engine.journal import Journal
from alertd.engine.window import NEVER_US
from alertd.model import (
    EndReason,
    GroupState,
    Incident,
    Labels,
    Rule,
    Transition,
    TransitionKind,
    incident_id,
)

LifecycleDump = tuple[int, int, int | None, int | None, EndReason, float | None, Incident | None]
"""A lifecycle as plain data; see ``Lifecycle.dump``."""


class Sight(NamedTuple):
    """What a window shows at an instant."""

    value: float | None
    window_start_us: int
    window_end_us: int
    newest_us: int | None
    """Event time of the newest event inside."""


class Viewer(Protocol):
    """Whatever can show its window: a group."""

    def sight(self, at_us: int) -> Sight:
        """Return what the window holds now, seen as the window of the instant ``at_us``."""
        ...


_REASON_OF_LEVEL = {Level.CLEAR: EndReason.RECOVERED, Level.NO_DATA: EndReason.NO_DATA}


class Lifecycle:
    """The state of one (rule, group): its level, its phase and its open incident."""

    __slots__ = ("_cleared_us", "_end_reason", "_group", "_journal", "_rule", "_started_us",
                 "deadline_us", "incident", "level", "peak")  # fmt: skip

    def __init__(self, rule: Rule, group: Labels, journal: Journal) -> None:
        self._rule = rule
        self._group = group
        self._journal = journal
        self.level = Level.CLEAR
        self.deadline_us = NEVER_US
        self.incident: Incident | None = None
        self.peak: float | None = None
        self._started_us: int | None = None  # when c turned true, while it is pending
        self._cleared_us: int | None = None  # when the clear condition began, while firing
        self._end_reason = EndReason.RECOVERED

    @property
    def is_idle(self) -> bool:
        """Whether nothing is pending or firing."""
        return self.incident is None and self._started_us is None

    @property
    def state(self) -> GroupState:
        """Where the group stands, for people."""
        if self.incident is not None:
            return GroupState.FIRING
        if self._started_us is not None:
            return GroupState.PENDING
        return GroupState.NO_DATA if self.level is Level.NO_DATA else GroupState.OK

    def change(self, at_us: int, level: Level, viewer: Viewer) -> None:
        """The level changes at ``at_us``; it held its former value up to there.

        Deadlines before ``at_us`` must have been served.
        """
        self.level = level
        if self.incident is not None:
            self._change_while_firing(at_us, level)
        elif level is Level.BREACH:
            self._begin(at_us, viewer)
        elif self._started_us is not None:
            self._drop_pending(at_us, viewer)
        if self.deadline_us <= at_us:
            self.serve(at_us, viewer)

    def observe(self, value: float) -> None:
        """Keep the worst value of a breach; called at each change point while in breach."""
        if self.peak is None or is_worse(self._rule, value, self.peak):
            self.peak = value
            if self.incident is not None:
                self.incident = msgspec.structs.replace(self.incident, peak_value=value)

    def serve(self, until_us: int, viewer: Viewer) -> None:
        """Fire or resolve if the deadline is at or before ``until_us``."""
        if self.deadline_us > until_us:
            return
        if self.incident is None:
            self._fire(self.deadline_us, viewer)
        else:
            assert self._cleared_us is not None
            self.resolve(self._cleared_us, self._end_reason, viewer.sight(self.deadline_us).value)

    def resolve(self, ended_us: int, reason: EndReason, value: float | None) -> None:
        """End the open incident at ``ended_us``; forget a pending one without a word."""
        incident = self.incident
        self.incident = self.peak = self._started_us = self._cleared_us = None
        self.deadline_us = NEVER_US
        if incident is None:
            return
        ended = msgspec.structs.replace(incident, ended_us=ended_us, end_reason=reason)
        self._write(TransitionKind.RESOLVED, ended_us, value, ended)

    def adopt(self, rule: Rule, at_us: int) -> None:
        """Go on from ``at_us`` under an edited rule whose windows are the same."""
        self._rule = rule
        if self._started_us is not None:
            self.deadline_us = max(self._started_us + rule.for_us, at_us)
        elif self._cleared_us is not None:
            self.deadline_us = max(self._cleared_us + rule.keep_firing_us, at_us)

    def rejudge(self, at_us: int, level: Level, viewer: Viewer) -> None:
        """The rule was edited: by its new form the level at ``at_us`` is ``level``."""
        if self.incident is not None and level in _REASON_OF_LEVEL and level != self.level:
            self.resolve(at_us, EndReason.RULE_CHANGED, viewer.sight(at_us).value)
        if level != self.level:
            self.change(at_us, level, viewer)
        else:
            self.serve(at_us, viewer)

    def _begin(self, at_us: int, viewer: Viewer) -> None:
        self._started_us = at_us
        self.deadline_us = at_us + self._rule.for_us
        if self._rule.for_us:
            self._write(TransitionKind.PENDING, at_us, viewer.sight(at_us).value)

    def _drop_pending(self, at_us: int, viewer: Viewer) -> None:
        self._started_us = self.peak = None
        self.deadline_us = NEVER_US
        self._write(TransitionKind.CLEARED, at_us, viewer.sight(at_us).value)

    def _change_while_firing(self, at_us: int, level: Level) -> None:
        if level not in _REASON_OF_LEVEL:
            self._cleared_us = None
            self.deadline_us = NEVER_US
        elif self._cleared_us is None:
            self._cleared_us = at_us
            self._end_reason = _REASON_OF_LEVEL[level]
            self.deadline_us = at_us + self._rule.keep_firing_us

    def _fire(self, fired_us: int, viewer: Viewer) -> None:
        assert self._started_us is not None
        rule, sight = self._rule, viewer.sight(fired_us)
        self.incident = Incident(
            id=incident_id(rule.id, self._group, self._started_us),
            rule_id=rule.id,
            rule_version=rule.version,
            group=self._group,
            started_us=self._started_us,
            fired_us=fired_us,
            value=sight.value,
            peak_value=sight.value if self.peak is None else self.peak,
            window_start_us=sight.window_start_us,
            window_end_us=sight.window_end_us,
            event_time_us=fired_us if sight.newest_us is None else sight.newest_us,
            detected_us=self._journal.now_us,
        )
        self._started_us = None
        self.deadline_us = NEVER_US
        self._write(TransitionKind.FIRING, fired_us, sight.value, self.incident)

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

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        incident = None if self.incident is None else msgspec.to_builtins(self.incident)
        return (
            int(self.level),
            self.deadline_us,
            self._started_us,
            self._cleared_us,
            self._end_reason.value,
            self.peak,
            incident,
        )

    def load(self, state: LifecycleDump) -> None:
        """Take what ``dump`` returned."""
        level, self.deadline_us, self._started_us, self._cleared_us = state[:4]
        self._end_reason, self.peak, self.incident = state[4:]
        self.level = Level(level)
