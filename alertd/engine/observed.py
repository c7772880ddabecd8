"""What a rule has seen that whoever wrote it should know.

Owns counts, not decisions: events that were not judged because of a limit (``model.Limits``), and
pauses of senders that were longer than the allowed lateness, in which the clock ran ahead of
them. The counts are part of the engine's state; the names of the latest are not, they are for
a person to look at.
"""

from __future__ import annotations

from alertd.model import Labels

ObservedDump = tuple[int, int, int, int]
"""Counts as plain data; see ``Observed.dump``."""


class Observed:
    """The counts of one rule, since it became active."""

    __slots__ = ("gaps", "greatest_gap_us", "latest_full", "latest_newcomer", "newcomer_events",
                 "overflow_events")  # fmt: skip

    def __init__(self) -> None:
        self.gaps = 0
        """Times that a group's newest event came more than the allowed lateness after the one
        before, by their receipt."""
        self.greatest_gap_us = 0
        self.newcomer_events = 0
        """Events not judged because they would have made a group too many."""
        self.latest_newcomer: Labels | None = None
        """The group of the last of them, as far as is remembered."""
        self.overflow_events = 0
        """Events not judged because their group held as many as it may."""
        self.latest_full: Labels | None = None
        """The group of the last of them, as far as is remembered."""

    @property
    def is_news(self) -> bool:
        """Whether there is anything to know."""
        return bool(self.gaps or self.newcomer_events or self.overflow_events)

    def gap(self, gap_us: int) -> None:
        """Count a pause that was longer than the allowed lateness."""
        self.gaps += 1
        self.greatest_gap_us = max(self.greatest_gap_us, gap_us)

    def newcomer(self, labels: Labels, events: int = 1) -> None:
        """Count events of a group that there is no room for."""
        self.newcomer_events += events
        self.latest_newcomer = labels

    def overflow(self, labels: Labels) -> None:
        """Count an event that its group has no room for."""
        self.overflow_events += 1
        self.latest_full = labels

    def dump(self) -> ObservedDump:
        """Return the counts as plain data for a snapshot."""
        return self.gaps, self.greatest_gap_us, self.newcomer_events, self.overflow_events

    def load(self, state: ObservedDump) -> None:
        """Take what ``dump`` returned."""
        self.gaps, self.greatest_gap_us, self.newcomer_events, self.overflow_events = state
