"""What a group is while it sleeps: events, and what it has in common with all others that sleep.

Owns how little a group holds that only keeps what comes, for there may be a million of them: its
events packed (``packed.py``), or in a window whose edges and aggregate are stale, and a lifecycle
that all sleepers of a rule share; and how many events it may have before it is looked at. Leaves
to ``resting.py`` and ``resting_bucketed.py`` when a group may sleep, and what wakes it.

Invariant: a group that sleeps is idle, and no event waits for the wall clock to reach it. While its
events are packed its window is one that all share, and holds none of them.
"""

from __future__ import annotations

from typing import Final

from alertd.engine.group import QuietClock, Rest
from alertd.engine.packed import MOST_PACKED, pack, unpack
from alertd.engine.plan import Plan
from alertd.engine.screen import Range, Screen
from alertd.engine.window import BEFORE_TIME_US, NO_EVENTS, Window
from alertd.engine.window_group import WindowGroup
from alertd.model import Labels

LEAST_ROOM: Final = 64
"""Events that are kept at least before it is looked at which are still needed."""

ROOM_GROWTH: Final = 4
"""So many times the events that it has are the room of a sleeper of which none has left."""

WIDE_AWAKE: Final = 8
"""A group stays awake after a loud event for such a part of its window, whatever outweighs it.

To take up the window again costs as much as to cruise through some such part of its events.
"""


class SleepingGroup(WindowGroup):
    """A group that may sleep, whatever it is that lets it."""

    __slots__ = ("_packed", "_quiet", "_room")

    def __init__(self, plan: Plan, labels: Labels) -> None:
        # None while it is awake. Else its events, or nothing: then they are in its window.
        self._packed: bytes | None = None
        self._quiet = plan.screen.quiet_values  # what wakes it lies outside, while it sleeps
        self._room = 0  # length of the columns at which they must be looked at
        super().__init__(plan, labels)

    @property
    def _asleep(self) -> bool:
        return self._packed is not None

    def heed_limits(self) -> None:
        """The plan has other limits than before: whoever is full is to be looked at."""
        self._room = min(self._room, self._plan.max_events)

    def catch_up(self, clock: QuietClock) -> None:
        """Take the clock that these events have moved, and the room that they were given."""
        _, self._newest_us, self._raised_us, self._heard_us, self._room = clock

    def _is_quiet(self, value: float) -> bool:
        """Whether ``value`` lets a group sleep that does."""
        low, high = self._quiet
        return low <= value <= high

    def _finds_quiet(self) -> bool:
        """Note what is quiet beside the events that it has; False if these are not themselves."""
        quiet = self._plan.screen.quiet_beside(self._window.values)
        if quiet is not None:
            self._quiet = quiet
        return quiet is not None

    def _dump_quiet(self) -> Range | None:
        """Return what is quiet for a sleeper if that is not the same for all of its rule."""
        is_own = self._asleep and self._quiet != self._plan.screen.quiet_values
        return self._quiet if is_own else None

    def _load_quiet(self, quiet: Range | None) -> None:
        """Take what ``_dump_quiet`` returned."""
        if quiet is not None:
            shared = self._plan.screen.quiet_beside(quiet)
            self._quiet = shared if shared == quiet else quiet

    def _rest(
        self,
        quiet: Range,
        horizon_us: int,
        *,
        is_strict: bool,
        apart_us: int,
        trail_us: int = 0,
        roomy_until_us: int = BEFORE_TIME_US,
    ) -> Rest:
        clock = horizon_us, self._newest_us, self._raised_us, self._heard_us
        return Rest(
            clock=QuietClock(*clock, self._room),
            lateness_us=self._plan.lateness_us,
            quiet=quiet,
            roomy_until_us=roomy_until_us,
            most_room=min(self._plan.screen.max_quiet, self._plan.max_events),
            is_strict=is_strict,
            apart_us=apart_us,
            trail_us=trail_us,
            times=self._window.times,
            values=self._window.values,
        )

    def _fall_asleep(self) -> None:
        """Sleep, if the window's edges leave enough room for events to come."""
        self._settle(has_left=self._window.low > 0)
        if self._asleep:
            self.lifecycle.rest()
            self._free()
            self._plan.timers.put_off(self, self.expires_us)

    def _settle(self, *, has_left: bool) -> None:
        """Sleep until the columns have grown by much, unless the window is nearly loud.

        ``has_left`` tells whether any event has left the window, forgotten by now or not.
        """
        window, max_quiet = self._window, self._plan.screen.max_quiet
        self._packed = None if is_crowded(window.count, self._plan.screen) else b""
        # While nothing has left the window yet, there is little that could be forgotten soon.
        growth = 2 if has_left else ROOM_GROWTH
        self._room = window.low + min(max_quiet, max(LEAST_ROOM, growth * window.count))
        self.heed_limits()

    def _free(self) -> None:
        """Let go of what a sleeper does not need: there may be a million of them."""
        if not self._packed:
            self._window.rest()
            self._window.pack()
            self._share_window()
        self._share_lifecycle()

    @property
    def _events(self) -> Window:
        if not self._packed:
            return self._window
        window = self._plan.new_window()
        unpack(self._packed, window)
        return window

    def _share_window(self) -> None:
        """Have no window of its own, if it is looked at before the events are many."""
        if self._window.times and self._room <= MOST_PACKED:
            self._packed = pack(self._window)
            self._window = NO_EVENTS

    def _own_window(self) -> None:
        """Have a window again that holds the events."""
        if self._packed:
            self._window, self._packed = self._events, b""

    def _share_lifecycle(self) -> None:
        """Have no lifecycle of its own that says only what those of others say who sleep."""
        if self.lifecycle.is_at_rest:
            level = self.lifecycle.level
            self.lifecycle = self._plan.at_rest.setdefault(level, self.lifecycle)

    def _own_lifecycle(self) -> None:
        """Have a lifecycle again that may change."""
        if self.lifecycle.is_at_rest:
            self.lifecycle = self._new_lifecycle(self.lifecycle.level)


def is_crowded(inside: int, screen: Screen) -> bool:
    """Whether the events ``inside`` a window are nearly as many as cannot be in breach."""
    return 4 * inside >= 3 * screen.max_quiet
