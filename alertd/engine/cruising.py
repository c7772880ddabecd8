"""Groups that are awake and let events pass, because the window's value keeps to a band.

Owns when a group of ``continuous.py`` need not judge although any single event could matter: as
long as it *cruises*, its band (``band.py``) says of each change point that neither the level nor
the incident's peak changes there. So an event that comes in order costs a few additions, and the
window's edges and aggregate follow when something has to be judged again. Leaves to ``coasting.py``
and ``resting.py`` groups of which it is known beforehand what kind of event changes nothing.

Invariant: a group that cruises has judged everything up to its newest event, and nothing waits.
The window's own edges, and its aggregate, are behind.
"""

from __future__ import annotations

from typing import Final

from alertd.engine.band import BandDump, limits
from alertd.engine.continuous import ContinuousGroup
from alertd.engine.plan import Plan
from alertd.engine.vigil import Cruise, Vigil
from alertd.engine.window import NEVER_US
from alertd.model import Labels

NO_STEP: Final = -1


class CruisingGroup(ContinuousGroup):
    """A continuous group that keeps to a band where it can."""

    __slots__ = ("_begun_in", "_vigil")

    def __init__(self, plan: Plan, labels: Labels) -> None:
        self._begun_in = NO_STEP  # the step that the instant at the horizon began in, unjudged
        self._vigil = Vigil()
        super().__init__(plan, labels)

    def close_instant(self) -> None:
        """No more events of the instant at the horizon come in this step: judge it."""
        if self._is_open:
            lifecycle = self.lifecycle
            level, peak = lifecycle.level, lifecycle.peak
            super().close_instant()
            # After a change the next may be near: a value that goes up and down is not followed.
            if lifecycle.level is level and lifecycle.peak == peak:
                self._try_to_cruise()

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        if self._vigil.cruise is None or self._clock_us(now_us) > self._judged_us:
            self._advance(now_us)
        self._ask()

    def _try_to_cruise(self) -> None:
        """Cruise if the value may change, from what was judged last, without anything else."""
        plan, window, lifecycle = self._plan, self._window, self.lifecycle
        if plan.new_band is None or self._warm_us != NEVER_US or window.high < len(window.times):
            return
        level, value = plan.look(window)
        between = None if value is None else limits(plan.condition, level, value, lifecycle.peak)
        if between is not None:
            cruise = self._vigil.cruise = Cruise(plan.new_band(*between), lifecycle.deadline_us)
            self._renew_band(cruise)

    def _renew_band(self, cruise: Cruise) -> None:
        """Have the band begin where the window stands, which is at the horizon."""
        cruise.left = self._window.low
        if not cruise.band.renew(self._window, self._room - len(self._window.times)):
            self._stop_cruising()

    def _cruises_through(self, cruise: Cruise, time_us: int, value: float, now_us: int) -> bool:
        """Keep an event in order, without judging it, if nothing comes of it or of what it passes.

        Events that leave are looked at one by one, also those that leave just as it enters.
        """
        plan, window, band = self._plan, self._window, cruise.band
        if not (
            self._judged_us <= time_us <= now_us
            and time_us < cruise.until_us
            and (
                now_us - self._raised_us < plan.lateness_us
                or self._is_ahead_after_gap(time_us, now_us)
            )
        ):
            return False
        times, left, span_us = window.times, cruise.left, window.span_us
        while times[left] + span_us <= time_us:
            if len(times) - left <= plan.least_samples or not band.leave(window.values[left]):
                return False
            left += 1
        if not band.enter(value):
            return False
        times.append(time_us)
        window.values.append(value)
        cruise.left = left
        if time_us != self._newest_us:
            self._newest_us, self._raised_us = time_us, now_us
            self._judged_us = time_us
            self._begun_in = plan.journal.steps
        else:
            self._heard_us = now_us
        due_us = min(times[left] + span_us, cruise.until_us)
        wake_us = due_us - time_us + self._raised_us + plan.lateness_us
        if wake_us < self.wake_us:
            plan.timers.ask(self, wake_us)
        return True

    def _is_ahead_after_gap(self, time_us: int, now_us: int) -> bool:
        """Return whether an event that came after a pause is one that the clock has not passed."""
        if self._clock_us(now_us) >= time_us:
            return False
        self.note_gap(self._raised_us, now_us)
        return True

    def _reopens(self, time_us: int) -> bool:
        """Judge the instant ``time_us`` when the step is over, and not as what is late, if it may.

        That is if it began in this step and has not been judged, because the group was at rest,
        which is over. Returns whether it is so.
        """
        has_begun = self._begun_in == self._plan.journal.steps
        self._begun_in = NO_STEP
        if not has_begun or time_us != self._judged_us:
            return False
        self._is_open = True
        self._plan.journal.leave_open(self)
        return True

    def _stop_cruising(self) -> None:
        """Take up the window again where it stands."""
        if self._vigil.cruise is not None:
            self._vigil.cruise = None
            if self._window.is_at_rest:
                self._take_up_window()
            else:
                self._window.move_to(self._judged_us)

    def _take_up_window(self) -> None:
        """Put the window, which was at rest, to the horizon."""
        self._window.stand_at(self._judged_us)
        self._window.rebuild()

    def _wake_up(self, now_us: int) -> None:
        """Be where the clock at ``now_us`` is, with the window there, if this was at rest."""
        self._stop_cruising()

    def _judge_all_that_came(self) -> None:
        super()._judge_all_that_came()  # which may have it cruise
        self._stop_cruising()

    def _next_change_us(self) -> int:
        if (cruise := self._vigil.cruise) is not None:
            return self._window.times[cruise.left] + self._window.span_us
        return super()._next_change_us()

    def _make_room(self) -> None:
        """Forget what is no longer needed, and say when this is to be done again."""
        if (cruise := self._vigil.cruise) is not None:
            self._let_window_follow(cruise.left)
        super()._make_room()

    def _look_after(self, least_events: int) -> None:
        super()._look_after(least_events)
        if (cruise := self._vigil.cruise) is not None:
            self._renew_band(cruise)

    def _let_window_follow(self, left: int) -> None:
        """Move the window to the horizon, without its aggregate if that is far behind.

        To rebuild it costs no more than to have had it follow.
        """
        window = self._window
        behind, inside = len(window.times) - window.high, len(window.times) - left
        if window.is_at_rest or 2 * behind >= inside:
            window.stand_at(self._judged_us)
            window.rest()
        else:
            window.move_to(self._judged_us)

    # ---- snapshots

    def _dump_band(self) -> BandDump | None:
        cruise = self._vigil.cruise
        return None if cruise is None else cruise.band.dump()

    def _load_band(self, state: BandDump | None) -> None:
        """Take what ``_dump_band`` returned, when all else is there."""
        if state is not None and self._plan.new_band is not None:
            band = self._plan.new_band(0.0, 0.0)
            band.load(state)
            cruise = self._vigil.cruise = Cruise(band, self.lifecycle.deadline_us)
            cruise.left = self._window.low
