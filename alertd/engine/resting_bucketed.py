"""Bucketed groups that sleep: no window that closes can be in breach.

Owns when a group of ``bucketed.py`` may only keep an event: while no value is loud by the rule's
screen that a window yet to be judged may hold, or one that a late event may have judged again, none
of these can be in breach, and nothing is judged when they close. Whoever wakes up judges again what
a late event may still change, which is all that anybody can ask for; so nobody can tell. Leaves to
``sleeping.py`` what a group is meanwhile.

Invariant: that of ``sleeping.py``, and the lifecycle is at rest. ``_judged_us`` and ``_horizon_us``
may be behind: what they would be follows from the events and the clock.

Cost: to fall asleep O(events kept), once in the time that a loud one keeps it awake; to wake as
much, and a look for each bucket within the lateness.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import compress
from typing import Final

import msgspec

from alertd.engine.bucketed import BucketedGroup
from alertd.engine.group import QuietClock, Rest
from alertd.engine.inputs import StoredGroup
from alertd.engine.packed import LOG_EVENT_BYTES, pack_event
from alertd.engine.plan import Plan
from alertd.engine.screen import Range
from alertd.engine.sleeping import WIDE_AWAKE, is_crowded
from alertd.engine.window import BEFORE_TIME_US, NEVER_US
from alertd.model import GroupState, Labels

_MOST_JUDGED_AGAIN: Final = 128
"""Buckets within the lateness with which a group sleeps at most: to wake takes some 0.5 ms."""


_Stillness = tuple[bool, int, int, Range | None]


class RestingBucketedGroup(BucketedGroup):
    """A bucketed group that judges only what may matter."""

    __slots__ = ("_awake_until_us",)

    def __init__(self, plan: Plan, labels: Labels) -> None:
        # It cannot sleep while windows that end before this may be judged, or judged again.
        self._awake_until_us = BEFORE_TIME_US
        super().__init__(plan, labels)

    def _observe_unusual(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event that may be late, close a window, be one too many, or come asleep."""
        packed = self._packed
        if packed is None:
            return super()._observe_unusual(time_us, value, now_us)
        plan = self._plan
        kept = len(packed) >> LOG_EVENT_BYTES if packed else len(self._window.times)
        if kept >= self._room:
            if kept >= plan.max_events and self._refuses(now_us):
                return True
            self._make_room(now_us)
        if not self._asleep or time_us > now_us or not self._is_quiet(value):
            self._wake_up(now_us)
            return super()._observe_unusual(time_us, value, now_us)
        clock_us = self._clock_us(now_us)
        if time_us < max(self._newest_us, self._horizon_us, clock_us):
            return self._keep_late(time_us, value, now_us)
        self._append(time_us, value)
        if clock_us > time_us - plan.lateness_us:
            self._horizon_us = max(self._horizon_us, clock_us)
        self._hear(time_us, now_us)
        return True

    def rest(self) -> Rest | None:
        """Return what lets quiet events be kept for it, None if it has to judge."""
        if self._packed is None:
            return None
        self._own_window()
        plan, times = self._plan, self._window.times
        return self._rest(
            self._quiet,
            self._passed_us,
            is_strict=False,
            apart_us=NEVER_US,
            trail_us=plan.lateness_us,
            # Before this no event is too old for all windows that may be judged.
            roomy_until_us=times[0] + plan.window_us + plan.lateness_us
            if times
            else BEFORE_TIME_US,
        )

    def catch_up(self, clock: QuietClock) -> None:
        """Take the clock that these events have moved, and the room that they were given."""
        super().catch_up(clock)
        self._horizon_us = clock.horizon_us

    def advance(self, now_us: int) -> None:
        """Judge the windows that have closed by the clock at ``now_us``; it is awake then."""
        if self._asleep:
            self._wake_up(now_us)
            self._ask()
        else:
            super().advance(now_us)

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        super().rejudge(now_us)
        # What its windows said before is not to be read off them by the edited rule.
        self._awake_until_us = self.horizon_us(now_us) + 1

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        super().join(plan, pending_value)
        self._try_to_sleep(plan.active_us)

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands: what the last judged window said."""
        if not self._asleep:
            return super().state(now_us)
        end_us = self._just_judged(self.horizon_us(now_us))
        has_value = self._events.count_at(end_us - 1) >= self._plan.condition.min_samples
        return GroupState.OK if has_value else GroupState.NO_DATA

    @property
    def _passed_us(self) -> int:
        """The horizon, but for what the clock has moved it since the newest event."""
        return max(self._horizon_us, self._newest_us - self._plan.lateness_us)

    def _observe_closing(self, time_us: int, value: float, now_us: int) -> bool:
        counts = super()._observe_closing(time_us, value, now_us)
        self._try_to_sleep(now_us)
        return counts

    def _append(self, time_us: int, value: float) -> None:
        """Keep the newest event."""
        if self._packed:
            self._packed += pack_event(time_us, value)
        else:
            self._window.times.append(time_us)
            self._window.values.append(value)

    def _keep_late(self, time_us: int, value: float, now_us: int) -> bool:
        """Keep a quiet event that is not the newest, or came after a pause, where it is needed."""
        plan = self._plan
        horizon_us = self._horizon_us = self.horizon_us(now_us)
        self._own_window()
        self._pass_over_closed(horizon_us)
        is_needed = time_us >= self._judged_us - plan.lateness_us - plan.window_us
        if is_needed:
            self._window.keep(time_us, value)
        if self._first_us is None or time_us < self._first_us:
            self._first_us = time_us
        self._hear(time_us, now_us)
        return time_us >= self._judged_us or (is_needed and time_us > self._reach_us(horizon_us))

    # ---- falling asleep and waking up

    def _try_to_sleep(self, now_us: int) -> None:
        """Go to sleep if no window from here on can be in breach without a further event."""
        plan = self._plan
        if self._awake_until_us > self._judged_us:
            return  # seen at a glance, for it may be asked at each event
        if not (self.lifecycle.is_idle and plan.screen.applies):
            return
        horizon_us = self.horizon_us(now_us)
        least_us = self._first_judged_again(horizon_us)
        if (
            self._awake_until_us <= least_us
            and plan.lateness_us <= _MOST_JUDGED_AGAIN * plan.rule.bucket_us
            and not self._has_waiting
            and self._warm_us == NEVER_US
            and not is_crowded(self._needed_at(horizon_us), plan.screen)
            and self._is_quiet_from(least_us - plan.window_us)
        ):
            self.lifecycle.rest()
            if self.lifecycle.is_at_rest:
                self._put_edges(horizon_us)
                self._fall_asleep()

    def _is_quiet_from(self, from_us: int) -> bool:
        """Whether no value is loud from there on; else one that is keeps the group awake."""
        window = self._window
        first = bisect_left(window.times, from_us)
        are_loud = map(self._plan.is_loud, reversed(window.values[first:]))
        for loud_us in compress(reversed(window.times[first:]), are_loud):
            self._awake_until_us = loud_us + window.span_us + 1
            return False
        if not self._finds_quiet():
            window_us = self._plan.window_us
            self._awake_until_us = from_us + window_us + max(1, window_us // WIDE_AWAKE)
            return False
        return True

    def _needed_at(self, horizon_us: int) -> int:
        """Return how many events may be inside a window that is judged from there on, or again."""
        plan, times = self._plan, self._window.times
        oldest_us = self._just_judged(horizon_us - plan.lateness_us) - plan.window_us
        return len(times) - bisect_left(times, oldest_us)

    def _put_edges(self, horizon_us: int) -> None:
        """Have inside the window what any of these may hold."""
        window = self._window
        window.high = len(window.times)
        window.low = window.high - self._needed_at(horizon_us)

    def _free(self) -> None:
        """Let go of what a sleeper does not need: there may be a million of them."""
        super()._free()
        self._due_us = self._awake_until_us = BEFORE_TIME_US
        if self._horizon_us <= self._newest_us - self._plan.lateness_us:
            self._horizon_us = BEFORE_TIME_US  # the newest event says as much

    def _make_room(self, now_us: int) -> None:
        """Forget what is no longer needed; wake up if too much is left."""
        was_packed, horizon_us = bool(self._packed), self.horizon_us(now_us)
        self._own_window()
        window = self._window
        self._put_edges(horizon_us)
        if is_crowded(window.count, self._plan.screen):
            self._wake_up(now_us)
            return
        has_left = window.low > 0
        if has_left:
            self._pass_over_closed(horizon_us)
            window.forget_until(window.times[window.low - 1])
        self._settle(has_left=has_left)
        if was_packed:  # else there may be somebody who keeps events in its columns for it
            self._share_window()

    def _wake_up(self, now_us: int) -> None:
        """Be where the clock at ``now_us`` is, as if all windows had been judged."""
        if self._asleep:
            horizon_us = self.horizon_us(now_us)
            self._own_window()
            self._pass_over_closed(horizon_us)
            passed_us, self._judged_us = self._judged_us, self._first_judged_again(horizon_us)
            # Else one whose events are now behind the clock, now ahead would wake at each of them.
            self._awake_until_us = self._judged_us + self._window.span_us + 1
            self._packed = None
            self._own_lifecycle()
            self._window.stand_at(self._position_us)
            self._window.rebuild()
            self._judge(self._judged_us)
            self._close_until(horizon_us)
            self._pass_over(passed_us)

    def _first_judged_again(self, horizon_us: int) -> int:
        """Return the end of the last window of which no late event can change what it says."""
        return min(self._judged_us, self._just_judged(self._reach_us(horizon_us)))

    def _pass_over_closed(self, horizon_us: int) -> None:
        """Count as judged what has closed; of a run of empty windows that is the first."""
        bucket_us = self._plan.rule.bucket_us
        end_us, times = self._just_judged(horizon_us), self._window.times
        place = bisect_left(times, end_us)
        if place:
            emptied_us = self._just_judged(times[place - 1]) + bucket_us + self._plan.window_us
            self._judged_us = max(self._judged_us, min(end_us, emptied_us))

    def _next_change_us(self) -> int:
        return NEVER_US if self._asleep else super()._next_change_us()

    def _take_clock(self, stored: StoredGroup) -> None:
        self._wake_up(self._raised_us)
        super()._take_clock(stored)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        *common, _, due_us = super().dump()
        still = self._asleep, self._room, self._awake_until_us, self._dump_quiet()
        return (*common, self._passed_us, due_us, still)

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        *common, stillness = state
        super().load(tuple(common))
        asleep, self._room, self._awake_until_us, quiet = msgspec.convert(stillness, _Stillness)
        self._load_quiet(quiet)
        if asleep:
            self._packed = b""
            self._free()
