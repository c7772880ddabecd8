"""Groups that sleep: nothing can come of what they see, as long as it is quiet.

Owns when a group of ``coasting.py`` may only keep an event, whichever way it is at rest. As long as
the rule's screen says that no window can be in breach, or that what was loud is outweighed
(``excess.py``), it sleeps: nothing is judged. Nobody can tell the difference but by the time that
it takes, and that a sleeper who is woken may find what is overdue before the reconciler does.

Leaves to ``sleeping.py`` what it then is.

Invariant: that of ``sleeping.py``, and all kept events lie at or before the horizon. Its vigil may
be one that all sleepers share, too.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import msgspec

from alertd.engine.band import BandDump
from alertd.engine.coasting import CoastingGroup
from alertd.engine.cruising import NO_STEP
from alertd.engine.group import Rest
from alertd.engine.inputs import StoredGroup
from alertd.engine.packed import LOG_EVENT_BYTES, pack_event
from alertd.engine.past import Interval
from alertd.engine.plan import Plan
from alertd.engine.screen import Range
from alertd.engine.sleeping import WIDE_AWAKE, is_crowded
from alertd.engine.vigil import AT_EASE, Cruise, Vigil
from alertd.engine.window import BEFORE_TIME_US, NEVER_US, Window
from alertd.model import Incident

_Stillness = tuple[bool, bool, int, int, float, Range | None, BandDump | None]


class RestingGroup(CoastingGroup):
    """A continuous group that judges only what may matter."""

    __slots__ = ()

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply one event received at ``now_us``; False if it is older than the lateness."""
        plan, packed = self._plan, self._packed
        kept = len(packed) >> LOG_EVENT_BYTES if packed else len(self._window.times)
        if kept >= self._room:
            if kept >= plan.max_events and self._refuses(now_us):
                return True
            self._make_room_for(time_us)
            packed = self._packed
        if packed is not None:
            quiet = self._quiet
            if (
                self._judged_us <= time_us <= now_us
                and quiet[0] <= value <= quiet[1]
                and (
                    now_us - self._raised_us < plan.lateness_us
                    or self._is_ahead_after_gap(time_us, now_us)
                )
            ):
                if packed:
                    self._packed = packed + pack_event(time_us, value)
                else:
                    window = self._window
                    window.times.append(time_us)
                    window.values.append(value)
                if time_us != self._newest_us:
                    self._newest_us, self._raised_us = time_us, now_us
                    self._begun_in = plan.journal.steps
                else:
                    self._heard_us = now_us
                self._judged_us = time_us
                return True
            return self._observe_disturbing(time_us, value, now_us)
        if self._vigil.peak_until_us is not None:
            if self._coasts_through(time_us, value, now_us):
                return True
            self._stop_coasting()
        return self._observe_awake(time_us, value, now_us)

    def _observe_disturbing(self, time_us: int, value: float, now_us: int) -> bool:
        """Apply an event that is late, loud, ahead or after a pause, while it sleeps."""
        self._own_window()
        if self._sleeps_through(time_us, value, now_us):
            return time_us > self._reach_us(self.horizon_us(now_us))
        self._wake_up(now_us)
        if not self._reopens(time_us):
            self._judge(self._judged_us)  # clear, held and no data were all one to a sleeper
        return self._observe_awake(time_us, value, now_us)

    def _observe_awake(self, time_us: int, value: float, now_us: int) -> bool:
        if self._is_open and time_us != self._judged_us:
            self.close_instant()
            if self._asleep:
                return self.observe(time_us, value, now_us)
        times = self._window.times
        self._listen(time_us, value, is_weighed=not times or times[-1] <= time_us)
        if (cruise := self._vigil.cruise) is not None:
            if self._cruises_through(cruise, time_us, value, now_us):
                self._try_to_doze_off(cruise)
                return True
            self._stop_cruising()
            self._reopens(time_us)
        return self._apply(time_us, value, now_us)

    def rest(self) -> Rest | None:
        """Return what lets quiet events be kept for it, None if it has to judge."""
        if not self._asleep:
            return super().rest()
        self._own_window()
        times = self._window.times
        # What has a past, or no events, has to look for itself what there is to forget.
        is_roomy = self.lifecycle.is_at_rest and len(times) > 0
        return self._rest(
            self._quiet,
            self._judged_us,
            is_strict=False,
            apart_us=NEVER_US,
            roomy_until_us=times[0] + self._window.span_us if is_roomy else BEFORE_TIME_US,
        )

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        if not self._asleep:
            super().advance(now_us)

    def rejudge(self, now_us: int) -> None:
        """Judge by the plan's rule, which was edited at ``now_us``; ``advance`` ran before."""
        self._wake_up(now_us)
        vigil = self._vigil
        vigil.loud_until_us, vigil.excess = BEFORE_TIME_US, 0.0
        self._listen_to_all(self._window.times, self._window.values)
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
        self._vigil.slept_until_us = BEFORE_TIME_US
        self._try_to_sleep()

    def join(self, plan: Plan, pending_value: float | None) -> None:
        """Be one of the groups of ``plan`` from now on, and tell what holds."""
        if self._has_waiting:
            self._wake_up(plan.active_us)
        self._begun_in = NO_STEP  # of another journal
        super().join(plan, pending_value)
        if self._asleep:
            self._free()
        else:
            self._try_to_sleep()

    def _wake_up(self, now_us: int) -> None:
        """Take up the window again where the clock at ``now_us`` has it."""
        if self._asleep:
            self._own_window()
            self._packed = None
            self._pass_over(self.horizon_us(now_us))
            self._own_vigil()
            self._vigil.slept_until_us = self._judged_us
            self._take_up_window()
            self._own_lifecycle()
        else:
            super()._wake_up(now_us)

    def _next_change_us(self) -> int:
        return NEVER_US if self._asleep else super()._next_change_us()

    def _make_room_for(self, time_us: int) -> None:
        """Do as ``_make_room`` before an event at ``time_us``, whose instant may be open then."""
        rested = self._asleep or self._vigil.cruise is not None
        self._make_room()
        if rested and not self._asleep and self._vigil.cruise is None:
            self._reopens(time_us)

    def _make_room(self) -> None:
        """Forget what is no longer needed, and see what the group may do without judging."""
        if self._asleep:
            self._make_room_for_sleeper()
            return
        super()._make_room()
        if self._vigil.cruise is not None:
            self._try_to_sleep()

    def _listen(self, time_us: int, value: float, *, is_weighed: bool) -> None:
        """Remember until when an event keeps the group awake, and by how much.

        Where others come late they wake a group that holds loud values: then, as where some were
        not ``is_weighed``, it does not try to sleep before those have left.
        """
        plan, vigil = self._plan, self._vigil
        if plan.is_loud(value):
            leaves_us = time_us + self._window.span_us
            if leaves_us > vigil.loud_until_us:
                vigil.loud_until_us = leaves_us
        vigil.excess = plan.follow_excess(vigil.excess, value) if is_weighed else math.inf

    def _listen_to_all(self, times_us: array[int], values: array[float]) -> None:
        """Listen to events that come in order."""
        for time_us, value in zip(times_us, values, strict=True):
            self._listen(time_us, value, is_weighed=True)

    def _may_sleep(self, inside: int) -> bool:
        """Whether it is idle, and no window from here on can be in breach by what is ``inside``."""
        screen, vigil = self._plan.screen, self._vigil
        if not screen.applies:
            return False
        awake_until_us = vigil.loud_until_us
        if not vigil.excess:
            awake_until_us -= self._window.span_us - self._window.span_us // WIDE_AWAKE
        if (
            awake_until_us > self._judged_us
            or is_crowded(inside, screen)
            or not self.lifecycle.is_idle
        ):
            return False
        if not self._finds_quiet():
            vigil.loud_until_us = self._judged_us + max(1, self._window.span_us // WIDE_AWAKE)
            return False
        return True

    def _sleeps_through(self, time_us: int, value: float, now_us: int) -> bool:
        """Keep a late event, without judging it, if no window that it belongs to can breach."""
        window, screen, horizon_us = self._window, self._plan.screen, self.horizon_us(now_us)
        reach_us = self._reach_us(horizon_us)
        if (
            time_us > horizon_us
            or time_us <= reach_us - window.span_us
            or self._vigil.loud_until_us > reach_us
            or len(window.times) >= min(self._room, screen.max_quiet)
            or not self._is_quiet(value)
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
        window = self._window
        if not self._is_open and window.high == len(window.times) and self._may_sleep(window.count):
            self._fall_asleep()

    def _try_to_doze_off(self, cruise: Cruise) -> None:
        """Go to sleep as well where the group cruises, without judging what it has passed."""
        if self._may_sleep(len(self._window.times) - cruise.left):
            self._window.stand_at(self._judged_us)
            self._fall_asleep()

    def _fall_asleep(self) -> None:
        vigil = self._vigil  # after that it may be one that all share
        super()._fall_asleep()
        if self._asleep:
            vigil.cruise, vigil.excess = None, 0.0

    def _free(self) -> None:
        """Let go of what a sleeper does not need: there may be a million of them."""
        super()._free()
        self._share_vigil()

    def _share_vigil(self) -> None:
        """Have no vigil of its own that says nothing any more."""
        self._vigil.forget_before(self._reach_us(self._judged_us))
        if self._vigil.is_over:
            self._vigil = AT_EASE

    def _own_vigil(self) -> None:
        """Have a vigil again that may change."""
        if self._vigil is AT_EASE:
            self._vigil = Vigil()

    def _make_room_for_sleeper(self) -> None:
        """Forget what is no longer needed; wake up if too much is left."""
        was_packed = bool(self._packed)
        self._own_window()
        self._window.stand_at(self._judged_us)
        has_left = self._window.low > 0
        self._forget()
        self._settle(has_left=has_left)
        if self._asleep:
            if was_packed:  # else there may be somebody who keeps events in its columns for it
                self._share_window()
            self._share_lifecycle()
            self._share_vigil()
        else:
            self._window.rebuild()
            self._own_lifecycle()
            self._own_vigil()

    def _changed_by(self, time_us: int, warmed: Interval | None, *, is_overdue: bool) -> Interval:
        """Return in which stretch a late event may have changed the level."""
        from_us, until_us = super()._changed_by(time_us, warmed, is_overdue=is_overdue)
        reach_us = self._reach_us(self._judged_us)
        slept_until_us = self._vigil.slept_until_us
        if not is_overdue and slept_until_us >= reach_us:  # nobody knows what levels there were
            from_us, until_us = reach_us, max(until_us, slept_until_us + 1)
            until_us = min(until_us, self._judged_us + 1)
            self._vigil.slept_until_us = BEFORE_TIME_US
        return from_us, until_us

    def _fill(self, times_us: array[int], values: array[float]) -> None:
        super()._fill(times_us, values)
        self._listen_to_all(times_us, values)

    def _take_clock(self, stored: StoredGroup) -> None:
        super()._take_clock(stored)
        self._own_window()  # there may be events that wait

    def _come_to(self, until_us: int) -> None:
        if self._asleep:
            self._pass_over(until_us)
        else:
            super()._come_to(until_us)

    def _try_to_cruise(self) -> None:
        if not self._asleep:
            super()._try_to_cruise()

    def _stop_coasting(self) -> None:
        """Take up the window again where it stands."""
        if self._coasts:
            super()._stop_coasting()
            # What has come meanwhile was not weighed.
            self._listen(self._window.times[-1], self._window.values[-1], is_weighed=False)

    def dump(self) -> tuple[object, ...]:
        """Return the state as plain data for a snapshot."""
        self._learn_peak_until(self._judged_us)
        vigil = self._vigil  # whoever shares one has forgotten as much
        vigil.forget_before(self._reach_us(self._judged_us))
        still = (self._asleep, self._coasts, vigil.loud_until_us, vigil.slept_until_us,
                 vigil.excess, self._dump_quiet())  # fmt: skip
        return (*super().dump(), (*still, self._dump_band()))

    def load(self, state: tuple[object, ...]) -> None:
        """Take what ``dump`` returned. Raises ``ValueError`` for anything else."""
        *common, still = state
        super().load(tuple(common))
        vigil = self._vigil
        (asleep, coasts, vigil.loud_until_us, vigil.slept_until_us, vigil.excess, quiet,
         band) = msgspec.convert(still, _Stillness)  # fmt: skip
        self._load_quiet(quiet)
        self._load_band(band)
        if asleep:
            self._packed = b""
            self._free()
        elif coasts:
            vigil.peak_until_us = self._judged_us
            self._window.rest()
