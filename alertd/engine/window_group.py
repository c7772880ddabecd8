"""The state of one (rule, group), as far as all types of window share it.

Owns the group's clock (SEMANTICS, section 5), its warm-up, its window and its lifecycle, and
their form in a snapshot. Leaves to ``continuous.py`` and ``bucketed.py`` which instants are
judged.

Invariant: everything up to ``_judged_us`` has been judged and the window stands there. Events
that the window has not reached, those ahead of the wall clock among them, wait in its columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from alertd.engine.condition import Level
from alertd.engine.group import QuietClock, Rest
from alertd.engine.inputs import StoredGroup
from alertd.engine.lifecycle import Discovery, Lifecycle, LifecycleDump
from alertd.engine.past import Interval
from alertd.engine.plan import Plan
from alertd.engine.retrospect import Retrospect
from alertd.engine.sources import Sources
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Sight, Window, WindowDump
from alertd.model import DetectedBy, GroupState, Incident, Labels

BACKFILL_SLICE_EVENTS: Final = 500
"""Stored events that a group takes between two yields: some 10 ms at most."""

_Clock = tuple[int, int, int, int | None, int, int, int, int, int, int]
_GroupDump = tuple[_Clock, LifecycleDump, WindowDump]


class WindowGroup:
    """What ``ContinuousGroup`` and ``BucketedGroup`` have in common."""

    __slots__ = ("_filled_us", "_first_us", "_heard_us", "_judged_us", "_known_from_us",
                 "_newest_us", "_plan", "_raised_us", "_warm_us", "_window", "labels",
                 "lifecycle", "sources", "ticket", "wake_us")  # fmt: skip

    def __init__(self, plan: Plan, labels: Labels) -> None:
        self.labels = labels
        self.sources: Sources = None
        self.wake_us = NEVER_US
        self.ticket = 0
        self._plan = plan
        self.lifecycle = self._new_lifecycle(plan.condition.initial_level)
        self._window = plan.new_window()
        self._newest_us = BEFORE_TIME_US  # M: greatest event time that the clock has reached
        self._raised_us = plan.active_us  # R: wall time at which M was last raised
        self._heard_us = plan.active_us  # wall time of the last event that did not raise M
        self._known_from_us = BEFORE_TIME_US  # before it, dropped groups may have had events
        self._first_us: int | None = None  # least event time seen
        self._judged_us = BEFORE_TIME_US
        self._filled_us = BEFORE_TIME_US  # the horizon at the activation, if it started warm
        self._warm_us = NEVER_US  # when the warm-up ends; NEVER_US when there is none
        if self._watches_silence:
            self._begin_watch()
            self._warm_us = self._warm_up_us()
            self._ask()
        elif plan.forgotten_until_us != BEFORE_TIME_US:
            self._begin_after(plan.forgotten_until_us)

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event received at ``now_us``; False if it is older than the lateness."""
        raise NotImplementedError

    def advance(self, now_us: int) -> None:
        """Judge what the clock has made due, and ask to be woken for what comes next."""
        raise NotImplementedError

    def heed_limits(self) -> None:
        """The plan has other limits than before."""
        raise NotImplementedError

    def catch_up(self, clock: QuietClock) -> None:
        """Take the clock that events have moved which were kept for it."""
        raise NotImplementedError

    def learn_peak(self, now_us: int) -> None:
        """Bring the open incident's peak value up to date; here it always is."""

    def state(self, now_us: int) -> GroupState:
        """Return where the group stands for a reader at ``now_us``, who moves nothing."""
        raise NotImplementedError

    def rest(self) -> Rest | None:
        """Return what lets quiet events be kept for it, None if it has to judge."""
        return None

    def sight(self, at_us: int) -> Sight:
        """Return what the window holds now, seen as the window of the instant ``at_us``."""
        raise NotImplementedError

    def _retrospect(self, events: Window, reach_us: int) -> Retrospect:
        """Return a view of the past by ``events``, which are complete for what follows reach."""
        raise NotImplementedError

    def _next_change_us(self) -> int:
        """Return the next instant to judge that no further event is needed for."""
        raise NotImplementedError

    def _pass_over(self, until_us: int) -> None:
        """Count time up to ``until_us`` as judged, because the level cannot have changed in it."""
        raise NotImplementedError

    def _new_lifecycle(self, level: Level) -> Lifecycle:
        """Return one of this group of which nothing is known but where its condition stands."""
        plan = self._plan
        return Lifecycle(plan.rule, plan.active_us, level, self.labels, plan.journal)

    @property
    def rule_id(self) -> str:
        """The id of its rule."""
        return self._plan.rule.id

    @property
    def _position_us(self) -> int:
        """Where the window stands."""
        raise NotImplementedError

    @property
    def _events(self) -> Window:
        """The window, to be looked at: its events are all that is sure to be right."""
        return self._window

    @property
    def _watches_silence(self) -> bool:
        """Whether the group is there, and its condition may hold, before any event."""
        return self._plan.condition.true_on_empty and not self._plan.rule.group_by

    @property
    def _has_waiting(self) -> bool:
        """Whether events are kept that the wall clock has not reached."""
        times = self._window.times
        return bool(times) and times[-1] > self._newest_us

    @property
    def expires_us(self) -> int:
        """The wall time at which it is to be dropped if no event comes; or ``NEVER_US``."""
        if self._watches_silence:
            return NEVER_US
        quiet_since_us = max(self._raised_us, self._heard_us)
        if self._has_waiting:
            quiet_since_us = max(quiet_since_us, self._window.times[-1])
        return quiet_since_us + self._plan.rule.group_ttl_us

    def forgotten_until_us(self, now_us: int) -> int:
        """Return up to where a late event must find its events, if it is dropped at ``now_us``.

        Later ones share no window with them, nor have they windows that follow one another.
        """
        rule = self._plan.rule
        return min(self._newest_us + rule.window_us + rule.bucket_us, self.horizon_us(now_us))

    def horizon_us(self, now_us: int) -> int:
        """Return the event time judged so far at ``now_us``; the activation before any event."""
        if self._newest_us == BEFORE_TIME_US:
            return self._plan.active_us
        return max(self._judged_us, self._clock_us(now_us))

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        if self._watches_silence and self._newest_us == BEFORE_TIME_US:
            self._begin_watch()
        at_us, warm_us = self.horizon_us(now_us), self._warm_up_us()
        self._warm_us = warm_us if warm_us > at_us else NEVER_US
        former = self.lifecycle.adopt(self._plan.rule, at_us)
        if self._newest_us != BEFORE_TIME_US:
            self._pass_over(at_us)
            is_warm = self._warm_us == NEVER_US
            level, value = self._plan.look(self._window) if is_warm else (Level.CLEAR, None)
            if level is Level.BREACH and value is not None:
                self.lifecycle.observe(value)
            self.lifecycle.rejudge(at_us, level, self, former)
        self._ask()

    def _clock_us(self, now_us: int) -> int:
        """Return M + (now - R) - L: where the wall clock alone puts the horizon."""
        return self._newest_us + (now_us - self._raised_us) - self._plan.lateness_us

    def _reach_us(self, horizon_us: int) -> int:
        """Return up to where events are overdue: their past is not known here any more."""
        return max(horizon_us - self._plan.lateness_us, self._known_from_us)

    def _refuses(self, now_us: int) -> bool:
        """Return whether an event received at ``now_us`` is one too many; count it then.

        Only events that something may still ask for count. What has been kept longer than that
        is known to nobody, so it may not decide. O(log n).
        """
        window, limit = self._events, self._plan.max_events
        if len(window.times) < limit:
            return False
        needed_after_us = self._reach_us(self.horizon_us(now_us)) - window.span_us
        if window.count_between(needed_after_us, NEVER_US) < limit:
            return False
        self._plan.observed.overflow(self.labels, now_us)
        return True

    def note_gap(self, raised_us: int, now_us: int) -> None:
        """Count how long M has not been raised, if the clock has run ahead of it meanwhile."""
        gap_us = now_us - raised_us
        if gap_us > self._plan.lateness_us and raised_us != self._plan.active_us:
            self._plan.observed.gap(gap_us, now_us)

    def _hear(self, time_us: int, now_us: int) -> None:
        """Let the clock go by an event that it has reached at ``now_us``."""
        if time_us > self._newest_us:
            self.note_gap(self._raised_us, now_us)
            self._newest_us, self._raised_us = time_us, now_us
        else:
            self._heard_us = now_us

    def _appear(self, time_us: int) -> Interval | None:
        """Take ``time_us``, before all earlier ones, for the moment at which the group appeared.

        Returns in which stretch it is warm by that and was not before.
        """
        old_us, self._first_us = self._warm_up_us(), time_us
        warm_us = self._warm_up_us()
        if self._plan.rule.group_by:
            self._warm_us = warm_us if warm_us > self._judged_us else NEVER_US
        return None if warm_us == old_us else (warm_us, old_us)

    def _begin_watch(self) -> None:
        """Be there, without any event, from the moment at which the rule became active."""
        self._newest_us = self._judged_us = self._plan.active_us

    def _begin_after(self, forgotten_us: int) -> None:
        """Be new, but leave what comes from before ``forgotten_us`` to the reconciler.

        It may belong with events of a group that had these labels and was dropped.
        """
        self._known_from_us = self._newest_us = forgotten_us
        self._raised_us = self._plan.journal.now_us
        self._judged_us = self._just_judged(forgotten_us)

    def _warm_up_us(self) -> int:
        """Return when the warm-up is over; ``NEVER_US`` for a rule or a group without one."""
        plan = self._plan
        if not plan.condition.true_on_empty:
            return NEVER_US
        if not plan.rule.group_by:
            return plan.active_us + plan.window_us
        if self._first_us is None:
            return NEVER_US
        return max(plan.active_us, self._first_us) + plan.window_us

    def _revise(self, from_us: int, until_us: int, time_us: int, horizon_us: int) -> None:
        """Judge ``[from_us, until_us)`` again, because of a late event at ``time_us``."""
        past = self._retrospect(self._window, self._reach_us(horizon_us))
        looks = list(past.looks(from_us, until_us))
        discovery = Discovery(DetectedBy.LATE, horizon_us - time_us)
        self.lifecycle.revise(from_us, until_us, looks, horizon_us, discovery, past)

    def reconsider(
        self,
        from_us: int,
        events: Window,
        before: Window,
        told: Sequence[Incident],
        late_us: int,
        now_us: int,
    ) -> None:
        """Judge ``[from_us, horizon]`` again by ``events``, which are complete for it.

        ``before`` are those of them that came before the rule became active; ``told`` are the
        incidents that overlap the stretch, in order; ``late_us`` is the event time of the overdue
        event that asked for this. ``advance`` ran before.
        """
        horizon_us = self.horizon_us(now_us)
        past = self._retrospect(events, from_us)
        looks = list(past.looks(from_us, horizon_us + 1))
        discovery = Discovery(DetectedBy.RECONCILE, horizon_us - late_us)
        passed = self._passed(from_us, before)
        self.lifecycle.reconsider(from_us, looks, told, passed, horizon_us, discovery, past)
        self.lifecycle.forget_before(self._reach_us(horizon_us))
        self._ask()

    def _passed(self, from_us: int, before: Window) -> list[Interval]:
        """Return what was over before the rule became active, by the events that came before."""
        if from_us > self._filled_us or not before.times:
            return []
        looks = self._retrospect(before, from_us).looks(from_us, self._filled_us + 1)
        levels = [(at_us, level) for at_us, level, _ in looks]
        return self.lifecycle.intervals(from_us, levels, self._filled_us)

    # ---- a warm start

    def backfill(self, stored: StoredGroup, now_us: int) -> Iterator[None]:
        """Judge what was stored before the rule became active, and yield now and then.

        The group is new, and its plan's journal hears nobody. Each event is judged as if it had
        come when it happened, from W + L before the activation on; the windows are complete from
        there. Cost: that of the same events live.
        """
        times_us, values, plan = stored.times_us, stored.values, self._plan
        self._filled_us = max(self._reached_by(stored), self._judged_us)
        if not self._watches_silence:
            self._judged_us = self._just_judged(min(plan.look_back_us - 1, self._filled_us))
            self._appear(times_us[0])
            if not plan.condition.true_on_empty and plan.look_back_us <= self._filled_us:
                self._warm_us = plan.look_back_us  # where it is looked at first
        inside = bisect_right(times_us, self._position_us)
        reached = bisect_right(times_us, now_us)
        for part in _slices(0, inside):
            self._fill(times_us[part], values[part])
            yield
        self._window.move_to(self._position_us)  # the last event is not the end of what is judged
        if not self._watches_silence:
            for part in _slices(inside, reached):
                for time_us, value in zip(times_us[part], values[part], strict=True):
                    self.observe(time_us, value, time_us)
                yield
            self._take_clock(stored)
            inside = reached
        for part in _slices(inside, len(times_us)):
            for time_us, value in zip(times_us[part], values[part], strict=True):
                self._window.put(time_us, value)
            yield

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        self._plan.timers.cancel(self)
        self._plan = plan
        self.lifecycle.begin_telling(plan.journal, pending_value)
        self._ask()

    def _reached_by(self, stored: StoredGroup) -> int:
        """Return H of SEMANTICS, section 5, of a group with these events."""
        raise NotImplementedError

    def _just_judged(self, until_us: int) -> int:
        """Return what ``_judged_us`` is when everything up to ``until_us`` has been judged."""
        raise NotImplementedError

    def _fill(self, times_us: array[int], values: array[float]) -> None:
        """Put events into the window that come before anything is judged."""
        self._window.times.extend(times_us)
        self._window.values.extend(values)
        self._window.move_to(min(times_us[-1], self._position_us))

    def _take_clock(self, stored: StoredGroup) -> None:
        """Take over the clock of the stored events, and judge as far as it has come."""
        self._heard_us = stored.heard_us
        if stored.newest_us != BEFORE_TIME_US:
            self._newest_us, self._raised_us = stored.newest_us, stored.raised_us

    def _judge(self, at_us: int) -> None:
        """Tell the lifecycle what the window, which stands at ``at_us``, means."""
        if at_us < self._warm_us != NEVER_US:
            return
        self._warm_us = NEVER_US
        lifecycle = self.lifecycle
        level, value = self._plan.look(self._window)
        if level is Level.BREACH and value is not None:
            lifecycle.observe(value)
        if level != lifecycle.level:
            lifecycle.change(at_us, level, self)
        elif lifecycle.deadline_us <= at_us:
            lifecycle.serve(at_us, self)

    def _ask(self) -> None:
        """Ask to be woken when the clock makes the next thing happen that is not an event."""
        if self._has_waiting:
            self._plan.timers.ask(self, self._window.first_after(self._newest_us))
        change_us = min(self.lifecycle.deadline_us, self._next_change_us())
        if change_us != NEVER_US:
            lag_us = self._raised_us - self._newest_us + self._plan.lateness_us
            self._plan.timers.ask(self, change_us + lag_us)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        clock = (self._newest_us, self._raised_us, self._heard_us, self._first_us, self._warm_us,
                 self._judged_us, self._filled_us, self._known_from_us, self.wake_us,
                 self.ticket)  # fmt: skip
        return clock, self.lifecycle.dump(), self._events.dump()

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        clock, lifecycle, window = msgspec.convert(state, _GroupDump)
        self._newest_us, self._raised_us, self._heard_us, self._first_us = clock[:4]
        self._warm_us, self._judged_us, self._filled_us, self._known_from_us = clock[4:8]
        self.lifecycle.load(lifecycle)
        self._window.load(window, self._position_us)
        self._plan.timers.restore(self, *clock[8:])


def _slices(start: int, end: int) -> Iterator[slice]:
    """Yield ``[start, end)`` in parts of ``BACKFILL_SLICE_EVENTS``."""
    for first in range(start, end, BACKFILL_SLICE_EVENTS):
        yield slice(first, min(first + BACKFILL_SLICE_EVENTS, end))
