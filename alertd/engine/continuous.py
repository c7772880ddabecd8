"""SIMPLE_COUNT, MOVING_WINDOW and early BUCKETED_WINDOW: judged at every change point.

A value can change only when an event enters or leaves the window ``(T - W, T]``; each such
instant is judged, in order, so that any window means any. For an early bucketed window
(``early.py``) the instants are those of the events and the ends of buckets. An event can
matter for as long as the window's ``span_us``. Leaves to ``resting.py`` what need not be judged
because nothing can come of it.

Invariant: ``_judged_us`` is the horizon H of SEMANTICS, section 5; it never passes the wall
clock. Cost of an event in order: amortised O(1) besides the aggregate's own.
"""

from __future__ import annotations

import msgspec

from alertd.engine.condition import Level
from alertd.engine.group import QuietClock
from alertd.engine.inputs import StoredGroup
from alertd.engine.past import Interval
from alertd.engine.plan import Plan
from alertd.engine.retrospect import ContinuousPast, Retrospect
from alertd.engine.sleeping import LEAST_ROOM, SleepingGroup
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Sight, Window
from alertd.model import GroupState, Labels

_MOST_ROOM = 512
_SCATTER = 0x9E3779B1  # a prime near 2**32 over the golden ratio: neighbours end far apart


