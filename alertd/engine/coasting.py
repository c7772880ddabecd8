"""Groups that coast: in breach whatever comes, as long as it is of the kind that came.

Owns when a group of ``cruising.py`` that is firing may only keep an event. While the rule's screen
says that no window can be out of breach, nothing is judged; what the events make of the incident's
peak is found out later (``peaks.py``). Nobody can tell the difference but by the time that it
takes. Leaves to ``resting.py`` groups that are quiet, and how an event finds a group at rest.

Invariant: a group that coasts is firing, and its peak is known up to the ``peak_until_us`` of its
vigil. All kept events lie at or before the horizon, and the window's edges and aggregate are stale.
"""

from __future__ import annotations

from typing import Final

from alertd.engine.cruising import CruisingGroup
from alertd.engine.group import Rest
from alertd.engine.inputs import StoredGroup
from alertd.engine.peaks import may_be_passed
from alertd.engine.retrospect import breaches
from alertd.engine.window import NEVER_US

_MOST_COASTED = 4096
"""Events in a window with which a group coasts at most: to take it up again costs milliseconds."""

TRY_AFTER: Final = 8
"""Events after which a group that is awake, with few inside, looks again whether it may coast."""


class CoastingGroup(CruisingGroup):
    """A continuous group that need not judge what cannot end its breach."""

    __slots__ = ()

    @property
    def _coasts(self) -> bool:
        return self._vigil.peak_until_us is not None

    def close_instant(self) -> None:
        """No more events of the instant at the horizon come in this step: judge it."""
        if self._vigil.peak_until_us is not None:
            self._is_open = False
        else:
            super().close_instant()

    def advance(self, now_us: int) -> None:
        """Move the horizon as far as the clock allows at ``now_us``."""
        if self._vigil.cruise is not None:
            super().advance(now_us)
            return
        if not (self._coasts and self._clock_us(now_us) < self._next_change_us()):
            self._stop_coasting()
            self._advance(now_us)
            self._try_to_coast()
        self._ask()

    def rest(self) -> Rest | None:
        """Return what lets loud events be kept for it, None if it has to judge."""
        plan = self._plan
        if not self._coasts or plan.enough != 1:
            return None
        quiet = plan.screen.holding_values
        return self._rest(quiet, self._judged_us, is_strict=True, apart_us=self._window.span_us)

    def learn_peak(self, now_us: int) -> None:
        """Bring the open incident's peak value up to date with the clock at ``now_us``."""
        if self._coasts:
            clock_us = min(self._clock_us(now_us), self._next_change_us() - 1)
            self._learn_peak_until(max(self._judged_us, clock_us))

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
            self._vigil.cruise = None
            self._vigil.peak_until_us = self._judged_us - self._is_open
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

    def _learn_peak_until(self, until_us: int) -> None:
        from_us = self._vigil.peak_until_us
        if from_us is not None and from_us < until_us:
            self._vigil.peak_until_us = until_us
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
            self._vigil.peak_until_us = None
            self._take_up_window()

    def _wake_up(self, now_us: int) -> None:
        """Be where the clock at ``now_us`` is, with the window there, if this was at rest."""
        if self._coasts:
            self._pass_over(self.horizon_us(now_us))
            self._stop_coasting()
        else:
            super()._wake_up(now_us)

    def _next_change_us(self) -> int:
        if self._coasts:
            return self._window.times[-self._plan.enough] + self._window.span_us
        return super()._next_change_us()

    def _make_room(self) -> None:
        """Forget what is no longer needed, and see whether the group may coast."""
        if self._coasts:
            self._learn_peak_until(self._judged_us - self._is_open)
            self._window.stand_at(self._judged_us)
        super()._make_room()
        if not self._coasts:
            self._try_to_coast()
            if not self._coasts:
                self._look_after(TRY_AFTER)
        elif self._window.count > _MOST_COASTED:
            self._stop_coasting()

    def _take_clock(self, stored: StoredGroup) -> None:
        self._stop_coasting()
        super()._take_clock(stored)
