"""A rule, prepared for judging.

Owns what all groups of one rule share: the rule, its condition, how a window of it is made, and
the journal and the timers that its groups write to. Leaves state to the groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from alertd.engine.aggregates import Aggregate, aggregate_factory
from alertd.engine.band import band_maker
from alertd.engine.condition import Condition, Level
from alertd.engine.early import EarlyWindow
from alertd.engine.excess import excess_follower
from alertd.engine.journal import Journal
from alertd.engine.observed import Observed, ObservedDump
from alertd.engine.screen import Screen
from alertd.engine.timers import Timers
from alertd.engine.window import BEFORE_TIME_US, Window
from alertd.model import Evaluate, Limits, Rule, RuleType

if TYPE_CHECKING:
    from alertd.engine.group import Group
    from alertd.engine.lifecycle import Lifecycle


PlanDump = tuple[int, bool, int, ObservedDump]
"""What a plan has learned, as plain data; see ``Plan.dump``."""


class Plan:
    """What the groups of one rule have in common."""

    __slots__ = ("active_us", "at_rest", "condition", "enough", "follow_excess",
                 "forgotten_until_us", "holds", "is_loud", "is_warm", "journal", "judges_on_close",
                 "lateness_us", "least_samples", "limits", "max_events", "new_aggregate",
                 "new_band", "observed", "rule", "screen", "timers", "window_us")  # fmt: skip

    def __init__(self, rule: Rule, active_us: int, journal: Journal, timers: Timers[Group]) -> None:
        self.rule = rule
        self.at_rest: dict[Level, Lifecycle] = {}
        """What groups that sleep share for a lifecycle, by the level that it says. It is not to be
        changed."""
        self.active_us = active_us
        """Since when the rule has been active, by the wall clock."""
        self.is_warm = False
        """Whether its groups began with the events that were stored before."""
        self.forgotten_until_us = BEFORE_TIME_US
        """Up to here, in event time, there may have been events of groups that were dropped."""
        self.heed(Limits())
        self.observed = Observed()
        self._take_condition(rule)
        self.window_us = rule.window_us
        is_bucketed = rule.type is RuleType.BUCKETED_WINDOW
        self.judges_on_close = is_bucketed and rule.evaluate is Evaluate.ON_CLOSE
        """Whether a window is judged when it closes, and not at every event."""
        self.lateness_us = rule.allowed_lateness_us
        if not self.judges_on_close:
            # An instant that includes its own events is not over while the clock still shows it.
            self.lateness_us = max(1, self.lateness_us)
        self.journal = journal
        self.timers = timers
        self.new_aggregate: Callable[[], Aggregate] = aggregate_factory(
            rule.aggregate, rule.window_us
        )
        """Makes the aggregate of a window."""
        self.new_band = band_maker(rule)
        """Makes the band to which a window's value may keep; None if none can."""

    @property
    def look_back_us(self) -> int:
        """The instant from which on a warm start looks at levels: W + L before the activation."""
        return self.active_us - self.window_us - self.lateness_us

    @property
    def read_after_us(self) -> int:
        """Later events, in event time, are needed for the levels from ``look_back_us`` on.

        One microsecond more than a window spans: a bucketed one includes its first instant.
        """
        return self.look_back_us - self.new_window().span_us - 1

    def apart(self, journal: Journal) -> Plan:
        """Return a plan like this one that writes to ``journal``, and wakes nobody."""
        plan = Plan(self.rule, self.active_us, journal, Timers())
        plan.heed(self.limits)
        return plan

    def new_window(self) -> Window:
        """Return an empty window of this rule."""
        if self.rule.evaluate is Evaluate.EARLY:
            return EarlyWindow(self.condition, self.new_aggregate)
        return Window(self.window_us, self.new_aggregate)

    def probe(self, events: Window, position_us: int) -> Window:
        """Return a second window over the same events, at ``position_us``; see ``share``."""
        probe = self.new_window()
        probe.share(events, position_us)
        return probe

    def heed(self, limits: Limits) -> None:
        """Keep no more than ``limits`` from now on."""
        self.limits = limits
        self.max_events = limits.events_per_group
        """One step nearer for the hot path."""

    def adopt(self, rule: Rule) -> None:
        """Go on under an edited rule whose windows are the same."""
        self.rule = rule
        self.at_rest = {}
        self._take_condition(rule)

    def _take_condition(self, rule: Rule) -> None:
        self.condition = Condition(rule)
        self.screen = screen = Screen(rule, self.condition)
        self.is_loud, self.holds, self.enough = screen.is_loud, screen.holds, screen.enough
        """One step nearer for the hot path."""
        self.follow_excess = excess_follower(rule, screen)
        """Tells by how much loud values outweigh the quiet ones after them."""
        self.least_samples = max(1, rule.min_samples)
        """The fewest events of which a window has a value that is not that of an empty one."""

    def forget(self, group: Group, now_us: int) -> None:
        """Know that ``group`` is dropped at ``now_us``, and its events with it."""
        self.forgotten_until_us = max(self.forgotten_until_us, group.forgotten_until_us(now_us))

    def look(self, window: Window) -> tuple[Level, float | None]:
        """Return what ``window`` means now, and its value if it has one."""
        return window.look(self.condition)

    def dump(self) -> PlanDump:
        """Return what is not the rule's as plain data for a snapshot."""
        return self.active_us, self.is_warm, self.forgotten_until_us, self.observed.dump()

    def load(self, state: PlanDump) -> None:
        """Take what ``dump`` returned."""
        self.active_us, self.is_warm, self.forgotten_until_us, observed = state
        self.observed.load(observed)
