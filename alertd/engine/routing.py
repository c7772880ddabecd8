"""Which groups see a series.

Owns the plans by metric name, each rule's groups, and the route of each series: the group or
groups that its events go to. Matching is done once per series and remembered, so an event
costs only the rules that see it, whether there are ten others or ten thousand.

Invariant: a remembered route is what matching would give now: any change of rules forgets all of
them, and a group that goes those that lead to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, cast

from alertd.engine.group import Group
from alertd.engine.plan import Plan
from alertd.engine.resting import RestingGroup
from alertd.engine.resting_bucketed import RestingBucketedGroup
from alertd.engine.sources import listed, with_source
from alertd.matching import predicate
from alertd.model import Labels, MatchOperator, Rule, Series


class RuleGroups:
    """A rule's plan and all of its groups."""

    __slots__ = ("_matches", "by_labels", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.by_labels: dict[Labels, Group] = {}
        self._matches = [predicate(matcher) for matcher in plan.rule.matchers]
        self.watch_silence()

    def watch_silence(self) -> None:
        """Make the group of a dead-man's switch, which is there before any event."""
        if not self.plan.rule.group_by and self.plan.condition.true_on_empty:
            self.group(())

    def sees(self, labels: dict[str, str]) -> bool:
        """Return whether every matcher holds."""
        return all(matches(labels) for matches in self._matches)

    def labels_of(self, series: Series, labels: dict[str, str]) -> Labels:
        """Return the labels of the group that a series, which has ``labels``, belongs to.

        Where they are all of the series' own, they are kept once: there may be a million.
        """
        projected = tuple((name, labels.get(name, "")) for name in self.plan.rule.group_by)
        return series.labels if projected == series.labels else projected

    def group(self, labels: Labels) -> Group:
        """Return the group with these labels, making it when it is new."""
        group = self.by_labels.get(labels)
        if group is None:
            group = self.by_labels[labels] = new_group(self.plan, labels)
        return group

    def has_room(self, newcomers: int = 1) -> bool:
        """Return whether the rule may have so many groups more."""
        return len(self.by_labels) + newcomers <= self.plan.limits.groups_per_rule

    def admit(self, labels: Labels, newcomers: int = 1) -> Group | None:
        """Return the group that an event goes to; a new one is to be dropped when it is quiet.

        None if it would be a new one, and the rule has no room for so many.
        """
        group = self.by_labels.get(labels)
        if group is None and self.has_room(newcomers):
            group, plan = self.group(labels), self.plan
            plan.timers.ask(group, plan.journal.now_us + plan.rule.group_ttl_us)
        return group


class Newcomer:
    """Stands in for a group that the rule may have no room for; each event asks again."""

    __slots__ = ("_groups", "labels")

    def __init__(self, groups: RuleGroups, labels: Labels) -> None:
        self._groups = groups
        self.labels = labels

    @property
    def rule_id(self) -> str:
        """The id of the rule."""
        return self._groups.plan.rule.id

    @property
    def group(self) -> Group | None:
        """The group, if it is there by now."""
        return self._groups.by_labels.get(self.labels)

    def observe(self, time_us: int, value: float, now_us: int) -> bool:
        """Have the group observe it, if there is room for it; else only count it."""
        group = self._groups.admit(self.labels)
        if group is None:
            self._groups.plan.observed.newcomer(self.labels, now_us)
            return True
        return group.observe(time_us, value, now_us)


Watcher = Group | Newcomer
"""Whatever takes the events of a series for one rule."""

Route = Watcher | tuple[Watcher, ...]
"""Whatever takes the events of a series. Where it is one, as for nearly all, no tuple is kept."""


def new_group(plan: Plan, labels: Labels) -> Group:
    """Return a group of its own, which no series leads to."""
    return (RestingBucketedGroup if plan.judges_on_close else RestingGroup)(plan, labels)


def watchers_on(route: Route) -> tuple[Watcher, ...]:
    """Return all that are on a route."""
    return route if isinstance(route, tuple) else (route,)


def groups_on(routes: Iterable[Route]) -> Iterator[Group]:
    """Yield the groups that are there on ``routes``, some more than once."""
    for route in set(routes):
        for watcher in watchers_on(route):
            group = watcher.group if isinstance(watcher, Newcomer) else watcher
            if group is not None:
                yield group


SERIES_BETWEEN_PAUSES: Final = 50
"""Series that are routed at a time, each with a new group or several: some 20 us each."""


class Router:
    """Rules by metric name, and the remembered route of every series."""

    def __init__(
        self,
        series_of: Callable[[int], Series],
        on_forget: Callable[[Iterable[int] | None], None] = lambda _: None,
    ) -> None:
        """``on_forget`` is told of which series the routes are forgotten, None for all."""
        self._series_of = series_of
        self._on_forget = on_forget
        self._rules: dict[str, RuleGroups] = {}
        self._candidates: dict[_Handle, dict[str, RuleGroups]] = {}
        self._routes: list[Route | None] = []
        # What is left of routes that have lost a group.
        self._broken: dict[int, tuple[Watcher, ...]] = {}

    def __iter__(self) -> Iterator[RuleGroups]:
        return iter(self._rules.values())

    def get(self, rule_id: str) -> RuleGroups | None:
        """Return a rule's groups, or None if there is no such rule."""
        return self._rules.get(rule_id)

    def group(self, rule_id: str, labels: Labels) -> Group | None:
        """Return the group of a rule that has these labels, None if there is none."""
        groups = self._rules.get(rule_id)
        return None if groups is None else groups.by_labels.get(labels)

    def add(self, plan: Plan) -> RuleGroups:
        """Take a rule in. O(number of series) memory traffic: every route is forgotten."""
        groups = RuleGroups(plan)
        self._rules[plan.rule.id] = groups
        self._candidates.setdefault(_handle_of(plan.rule), {})[plan.rule.id] = groups
        self._forget_routes()
        return groups

    def remove(self, rule_id: str) -> RuleGroups | None:
        """Drop a rule and return its groups, or None if there is no such rule."""
        groups = self._rules.pop(rule_id, None)
        if groups is not None:
            del self._candidates[_handle_of(groups.plan.rule)][rule_id]
            self._forget_routes()
        return groups

    def replace(self, groups: RuleGroups, group: Group) -> Group | None:
        """Let ``group`` take the place of the one with its labels; return that, if any."""
        replaced = groups.by_labels.get(group.labels)
        groups.by_labels[group.labels] = group
        if replaced is not None:
            self._forget_routes_to(replaced)
        return replaced

    def drop(self, groups: RuleGroups, group: Group) -> None:
        """Forget a group. O(series that lead to it)."""
        del groups.by_labels[group.labels]
        self._forget_routes_to(group)

    def _forget_routes(self) -> None:
        """O(groups) when there are routes, so once for all rules of a change."""
        if self._routes:
            self._routes, self._broken = [], {}
            for groups in self:
                for group in groups.by_labels.values():
                    group.sources = None
            self._on_forget(None)

    def _forget_routes_to(self, group: Group) -> None:
        series_ids = listed(group.sources)
        group.sources = None
        self._on_forget(series_ids)
        for series_id in series_ids:
            route = watchers_on(self._routes[series_id] or self._broken[series_id])
            self._routes[series_id] = None
            self._broken[series_id] = tuple(other for other in route if other is not group)

    def routes(self, series_ids: Sequence[int]) -> Iterator[Route]:
        """Return an iterator over the groups that see each of ``series_ids``.

        A list index for each, without any Python between them, once they are known.
        """
        for _ in self.meet(series_ids):
            pass
        return cast("Iterator[Route]", map(self._routes.__getitem__, series_ids))

    def meet(self, series_ids: Sequence[int]) -> Iterator[None]:
        """Find the routes that are not known, and make the groups; pause now and then."""
        known = self._routes
        last = max(series_ids, default=-1)
        if last >= len(known):
            known.extend([None] * (last + 1 - len(known)))
        # Sorted, so that new groups are made in one order whoever asks.
        new = sorted({series_id for series_id in series_ids if known[series_id] is None})
        # Whoever was refused before is a newcomer too, and may have come first.
        newcomers = len(set(series_ids)) if new else 0
        for count, series_id in enumerate(new, start=1):
            known[series_id] = self._route(series_id, newcomers)
            if not count % SERIES_BETWEEN_PAUSES:
                yield

    def groups_of(self, series_ids: Sequence[int]) -> Iterator[Group]:
        """Yield the groups that are there and see any of ``series_ids``, some more than once."""
        return groups_on(self.routes(series_ids))

    def watchers(self, series_id: int) -> list[tuple[str, Labels]]:
        """Return the rule and the labels of each group that sees a series, making no group."""
        series = self._series_of(series_id)
        labels = dict(series.labels)
        return [
            (groups.plan.rule.id, groups.labels_of(series, labels))
            for groups in self._seeing(series, labels)
        ]

    def _route(self, series_id: int, newcomers: int) -> Route:
        """Match a series, and remember which groups it leads to."""
        series = self._series_of(series_id)
        watchers = self._match(series, newcomers)
        remembered = self._broken.pop(series_id, ())
        for watcher in watchers:
            if not isinstance(watcher, Newcomer) and watcher not in remembered:
                watcher.sources = with_source(watcher.sources, series.id)
        return watchers[0] if len(watchers) == 1 else watchers

    def of_metrics(self, names: Collection[str], series_ids: Iterable[int]) -> Iterator[int]:
        """Yield those of ``series_ids`` whose metric is one of ``names``."""
        for series_id in series_ids:
            if self._series_of(series_id).metric_name in names:
                yield series_id

    def _match(self, series: Series, newcomers: int) -> tuple[Watcher, ...]:
        """Return the groups that see ``series``, in the order of their rules' ids.

        If there is no room for as many newcomers as the batch may have, who is let in is decided
        in the order of the events.
        """
        labels = dict(series.labels)
        seeing = self._seeing(series, labels)
        return tuple(
            groups.admit(of_group, newcomers) or Newcomer(groups, of_group)
            for groups in seeing
            for of_group in (groups.labels_of(series, labels),)
        )

    def _seeing(self, series: Series, labels: dict[str, str]) -> list[RuleGroups]:
        """Return the rules that see ``series``, by id."""
        handles = [(series.metric_name, pair) for pair in (None, *series.labels)]
        seeing = [
            groups
            for handle in handles
            for groups in self._candidates.get(handle, {}).values()
            if groups.sees(labels)
        ]
        return sorted(seeing, key=lambda groups: groups.plan.rule.id)


_Handle = tuple[str, tuple[str, str] | None]
"""What a series must have for a rule to be worth a look: the metric, and maybe one label's value.

Without it, matching each series again after a change costs rules times series: with a thousand
rules on a metric of 5,000 series the daemon stood still for 6 s.
"""


def _handle_of(rule: Rule) -> _Handle:
    """Return the narrowest handle of a rule: its first equality with a value, if it has one."""
    for matcher in rule.matchers:
        if matcher.operator is MatchOperator.EQUAL and matcher.pattern:
            return rule.metric_name, (matcher.label, matcher.pattern)
    return rule.metric_name, None


def same_windows(old: Rule, new: Rule) -> bool:
    """Return whether an edit leaves alone all that the state of a group depends on."""
    return (
        old.type is new.type
        and old.metric_name == new.metric_name
        and old.matchers == new.matchers
        and old.group_by == new.group_by
        and old.aggregate == new.aggregate
        and old.window_us == new.window_us
        and old.bucket_us == new.bucket_us
        and old.evaluate is new.evaluate
        and old.allowed_lateness_us == new.allowed_lateness_us
    )
