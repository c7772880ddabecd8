"""BUCKETED_WINDOW with ``evaluate = "on_close"``: judged when a window closes.

Windows end at the multiples ``e`` of the bucket interval B and cover ``[e - W, e)``; the one
that ends at ``e`` is judged as soon as the horizon, which trails the newest event by the
allowed lateness, reaches ``e``. What it says holds until the next one is judged.

Invariant: ``_judged_us`` is the end of the last window that was judged. A run of empty windows
is judged once, not bucket by bucket. Cost of an event in order: amortised O(1) besides the
aggregate's own, for hopping windows too, and a look for each bucket that ends while it is inside.
"""

from __future__ import annotations

import msgspec

from alertd.engine.inputs import StoredGroup
from alertd.engine.past import Interval
from alertd.engine.plan import Plan
from alertd.engine.retrospect import BucketedPast, Retrospect, next_end_us
from alertd.engine.sleeping import SleepingGroup
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Sight, Window
from alertd.model import GroupState, Labels


class BucketedGroup(SleepingGroup):
    """One (rule, group) of a rule that judges tumbling or hopping windows."""

    __slots__ = ("_due_us", "_horizon_us")

    def __init__(self, plan: Plan, labels: Labels) -> None:
        # Horizon at which something is to be judged; before time itself when it is not known.
        self._due_us = BEFORE_TIME_US
        self._horizon_us = BEFORE_TIME_US  # H, which never falls, though M - L may
        super().__init__(plan, labels)

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply one event received at ``now_us``; False if it is older than the lateness."""
        plan, newest_us = self._plan, self._newest_us
        reached_us = time_us - plan.lateness_us
        clock_us = reached_us + (newest_us - time_us) + (now_us - self._raised_us)
        if (
            newest_us < time_us <= now_us
            and self._horizon_us < time_us > clock_us
            and reached_us < self._due_us > clock_us
            and len(self._window.times) < plan.max_events
        ):
            # The usual case: the newest event so far, not late, and it closes no window.
            if clock_us > newest_us:
                self.note_gap(self._raised_us, now_us)
            self._window.put(time_us, value)
            self._horizon_us = max(self._horizon_us, clock_us, reached_us)
            self._newest_us, self._raised_us = time_us, now_us
            wake_us = now_us + (self._due_us - reached_us)
            if wake_us < self.wake_us:
                plan.timers.ask(self, wake_us)
            return True
        return self._observe_unusual(time_us, value, now_us)

    def _observe_unusual(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event that may be late, close a window, or be one too many."""
        if self._refuses(now_us):
            return True
        counts = self._observe_closing(time_us, value, now_us)
        self._ask()
        if counts and not self._has_waiting:
            due_us = min(self.lifecycle.deadline_us, self._next_change_us())
            if due_us != NEVER_US:  # else the next event is the first of its window
                self._due_us = due_us
        return counts

    def _observe_closing(self, time_us: int, value: float, now_us: int) -> bool:
        self._due_us = BEFORE_TIME_US
        self._catch_up(now_us)
        warmed = None
        if self._first_us is None or time_us < self._first_us:
            warmed = self._appear(time_us)
        counts = self._put(time_us, value, now_us, warmed)
        if time_us <= now_us:
            self._hear(time_us, now_us)
        self._close_until(self._clock_us(now_us))
        return counts

    def advance(self, now_us: int) -> None:
        """Judge the windows that have closed by the clock at ``now_us``."""
        self._catch_up(now_us)
        self._ask()
        self._due_us = BEFORE_TIME_US

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        self._due_us = BEFORE_TIME_US
        super().rejudge(now_us)

    def sight(self, at_us: int) -> Sight:
        """Return what the last judged window holds; ``at_us`` lies at or after its end."""
        return self._window.sight(self._plan.condition, self._judged_us)

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands: what the last judged window said."""
        if not self.lifecycle.is_idle:
            return self.lifecycle.state
        has_value = self._window.count >= self._plan.condition.min_samples
        return GroupState.OK if has_value else GroupState.NO_DATA

    def horizon_us(self, now_us: int) -> int:
        """Return the event time judged so far at ``now_us``; the activation before any event."""
        return max(self._horizon_us, super().horizon_us(now_us))

    @property
    def _position_us(self) -> int:
        return self._judged_us - 1

    def _begin_watch(self) -> None:
        super()._begin_watch()
        bucket_us = self._plan.rule.bucket_us
        self._judged_us = (self._newest_us - self._plan.lateness_us) // bucket_us * bucket_us

    def _begin_after(self, forgotten_us: int) -> None:
        super()._begin_after(forgotten_us)
        self._horizon_us = forgotten_us

    def _put(self, time_us: int, value: float, now_us: int, warmed: Interval | None) -> bool:
        window, plan, judged_us = self._window, self._plan, self._judged_us
        if time_us >= judged_us:
            window.put(time_us, value)
            return True
        reach_us = self._reach_us(self.horizon_us(now_us))
        if time_us < judged_us - plan.lateness_us - plan.window_us:
            return False
        if time_us >= judged_us - plan.window_us:
            window.put_inside(time_us, value)
        else:
            window.put_before(time_us, value)
        self._judge_late(time_us, reach_us, now_us, warmed)
        return time_us > reach_us

    def _judge_late(
        self, time_us: int, reach_us: int, now_us: int, warmed: Interval | None
    ) -> None:
        """Judge the windows again that a late event changes, as far back as the lateness reaches.

        Those hold it, or end where the group has ``warmed`` because of it.
        """
        bucket_us, horizon_us = self._plan.rule.bucket_us, self.horizon_us(now_us)
        first_us = (time_us // bucket_us + 1) * bucket_us
        last_us = (time_us + self._plan.window_us) // bucket_us * bucket_us
        if warmed is not None:
            first_us = min(first_us, -(-warmed[0] // bucket_us) * bucket_us)
            last_us = max(last_us, (warmed[1] - 1) // bucket_us * bucket_us)
        first_us = max(first_us, -(-reach_us // bucket_us) * bucket_us)
        if time_us <= reach_us:
            # What an overdue event changes in the past is the reconciler's; the present is ours.
            first_us = max(first_us, self._judged_us)
        until_us = last_us + bucket_us if last_us < self._judged_us else horizon_us + 1
        if first_us < until_us and first_us <= self._judged_us:
            self._revise(first_us, until_us, time_us, horizon_us)

    def _retrospect(self, events: Window, reach_us: int) -> Retrospect:
        # Of a run of empty windows only the first was judged, but all of them were passed over.
        bucket_us = self._plan.rule.bucket_us
        return BucketedPast(
            self._plan,
            events,
            reach_us=reach_us,
            judged_us=max(self._judged_us, self._horizon_us // bucket_us * bucket_us),
            warm_us=self._warm_up_us(),
        )

    def _catch_up(self, now_us: int) -> None:
        """Let the clock reach events that were ahead of it, and close what it closes."""
        reached_us = self._window.last_until(now_us)
        if reached_us is not None and reached_us > self._newest_us:
            self._newest_us = self._raised_us = reached_us
        self._close_until(self._clock_us(now_us))

    def _close_until(self, horizon_us: int) -> None:
        """Judge every window that ends at or before ``horizon_us``, in order."""
        plan, window, lifecycle = self._plan, self._window, self.lifecycle
        horizon_us = self._horizon_us = max(horizon_us, self._horizon_us)
        while (end_us := self._next_change_us()) <= horizon_us:
            if lifecycle.deadline_us < end_us:
                self._serve(end_us - 1)
            window.move_to(end_us - 1)
            self._judged_us = end_us
            self._judge(end_us)
            window.forget_until(end_us - plan.window_us - plan.lateness_us - 1)
        if lifecycle.deadline_us <= horizon_us:
            self._serve(horizon_us)
        lifecycle.forget_before(self._reach_us(horizon_us))

    def _serve(self, until_us: int) -> None:
        self._pass_over(self.lifecycle.deadline_us)
        self.lifecycle.serve(until_us, self)

    def _pass_over(self, until_us: int) -> None:
        bucket_us = self._plan.rule.bucket_us
        self._judged_us = max(self._judged_us, until_us // bucket_us * bucket_us)

    def _reached_by(self, stored: StoredGroup) -> int:
        return stored.clock_us

    def _just_judged(self, until_us: int) -> int:
        bucket_us = self._plan.rule.bucket_us
        return until_us // bucket_us * bucket_us

    def _take_clock(self, stored: StoredGroup) -> None:
        super()._take_clock(stored)
        self._due_us = BEFORE_TIME_US
        self._close_until(self._filled_us)

    def _next_change_us(self) -> int:
        """Return the end of the next window whose judgement can differ, or ``NEVER_US``."""
        bucket_us = self._plan.rule.bucket_us
        return next_end_us(self._window, self._judged_us, bucket_us, self._warm_us)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        return (*super().dump(), self._horizon_us, self._due_us)

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        super().load(state[:3])
        self._horizon_us, self._due_us = msgspec.convert(state[3:], tuple[int, int])
