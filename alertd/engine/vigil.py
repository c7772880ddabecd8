"""What a group knows only while it is awake.

Owns where it is as it passes events without judging them, and what keeps it from sleeping. A group
that falls asleep lets go of it, and has ``AT_EASE`` in common with all others: there may be a
million. Leaves to ``cruising.py``, ``coasting.py`` and ``resting.py`` what each makes of it.
"""

from __future__ import annotations

from typing import Final

from alertd.engine.band import Band
from alertd.engine.window import BEFORE_TIME_US


class Cruise:
    """Where a group is that cruises."""

    __slots__ = ("band", "left", "until_us")

    def __init__(self, band: Band, until_us: int) -> None:
        self.band = band
        self.left = 0
        """The place of the oldest event inside the window."""
        self.until_us = until_us
        """When something is due whatever the value is."""


class Vigil:
    """What is to be known of a group that is awake, and of one that was loud until lately."""

    __slots__ = ("cruise", "excess", "loud_until_us", "peak_until_us", "slept_until_us")

    def __init__(self) -> None:
        self.cruise: Cruise | None = None
        """None while it does not cruise."""
        self.peak_until_us: int | None = None
        """Up to here the incident's peak is known, while the group coasts."""
        self.loud_until_us = BEFORE_TIME_US
        """When the last loud event will have left the window."""
        self.excess = 0.0
        """By how much what was loud is not outweighed yet; 0 while asleep."""
        self.slept_until_us = BEFORE_TIME_US
        """No level was noted between falling asleep and this."""

    def forget_before(self, reach_us: int) -> None:
        """No late event reaches further back than ``reach_us`` from now on."""
        if self.loud_until_us <= reach_us:
            self.loud_until_us = BEFORE_TIME_US
        if self.slept_until_us < reach_us:
            self.slept_until_us = BEFORE_TIME_US

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to know of it, if its group sleeps."""
        return self.loud_until_us == self.slept_until_us == BEFORE_TIME_US


AT_EASE: Final = Vigil()
"""The vigil of all who sleep and of whom nothing is to be known. It is not to be changed."""
