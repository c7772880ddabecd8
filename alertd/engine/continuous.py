"""SIMPLE_COUNT, MOVING_WINDOW and early BUCKETED_WINDOW: judged at every change point.

A value can change only when an event enters or leaves the window ``(T - W, T]``; each such
instant is judged, in order, so that any window means any. For an early bucketed window
(``early.py``) the instants are those of the events and the ends of buckets. As long as the rule's
screen says that no window can be in breach, the group sleeps: events are only kept, and nothing
is judged. While it is firing and its screen says that no window can be out of breach, it coasts:
events are only kept too, and what they make of the incident's peak is found out later. An event
can matter for as long as the window's ``span_us``.

Invariant: ``_judged_us`` is the horizon H of SEMANTICS, section 5; it never passes the wall
clock. While the group sleeps it is idle; while it coasts it is firing, and the peak is known up to
``_peak_until_us``. In both, all kept events lie at or before the horizon, and the window's edges
and aggregate are stale. Cost of an event in order: amortised O(1) besides the
aggregate's own.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from alertd.engine.condition import Level
from alertd.engine.group import QuietClock, Rest, WindowGroup
from alertd.engine.inputs import StoredGroup
from alertd.engine.peaks import may_be_passed
from alertd.engine.plan import Plan
from alertd.engine.retrospect import ContinuousPast, Retrospect
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Sight, Window
from alertd.model import GroupState, Incident, Labels

_LEAST_ROOM = 64
_MOST_ROOM = 512
_SCATTER = 0x9E3779B1  # a prime near 2**32 over the golden ratio: neighbours end far apart
_MOST_COASTED = 4096
"""Events in a window with which a group coasts at most: to take it up again costs milliseconds."""

_Stillness = tuple[tuple[bool, bool], tuple[int, int, int]]


class ContinuousGroup(WindowGroup):
    """One (rule, group) of a rule that is exact in continuous event time."""

    __slots__ = ("_asleep", "_coasts", "_is_open", "_loud_until_us", "_peak_until_us", "_room",
                 "_slept_until_us")  # fmt: skip

    def __init__(self, plan: Plan, labels: Labels) -> None:
        self._asleep = False
        self._coasts = False
        self._peak_until_us = BEFORE_TIME_US  # up to here the peak is known, while it coasts
        self._is_open = False  # the instant at the horizon is still to be judged in this step
        self._loud_until_us = BEFORE_TIME_US  # when the last loud event will have left
        self._slept_until_us = BEFORE_TIME_US  # no level was noted between falling asleep and this
        self._room = 0  # length of the columns at which they must be looked at
        super().__init__(plan, labels)

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply one event received at ``now_us``; False if it is older than the lateness."""
        plan, window = self._plan, self._window
        if len(window.times) >= self._room:
            if self._refuses(now_us):
                return True
            self._make_room()
        if self._asleep:
            if (
                self._judged_us <= time_us <= now_us
                and not plan.is_loud(value)
                and (
                    now_us - self._raised_us < plan.lateness_us
                    or self._is_ahead_after_gap(time_us, now_us)
                )
            ):
                window.times.append(time_us)
                window.values.append(value)
                if time_us != self._newest_us:
                    self._newest_us, self._raised_us = time_us, now_us
                else:
                    self._heard_us = now_us
                self._judged_us = time_us
                return True
            if self._sleeps_through(time_us, value, now_us):
                return time_us > self._reach_us(self.horizon_us(now_us))
            self._wake_up(now_us)
            self._judge(self._judged_us)  # clear, held and no data were all one to a sleeper
        elif self._coasts:
            if self._coasts_through(time_us, value, now_us):
                return True
            self._stop_coasting()
        return self._observe_awake(time_us, value, now_us)

    def rest(self) -> Rest | None:
        """Return what lets quiet events be kept for it, None if it has to judge."""
        plan, screen = self._plan, self._plan.screen
        coasts = self._coasts and plan.enough == 1
        if not (self._asleep or coasts):
            return None
        return Rest(
            clock=QuietClock(self._judged_us, self._newest_us, self._raised_us, self._heard_us),
            lateness_us=plan.lateness_us,
            quiet=screen.holding_values if coasts else screen.quiet_values,
            room=self._room - len(self._window.times),
            is_strict=coasts,
            apart_us=self._window.span_us if coasts else NEVER_US,
        )

    def close_instant(self) -> None:
        """No more events of the instant at the horizon come in this step: judge it."""
        if self._is_open:
            self._is_open = False
            if self._coasts:
                return
            level = self.lifecycle.level
            self._judge(self._judged_us)
            if self.lifecycle.level is not level:
                self._forget()
            self._try_to_sleep()
            if self.wake_us > self._raised_us + self._plan.lateness_us:
                self._ask()  # else it is woken before the clock can reach anything

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        if self._asleep:
            return
        if not (self._coasts and self._clock_us(now_us) < self._next_change_us()):
            self._advance(now_us)
            self._try_to_coast()
        self._ask()

    def _advance(self, now_us: int) -> None:
        self._stop_coasting()
        self.close_instant()
        window = self._window
        while window.high < len(window.times) and window.times[window.high] <= now_us:
            waiting_us = window.times[window.high]
            self._see(waiting_us, waiting_us)  # the clock has reached an event that was ahead of it
        if self._judged_us != BEFORE_TIME_US:
            self._judge_until(self._clock_us(now_us))
            self._forget()

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        self._wake_up(now_us)
        self._loud_until_us = BEFORE_TIME_US
        for time_us, value in zip(self._window.times, self._window.values, strict=True):
            self._listen(time_us, value)
        super().rejudge(now_us)

    def heed_limits(self) -> None:
        """The plan has other limits than before: a sleeper is to be looked at when it is full."""
        self._room = min(self._room, self._plan.max_events)

    def sight(self, at_us: int) -> Sight:
        """Return what the window holds now, seen as the window of the instant ``at_us``."""
        return self._window.sight(self._plan.condition, at_us)

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands for a reader at ``now_us``, who moves nothing."""
        if not self.lifecycle.is_idle:
            return self.lifecycle.state
        horizon_us = max(self._clock_us(now_us), self._judged_us)
        has_value = self._window.count_at(horizon_us) >= self._plan.condition.min_samples
        return GroupState.OK if has_value else GroupState.NO_DATA

    @property
    def _position_us(self) -> int:
        return self._judged_us

    def _observe_awake(self, time_us: int, value: float, now_us: int) -> bool:
        window = self._window
        if self._is_open:
            if time_us == self._judged_us:
                self._listen(time_us, value)
                window.put_inside(time_us, value)
                return True
            self.close_instant()
            self._wake_up(now_us)
        if self._clock_us(now_us) > self._judged_us or window.high < len(window.times):
            self._advance(now_us)
            self._ask()
        old_warm_us = None
        if self._first_us is None or time_us < self._first_us:
            old_warm_us = self._warm_up_us()
            self._appear(time_us)
        self._listen(time_us, value)
        if time_us <= self._judged_us:
            in_time = self._insert(time_us, value, now_us, old_warm_us)
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

    def _is_ahead_after_gap(self, time_us: int, now_us: int) -> bool:
        """Return whether an event that came after a pause is one that the clock has not passed."""
        if self._clock_us(now_us) >= time_us:
            return False
        self.note_gap(self._raised_us, now_us)
        return True

    def _listen(self, time_us: int, value: float) -> None:
        """Remember until when an event keeps the group awake."""
        if self._plan.is_loud(value):
            self._loud_until_us = max(self._loud_until_us, time_us + self._window.span_us)

    def _sleeps_through(self, time_us: int, value: float, now_us: int) -> bool:
        """Keep a late event, without judging it, if no window that it belongs to can breach."""
        window, screen, horizon_us = self._window, self._plan.screen, self.horizon_us(now_us)
        reach_us = self._reach_us(horizon_us)
        if (
            time_us > horizon_us
            or time_us <= reach_us - window.span_us
            or self._loud_until_us > reach_us
            or len(window.times) >= min(self._room, screen.max_quiet)
            or screen.is_loud(value)
        ):
            return False
        window.keep(time_us, value)
        self._pass_over(horizon_us)
        self._hear(time_us, now_us)
        if self._first_us is None or time_us < self._first_us:
            self._first_us = time_us
        return True

    def _wake_up(self, now_us: int) -> None:
        """Take up the window again where the clock at ``now_us`` has it."""
        if self._asleep:
            self._asleep = False
            self._pass_over(self.horizon_us(now_us))
            self._slept_until_us = self._judged_us
            self._take_up_window()
        elif self._coasts:
            self._pass_over(self.horizon_us(now_us))
            self._stop_coasting()

    def _take_up_window(self) -> None:
        self._window.stand_at(self._judged_us)
        self._window.rebuild()

    def _pass_over(self, until_us: int) -> None:
        self._judged_us = max(self._judged_us, until_us)

    def _try_to_sleep(self) -> None:
        """Go to sleep if no window from here on can be in breach without a further event."""
        window, screen = self._window, self._plan.screen
        if (
            not screen.applies
            or self._judged_us < self._loud_until_us
            or not self.lifecycle.is_idle
            or self._is_open
            or window.high < len(window.times)
        ):
            return
        self._settle()
        if self._asleep:
            window.rest()
            self.lifecycle.rest()

    def _make_room(self) -> None:
        """Forget what is no longer needed, and see what the group may do without judging."""
        if self._asleep:
            self._make_room_for_sleeper()
            return
        if self._coasts:
            self._learn_peak_until(self._judged_us - self._is_open)
            self._window.stand_at(self._judged_us)
        self._forget()
        count = self._window.count
        room = max(_LEAST_ROOM, min(count, _MOST_ROOM))
        self._room = len(self._window.times) + self._staggered(room)
        self.heed_limits()
        if not self._coasts:
            self._try_to_coast()
        elif count > _MOST_COASTED:
            self._stop_coasting()

    def _staggered(self, room: int) -> int:
        """Return up to twice ``room``, lest all groups of one age make room at once."""
        return room + ((self._first_us or 0) * _SCATTER >> 32) % room

    def _make_room_for_sleeper(self) -> None:
        """Forget what is no longer needed; wake up if too much is left."""
        self._window.stand_at(self._judged_us)
        self._forget()
        self._settle()
        if not self._asleep:
            self._window.rebuild()

    def _settle(self) -> None:
        """Sleep until the columns have grown by much, unless the window is nearly loud."""
        window, max_quiet = self._window, self._plan.screen.max_quiet
        self._asleep = 4 * window.count < 3 * max_quiet
        self._room = window.low + min(max_quiet, max(_LEAST_ROOM, 2 * window.count))
        self.heed_limits()

    # ---- in breach, whatever comes of the kind that came

    def _try_to_coast(self) -> None:
        """Coast if no window from here on can be out of breach while enough events come that hold.

        O(events inside), so it is tried when as many have come as that, and when the clock calls.
        """
        window, plan = self._window, self._plan
        if (
            plan.enough
            and self.lifecycle.is_steady
            and plan.enough <= window.count <= _MOST_COASTED
            and window.high == len(window.times)
            and window.times[-1] == self._newest_us
            and self._warm_us == NEVER_US
            and all(map(plan.holds, window.values[window.low : window.high]))
        ):
            self._coasts = True
            self._peak_until_us = self._judged_us - self._is_open
            window.rest()

    def _coasts_through(self, time_us: int, value: float, now_us: int) -> bool:
        """Keep an event in order, without judging it, if all windows up to it are in breach."""
        plan, window = self._plan, self._window
        times = window.times
        if (
            not (self._judged_us < time_us <= now_us or (self._is_open and time_us == times[-1]))
            or not plan.holds(value)
            or time_us - times[-plan.enough] > window.span_us
            or not (
                now_us - self._raised_us < plan.lateness_us
                or self._is_ahead_after_gap(time_us, now_us)
            )
        ):
            return False
        times.append(time_us)
        window.values.append(value)
        if time_us != self._newest_us:
            self._newest_us, self._raised_us = time_us, now_us
            self._judged_us = time_us
        if not self._is_open:
            self._is_open = True
            plan.journal.leave_open(self)
        return True

    def learn_peak(self, now_us: int) -> None:
        """Bring the open incident's peak value up to date with the clock at ``now_us``."""
        if self._coasts:
            clock_us = min(self._clock_us(now_us), self._next_change_us() - 1)
            self._learn_peak_until(max(self._judged_us, clock_us))

    def _learn_peak_until(self, until_us: int) -> None:
        if self._coasts and self._peak_until_us < until_us:
            from_us, self._peak_until_us = self._peak_until_us, until_us
            plan, window, peak = self._plan, self._window, self.lifecycle.peak
            if peak is None or may_be_passed(peak, plan.rule, window, from_us, until_us):
                looks = self._retrospect(window, from_us).looks(from_us, until_us + 1)
                next(looks, None)  # what held at ``from_us`` is known already
                for _, level, value in looks:
                    if level is Level.BREACH and value is not None:
                        self.lifecycle.observe(value)

    def _stop_coasting(self) -> None:
        """Take up the window again where it stands."""
        if self._coasts:
            self._learn_peak_until(self._judged_us - self._is_open)
            self._coasts = False
            self._take_up_window()

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

    def _insert(self, time_us: int, value: float, now_us: int, old_warm_us: int | None) -> bool:
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
            from_us, until_us = self._changed_by(time_us, old_warm_us, is_overdue=is_overdue)
            self._revise(from_us, until_us, time_us, horizon_us)
        self._forget()
        self._ask()
        return not is_overdue

    def _changed_by(
        self, time_us: int, old_warm_us: int | None, *, is_overdue: bool
    ) -> tuple[int, int]:
        """Return in which stretch ``[from, until)`` a late event may have changed the level."""
        horizon_us, warm_us = self._judged_us, self._warm_up_us()
        reach_us = self._reach_us(horizon_us)
        from_us, until_us = time_us, time_us + self._window.span_us
        if (
            old_warm_us is not None and warm_us != old_warm_us
        ):  # the group is older than was thought, and warm earlier
            from_us, until_us = min(from_us, warm_us), max(until_us, old_warm_us)
        if is_overdue:  # what it changes in the past is the reconciler's, the present is ours
            from_us, until_us = horizon_us, horizon_us + 1
        elif self._slept_until_us >= reach_us:  # and nobody knows what levels there were
            from_us, until_us = reach_us, max(until_us, self._slept_until_us + 1)
            self._slept_until_us = BEFORE_TIME_US
        return max(from_us, reach_us), min(until_us, horizon_us + 1)

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
        self._wake_up(now_us)
        super().reconsider(from_us, events, before, told, late_us, now_us)
        self._slept_until_us = BEFORE_TIME_US
        self._try_to_sleep()

    def _reached_by(self, stored: StoredGroup) -> int:
        return max(stored.newest_us, stored.clock_us)

    def _just_judged(self, until_us: int) -> int:
        return until_us

    def _fill(self, times_us: array[int], values: array[float]) -> None:
        super()._fill(times_us, values)
        for time_us, value in zip(times_us, values, strict=True):
            self._listen(time_us, value)

    def _take_clock(self, stored: StoredGroup) -> None:
        self._stop_coasting()
        self.close_instant()
        super()._take_clock(stored)
        if self._asleep:
            self._pass_over(self._filled_us)
        elif self._filled_us != BEFORE_TIME_US:
            self._judge_until(self._filled_us)

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        if self._has_waiting:
            self._wake_up(plan.active_us)
        super().join(plan, pending_value)
        if not self._asleep:
            self._try_to_sleep()

    def _next_change_us(self) -> int:
        if self._asleep:
            return NEVER_US
        if self._coasts:
            return self._window.times[-self._plan.enough] + self._window.span_us
        if self._is_indifferent_to_leaving:
            return self._warm_us
        return min(self._window.next_leaving_us(), self._warm_us)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        self._learn_peak_until(self._judged_us)
        return (*super().dump(), self._asleep, self._coasts, self._loud_until_us, self._room,
                self._slept_until_us)  # fmt: skip

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        super().load(state[:3])
        flags, marks = msgspec.convert((state[3:5], state[5:]), _Stillness)
        self._asleep, self._coasts = flags
        self._loud_until_us, self._room, self._slept_until_us = marks
        self._peak_until_us = self._judged_us
        if self._asleep or self._coasts:
            self._window.rest()
