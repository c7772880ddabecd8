"""What a change of the rules, or of the limits, does to the groups that there are.

Owns which rules watch, and by which limits they refuse. A rule whose windows stay as they are keeps
its groups; one that is new, or sees or cuts events in another way, begins without any, and is to be
told what is stored. Leaves reading that to the pipeline (``LookBack``).
"""

from __future__ import annotations

from alertd.engine.inputs import LookBack, RulesChanged
from alertd.engine.journal import Journal
from alertd.engine.plan import Plan
from alertd.engine.population import Population
from alertd.engine.routing import RuleGroups, same_windows
from alertd.model import EndReason, Limits, Rule


class RuleChanges:
    """The rules of a population, as they are changed."""

    def __init__(self, groups: Population, journal: Journal) -> None:
        self.limits = Limits()
        """What is kept at most. An input changes it, so that a replay refuses the same events."""
        self._groups = groups
        self._journal = journal

    def apply(self, change: RulesChanged) -> tuple[LookBack, ...]:
        """Have rules watch, or watch no more; return what the new ones are to be told.

        The clock was told ``change.at_us`` before. O(groups of the rules that change), and of all
        rules where the limits do.
        """
        if change.limits is not None:
            self._limit(change.limits)
        for rule_id, reason in change.dropped:
            self._end_all(self._groups.router.remove(rule_id), reason, change.at_us)
        look_backs = []
        for rule in change.put:
            known = self._groups.router.get(rule.id)
            if known is not None and same_windows(known.plan.rule, rule):
                self._adopt(known, rule, change.at_us)
            else:
                old = self._groups.router.remove(rule.id)
                self._end_all(old, EndReason.RULE_CHANGED, change.at_us)
                plan = self.new_plan(rule, change.at_us)
                self._groups.router.add(plan)
                look_backs.append(LookBack(rule.id, plan.read_after_us, plan.lateness_us))
        return tuple(look_backs)

    def new_plan(self, rule: Rule, active_us: int) -> Plan:
        """Return how a rule judges that begins to watch at ``active_us``."""
        plan = Plan(rule, active_us, self._journal, self._groups.timers)
        plan.heed(self.limits)
        return plan

    def _limit(self, limits: Limits) -> None:
        """Refuse by other limits from now on. Nothing that is there is dropped by lower ones."""
        self.limits = limits
        for groups in self._groups.router:
            groups.plan.heed(limits)
            self._groups.arrivals.rouse(groups.by_labels.values())
            for group in groups.by_labels.values():
                group.heed_limits()

    def _adopt(self, known: RuleGroups, rule: Rule, now_us: int) -> None:
        """Judge a rule's present windows by its edited form, the past by the form it had."""
        self._groups.arrivals.rouse(known.by_labels.values())
        for group in known.by_labels.values():
            group.advance(now_us)
            group.learn_peak(now_us)
        known.plan.adopt(rule)
        known.watch_silence()
        for group in list(known.by_labels.values()):
            group.rejudge(now_us)
            self._groups.drop_if_expired(group, now_us)

    def _end_all(self, groups: RuleGroups | None, reason: EndReason, now_us: int) -> None:
        """End what is open on groups that go away."""
        if groups is None:
            return
        self._groups.arrivals.rouse(groups.by_labels.values())
        for group in groups.by_labels.values():
            self._groups.overdue.discard(group)
            self._groups.end(group, reason, now_us)
