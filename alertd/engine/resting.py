"""Groups that need not judge what cannot matter: they sleep while quiet, and coast while firing.

Owns when a group of ``cruising.py`` may only keep an event. As long as the rule's screen says
that no window can be in breach, it sleeps: nothing is judged. While it is firing and its screen
says that no window can be out of breach, it coasts: what the events make of the incident's peak is
found out later (``peaks.py``). Nobody can tell the difference but by the time that it takes, and
that a sleeper who is woken may find what is overdue before the reconciler does.

Invariant: a group that sleeps is idle; one that coasts is firing, and its peak is known up to
``_peak_until_us``. In both, all kept events lie at or before the horizon, and the window's edges
and aggregate are stale.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from alertd.engine.band import BandDump
from alertd.engine.continuous import LEAST_ROOM
from alertd.engine.cruising import CruisingGroup
from alertd.engine.group import QuietClock, Rest
from alertd.engine.inputs import StoredGroup
from alertd.engine.past import Interval
from alertd.engine.peaks import may_be_passed
from alertd.engine.plan import Plan
from alertd.engine.retrospect import breaches
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Window
from alertd.model import Incident, Labels

_MOST_COASTED = 4096
"""Events in a window with which a group coasts at most: to take it up again costs milliseconds."""

TRY_AFTER: Final = 8
"""Events after which a group that is awake, with few inside, looks again whether it may coast."""

_Stillness = tuple[bool, bool, int, int, BandDump | None]


class RestingGroup(CruisingGroup):
    """A continuous group that judges only what may matter."""

    __slots__ = ("_asleep", "_coasts", "_loud_until_us", "_peak_until_us", "_slept_until_us")

    may_rest: ClassVar = True

    def __init__(self, plan: Plan, labels: Labels) -> None:
        self._asleep = False
        self._coasts = False
        self._peak_until_us = BEFORE_TIME_US  # up to here the peak is known, while it coasts
        self._loud_until_us = BEFORE_TIME_US  # when the last loud event will have left
        self._slept_until_us = BEFORE_TIME_US  # no level was noted between falling asleep and this
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

    def _observe_awake(self, time_us: int, value: float, now_us: int) -> bool:
        if self._is_open and time_us != self._judged_us:
            self.close_instant()
            if self._asleep:
                return self.observe(time_us, value, now_us)
        self._listen(time_us, value)
        if (cruise := self._cruise) is not None:
            if not self._is_quiet_at(time_us) and self._cruises_through(
                cruise, time_us, value, now_us
            ):
                return True
            self._stop_cruising()
            if time_us == self._judged_us:
                self._reopen_instant(cruise)
        return self._apply(time_us, value, now_us)

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
            times=self._window.times,
            values=self._window.values,
        )

    def close_instant(self) -> None:
        """No more events of the instant at the horizon come in this step: judge it."""
        if self._coasts:
            self._is_open = False
        else:
            super().close_instant()

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        if self._asleep:
            return
        if self._cruise is not None:
            super().advance(now_us)
            return
        if not (self._coasts and self._clock_us(now_us) < self._next_change_us()):
            self._stop_coasting()
            self._advance(now_us)
            self._try_to_coast()
        self._ask()

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        self._wake_up(now_us)
        self._loud_until_us = BEFORE_TIME_US
        for time_us, value in zip(self._window.times, self._window.values, strict=True):
            self._listen(time_us, value)
        super().rejudge(now_us)

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

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        if self._has_waiting:
            self._wake_up(plan.active_us)
        super().join(plan, pending_value)
        if not self._asleep:
            self._try_to_sleep()

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
        else:
            super()._wake_up(now_us)

    def _next_change_us(self) -> int:
        if self._asleep:
            return NEVER_US
        if self._coasts:
            return self._window.times[-self._plan.enough] + self._window.span_us
        return super()._next_change_us()

    def _make_room(self) -> None:
        """Forget what is no longer needed, and see what the group may do without judging."""
        if self._asleep:
            self._make_room_for_sleeper()
            return
        if self._coasts:
            self._learn_peak_until(self._judged_us - self._is_open)
            self._window.stand_at(self._judged_us)
        super()._make_room()
        if not self._coasts:
            if self._cruise is not None:
                self._try_to_sleep()
            self._try_to_coast()
            if not (self._asleep or self._coasts):
                self._look_after(TRY_AFTER)
        elif self._window.count > _MOST_COASTED:
            self._stop_coasting()

    # ---- quiet, whatever comes of the kind that came

    def _listen(self, time_us: int, value: float) -> None:
        """Remember until when an event keeps the group awake."""
        if self._plan.is_loud(value):
            self._loud_until_us = max(self._loud_until_us, time_us + self._window.span_us)

    def _is_quiet_at(self, time_us: int) -> bool:
        """Return whether the group, which cruises, would sleep if what has come were judged.

        There is no band for counts: however many events there are, they are quiet by their values.
        """
        return (
            self._loud_until_us <= time_us and self._plan.screen.applies and self.lifecycle.is_idle
        )

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
            self._cruise = None
            window.rest()
            self.lifecycle.rest()

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
        self._room = window.low + min(max_quiet, max(LEAST_ROOM, 2 * window.count))
        self.heed_limits()

    def _changed_by(self, time_us: int, warmed: Interval | None, *, is_overdue: bool) -> Interval:
        """Return in which stretch a late event may have changed the level."""
        from_us, until_us = super()._changed_by(time_us, warmed, is_overdue=is_overdue)
        reach_us = self._reach_us(self._judged_us)
        if (
            not is_overdue and self._slept_until_us >= reach_us
        ):  # nobody knows what levels there were
            from_us, until_us = reach_us, max(until_us, self._slept_until_us + 1)
            until_us = min(until_us, self._judged_us + 1)
            self._slept_until_us = BEFORE_TIME_US
        return from_us, until_us

    def _fill(self, times_us: array[int], values: array[float]) -> None:
        super()._fill(times_us, values)
        for time_us, value in zip(times_us, values, strict=True):
            self._listen(time_us, value)

    def _come_to(self, until_us: int) -> None:
        if self._asleep:
            self._pass_over(until_us)
        else:
            super()._come_to(until_us)

    def _try_to_cruise(self) -> None:
        if not self._asleep:
            super()._try_to_cruise()

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
            self._cruise = None
            self._peak_until_us = self._judged_us - self._is_open
            window.rest()

    def _coasts_through(self, time_us: int, value: float, now_us: int) -> bool:
        """Keep an event in order, without judging it, if all windows up to it are in breach."""
        plan, window = self._plan, self._window
        times = window.times
        # Where it takes several, more than one may leave just when this one comes.
        apart_us = window.span_us - (plan.enough > 1)
        if (
            not (self._judged_us < time_us <= now_us or (self._is_open and time_us == times[-1]))
            or not plan.holds(value)
            or time_us - times[-plan.enough] > apart_us
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
                for _, value in breaches(looks):
                    self.lifecycle.observe(value)

    def _stop_coasting(self) -> None:
        """Take up the window again where it stands."""
        if self._coasts:
            self._learn_peak_until(self._judged_us - self._is_open)
            self._coasts = False
            self._take_up_window()

    def _take_clock(self, stored: StoredGroup) -> None:
        self._stop_coasting()
        super()._take_clock(stored)

    # ---- snapshots

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        self._learn_peak_until(self._judged_us)
        still = self._asleep, self._coasts, self._loud_until_us, self._slept_until_us
        return (*super().dump(), (*still, self._dump_band()))

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        *common, still = state
        super().load(tuple(common))
        *still, band = msgspec.convert(still, _Stillness)
        self._asleep, self._coasts, self._loud_until_us, self._slept_until_us = still
        self._load_band(band)
        self._peak_until_us = self._judged_us
        if self._asleep or self._coasts:
            self._window.rest()