class ContinuousGroup(SleepingGroup):
    """One (rule, group) of a rule that is exact in continuous event time."""

    __slots__ = ("_is_open",)

    def __init__(self, plan: Plan, labels: Labels) -> None:
        self._is_open = False  # the instant at the horizon is still to be judged in this step
        super().__init__(plan, labels)

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply one event received at ``now_us``; False if it is older than the lateness."""
        if len(self._window.times) >= self._room:
            if self._refuses(now_us):
                return True
            self._make_room()
        return self._apply(time_us, value, now_us)

    def close_instant(self) -> None:
        """No more events of the instant at the horizon come in this step: judge it."""
        if self._is_open:
            self._is_open = False
            level = self.lifecycle.level
            self._judge(self._judged_us)
            if self.lifecycle.level is not level:
                self._forget()
            self._try_to_sleep()
            if self.wake_us > self._raised_us + self._plan.lateness_us:
                self._ask()  # else it is woken before the clock can reach anything

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        self._advance(now_us)
        self._ask()

    def _advance(self, now_us: int) -> None:
        self._judge_all_that_came()
        window = self._window
        while window.high < len(window.times) and window.times[window.high] <= now_us:
            waiting_us = window.times[window.high]
            self._see(waiting_us, waiting_us)  # the clock has reached an event that was ahead of it
        if self._judged_us != BEFORE_TIME_US:
            self._judge_until(self._clock_us(now_us))
            self._forget()

    def _judge_all_that_came(self) -> None:
        """Close the instant at the horizon, with the window there."""
        self.close_instant()

    def catch_up(self, clock: QuietClock) -> None:
        """Take the clock that these events have moved, and the room that they were given."""
        super().catch_up(clock)
        self._judged_us = clock.horizon_us

    def sight(self, at_us: int) -> Sight:
        """Return what the window holds now, seen as the window of the instant ``at_us``."""
        return self._window.sight(self._plan.condition, at_us)

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands for a reader at ``now_us``, who moves nothing."""
        if not self.lifecycle.is_idle:
            return self.lifecycle.state
        horizon_us = max(self._clock_us(now_us), self._judged_us)
        has_value = self._events.count_at(horizon_us) >= self._plan.condition.min_samples
        return GroupState.OK if has_value else GroupState.NO_DATA

    @property
    def _position_us(self) -> int:
        return self._judged_us

    def _apply(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event for which there is room; False if it is older than the lateness."""
        if self._is_open:
            if time_us == self._judged_us:
                self._window.put_inside(time_us, value)
                return True
            self.close_instant()
            self._wake_up(now_us)
        window = self._window
        if self._clock_us(now_us) > self._judged_us or window.high < len(window.times):
            self._advance(now_us)
            self._ask()
        warmed = None
        if self._first_us is None or time_us < self._first_us:
            warmed = self._appear(time_us)
        if time_us <= self._judged_us:
            in_time = self._insert(time_us, value, now_us, warmed)
            self._try_to_sleep()
            return in_time
        window.put(time_us, value)
        if time_us <= now_us:
            self._open_instant(time_us, now_us)  # what closes it asks
        else:
            self._ask()
        return True

    def _open_instant(self, time_us: int, now_us: int) -> None:
        """Move to the newest event, but leave its instant to be judged at the end of the step.

        Events of one instant come one by one, and the window must not be judged without those
        that are still to come: it would seem to recover and to fire again.
        """
        if self._next_due_us() < time_us:
            self._judge_until(time_us - 1)
        if time_us > self._newest_us:
            if now_us - self._raised_us > self._plan.lateness_us:
                self.note_gap(self._raised_us, now_us)
            self._newest_us, self._raised_us = time_us, now_us
        self._window.move_to(time_us)
        self._judged_us = time_us
        self._is_open = True
        self._plan.journal.leave_open(self)

    def _try_to_sleep(self) -> None:
        """Everything that has come is judged: rest, if nothing needs to be judged from here on."""

    def _wake_up(self, now_us: int) -> None:
        """Be where the clock at ``now_us`` is, with the window there, if this was at rest."""

    def _pass_over(self, until_us: int) -> None:
        self._judged_us = max(self._judged_us, until_us)

    def _make_room(self) -> None:
        """Forget what is no longer needed, and say when this is to be done again."""
        self._forget()
        self._look_after(LEAST_ROOM)

    def _look_after(self, least_events: int) -> None:
        """Have it looked at what is still needed when as many events have come as are inside."""
        room = max(least_events, min(self._window.count, _MOST_ROOM))
        self._room = len(self._window.times) + self._staggered(room)
        self.heed_limits()

    def _staggered(self, room: int) -> int:
        """Return up to twice ``room``, lest all groups of one age make room at once."""
        return room + ((self._first_us or 0) * _SCATTER >> 32) % room

    def _see(self, time_us: int, raised_us: int) -> None:
        """Apply everything up to ``time_us``, an event that counts as received at ``raised_us``."""
        if time_us > self._newest_us:
            self._newest_us, self._raised_us = time_us, raised_us
        self._judge_until(time_us)

    def _judge_until(self, until_us: int) -> None:
        """Judge every change point after the horizon up to ``until_us``, and move it there."""
        if until_us <= self._judged_us:
            return
        window, lifecycle = self._window, self.lifecycle
        while (change_us := min(window.next_change_us(), self._warm_us)) <= until_us:
            if lifecycle.deadline_us < change_us:
                lifecycle.serve(change_us - 1, self)
            self._step_to(change_us)
        if lifecycle.deadline_us <= until_us:
            lifecycle.serve(until_us, self)
        self._judged_us = until_us

    def _next_due_us(self) -> int:
        """Return the next instant at which anything is to be done but to let an event enter."""
        return min(self._window.next_leaving_us(), self._warm_us, self.lifecycle.deadline_us)

    def _forget(self) -> None:
        """Drop what no late event that is judged here can still ask for."""
        reach_us = self._reach_us(self._judged_us)
        self._window.forget_until(reach_us - self._window.span_us)
        self.lifecycle.forget_before(reach_us)

    def _step_to(self, change_us: int) -> None:
        """Move the window to its next change point and judge it there."""
        entered = self._window.move_to(change_us)
        if entered or change_us == self._warm_us or not self._is_indifferent_to_leaving:
            self._judge(change_us)

    @property
    def _is_indifferent_to_leaving(self) -> bool:
        """Whether events that leave the window cannot cause a transition."""
        return self.lifecycle.is_idle and self._plan.condition.unmoved_by_leaving

    def _insert(self, time_us: int, value: float, now_us: int, warmed: Interval | None) -> bool:
        """Apply an event that is not after the horizon, and judge again what it changes."""
        window, horizon_us = self._window, self._judged_us
        self._hear(time_us, now_us)
        reach_us = self._reach_us(horizon_us)
        if time_us <= reach_us - window.span_us and time_us != horizon_us:
            return False
        window.move_to(horizon_us)
        if time_us <= horizon_us - window.span_us:
            window.put_before(time_us, value)
        else:
            window.put_inside(time_us, value)
        is_overdue = time_us <= reach_us and time_us != horizon_us
        if not self._changes_nothing(time_us):
            from_us, until_us = self._changed_by(time_us, warmed, is_overdue=is_overdue)
            self._revise(from_us, until_us, time_us, horizon_us)
        self._forget()
        self._ask()
        return not is_overdue

    def _changed_by(self, time_us: int, warmed: Interval | None, *, is_overdue: bool) -> Interval:
        """Return in which stretch a late event may have changed the level."""
        horizon_us = self._judged_us
        if is_overdue:  # what it changes in the past is the reconciler's, the present is ours
            return horizon_us, horizon_us + 1
        from_us, until_us = time_us, time_us + self._window.span_us
        if warmed is not None:
            from_us, until_us = min(from_us, warmed[0]), max(until_us, warmed[1])
        return max(from_us, self._reach_us(horizon_us)), min(until_us, horizon_us + 1)

    def _changes_nothing(self, time_us: int) -> bool:
        """Whether an event at the horizon leaves the level there as it was."""
        if time_us != self._judged_us or self._warm_us != NEVER_US:
            return False
        level, value = self._plan.look(self._window)
        if level is Level.BREACH and value is not None:
            self.lifecycle.observe(value)
        return level is self.lifecycle.level

    def _retrospect(self, events: Window, reach_us: int) -> Retrospect:
        return ContinuousPast(
            self._plan,
            events,
            reach_us=reach_us,
            judged_us=self._judged_us,
            warm_us=self._warm_up_us(),
        )

    def _reached_by(self, stored: StoredGroup) -> int:
        return max(stored.newest_us, stored.clock_us)

    def _just_judged(self, until_us: int) -> int:
        return until_us

    def _take_clock(self, stored: StoredGroup) -> None:
        self._judge_all_that_came()
        super()._take_clock(stored)
        if self._filled_us != BEFORE_TIME_US:
            self._come_to(self._filled_us)

    def _come_to(self, until_us: int) -> None:
        """Have everything up to ``until_us`` judged."""
        self._judge_until(until_us)

    def _next_change_us(self) -> int:
        if self._is_indifferent_to_leaving:
            return self._warm_us
        return min(self._window.next_leaving_us(), self._warm_us)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        return (*super().dump(), self._room)

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        *common, room = state
        super().load(tuple(common))
        self._room = msgspec.convert(room, int)
