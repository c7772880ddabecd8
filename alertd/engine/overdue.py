"""What waits for the reconciler: groups whose past must be judged again from the store.

Owns from when on, in event time, that is for each (rule, group), and how far back it has to be
looked for it. Leaves the reading to the reconciler, and the judging to the group.
"""

from __future__ import annotations

from collections.abc import Iterator

from alertd.engine.inputs import Overdue, Stretch
from alertd.engine.plan import Plan
from alertd.engine.routing import Watcher
from alertd.engine.window import NEVER_US
from alertd.model import Labels, Rule


class OverdueGroups:
    """The least event time from which on each such group has to be judged again."""

    __slots__ = ("_least_us",)

    def __init__(self) -> None:
        self._least_us: dict[tuple[str, Labels], int] = {}

    def __len__(self) -> int:
        return len(self._least_us)

    def __iter__(self) -> Iterator[Overdue]:
        for (rule_id, labels), least_us in self._least_us.items():
            yield Overdue(rule_id, labels, least_us)

    def __contains__(self, group: Watcher) -> bool:
        return (group.rule_id, group.labels) in self._least_us

    def add(self, group: Watcher, from_us: int) -> None:
        """Remember that ``group`` has to be judged again from ``from_us`` on."""
        self.restore(Overdue(group.rule_id, group.labels, from_us))

    def restore(self, overdue: Overdue) -> None:
        """Remember what was ``overdue``; of two of one group, the older one."""
        key = overdue.rule_id, overdue.group
        self._least_us[key] = min(overdue.least_us, self._least_us.get(key, overdue.least_us))

    def settle(self, overdue: Overdue) -> None:
        """What was ``overdue`` has been judged; if older events have come meanwhile, those stay."""
        key = overdue.rule_id, overdue.group
        if self._least_us.get(key) == overdue.least_us:
            del self._least_us[key]

    def discard(self, group: Watcher) -> None:
        """``group`` is gone."""
        self._least_us.pop((group.rule_id, group.labels), None)

    def stretch(self, plan: Plan, labels: Labels) -> Stretch | None:
        """Return what is overdue of one group of ``plan``, or None if nothing is."""
        least_us = self._least_us.get((plan.rule.id, labels))
        return None if least_us is None else _stretch(plan, Overdue(plan.rule.id, labels, least_us))


def reach_us(rule: Rule) -> int:
    """Return how far before an overdue event, at most, what it takes to judge it again begins."""
    return rule.for_us + rule.keep_firing_us + rule.bucket_us + rule.window_us + 2


def _stretch(plan: Plan, overdue: Overdue) -> Stretch:
    """Return what has to be judged again: from where nothing that is new can reach further back.

    A pending condition that the events complete began at most ``for`` before them, and an
    incident that they prolong ended at most ``keepFiring`` before.
    """
    rule = plan.rule
    from_us = overdue.least_us - rule.for_us - rule.keep_firing_us - 1
    from_us = from_us // rule.bucket_us * rule.bucket_us
    return Stretch(
        overdue=overdue,
        from_us=from_us,
        read_after_us=from_us - rule.window_us - 1,
        received_from_us=plan.active_us,
        warm_after_us=plan.read_after_us if plan.is_warm else NEVER_US,
    )
