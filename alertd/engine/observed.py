"""What a rule has seen that its author should know.

Owns counts, not decisions: events that were not judged because of a limit (``model.Limits``), and
pauses of senders that were longer than the allowed lateness, in which the clock ran ahead of
them; and when each was seen last, so that what is over need not be told for ever. Both are part of
the engine's state; the names of the latest are not, they are for a person to look at.
"""

from __future__ import annotations

from alertd.model import Labels

ObservedDump = tuple[int, int, int, int, int, int, int]
"""Counts and times as plain data; see ``Observed.dump``."""


class Observed:
    """The counts of one rule, since it became active. Times are of receipt, 0 for never."""

    __slots__ = ("gap_seen_us", "gaps", "greatest_gap_us", "latest_full", "latest_newcomer",
                 "newcomer_events", "newcomer_seen_us", "overflow_events",
                 "overflow_seen_us")  # fmt: skip

    def __init__(self) -> None:
        self.gaps = 0
        """Times that a group's newest event came more than the allowed lateness after the one
        before, by their receipt."""
        self.greatest_gap_us = 0
        self.gap_seen_us = 0
        self.newcomer_events = 0
        """Events not judged because they would have made a group too many."""
        self.newcomer_seen_us = 0
        self.latest_newcomer: Labels | None = None
        """The group of the last of them, as far as is remembered."""
        self.overflow_events = 0
        """Events not judged because their group held as many as it may."""
        self.overflow_seen_us = 0
        self.latest_full: Labels | None = None
        """The group of the last of them, as far as is remembered."""

    @property
    def is_news(self) -> bool:
        """Whether there is anything to know."""
        return bool(self.gaps or self.newcomer_events or self.overflow_events)

    def gap(self, gap_us: int, now_us: int) -> None:
        """Count a pause, over at ``now_us``, that was longer than the allowed lateness."""
        self.gaps += 1
        self.gap_seen_us = now_us
        self.greatest_gap_us = max(self.greatest_gap_us, gap_us)

    def newcomer(self, labels: Labels, now_us: int, *, events: int = 1) -> None:
        """Count events, received at ``now_us``, of a group that there is no room for."""
        self.newcomer_events += events
        self.newcomer_seen_us = now_us
        self.latest_newcomer = labels

    def overflow(self, labels: Labels, now_us: int) -> None:
        """Count an event, received at ``now_us``, that its group has no room for."""
        self.overflow_events += 1
        self.overflow_seen_us = now_us
        self.latest_full = labels

    def dump(self) -> ObservedDump:
        """Return counts and times as plain data for a snapshot."""
        return (self.gaps, self.greatest_gap_us, self.gap_seen_us, self.newcomer_events,
                self.newcomer_seen_us, self.overflow_events, self.overflow_seen_us)  # fmt: skip

    def load(self, state: ObservedDump) -> None:
        """Take what ``dump`` returned."""
        (self.gaps, self.greatest_gap_us, self.gap_seen_us, self.newcomer_events,
         self.newcomer_seen_us, self.overflow_events, self.overflow_seen_us) = state  # fmt: skip
