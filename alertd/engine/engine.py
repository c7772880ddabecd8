"""The engine's one entrance: ``step(input) -> transitions``.

Owns the order in which an input is applied, and the whole state as plain data for snapshots.
The live daemon and recovery run this same code. Leaves everything else to the modules that
``alertd.engine`` lists.

Invariant: what ``step`` returns is a function of the state and the input; receive times and
ticks never decrease.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

import msgspec

from alertd.engine.dump import GROUPS_AT_ONCE, Dump, Head, OfGroup, OfRule, read
from alertd.engine.group import Group
from alertd.engine.inputs import (
    Backfill,
    Doubt,
    Input,
    LookBack,
    Overdue,
    Reconsider,
    RulesChanged,
    StoredGroup,
    Stretch,
    Tick,
)
from alertd.engine.journal import GROUPS_BETWEEN_PAUSES, Journal, SilentJournal
from alertd.engine.observed import Observed
from alertd.engine.overdue import reach_us
from alertd.engine.population import COLUMNS_FROM, Population
from alertd.engine.routing import RuleGroups, Watcher, new_group
from alertd.engine.rule_changes import RuleChanges
from alertd.model import (
    EndReason,
    EventBatch,
    GroupState,
    Incident,
    Labels,
    Limits,
    Rule,
    Series,
    Transition,
    TransitionKind,
)

PORTIONS_BETWEEN_PAUSES: Final = 4
"""So many times ``GROUPS_BETWEEN_PAUSES`` events are observed at most between two pauses."""

WOKEN_AT_ONCE: Final = 20 * GROUPS_BETWEEN_PAUSES
"""Groups that the clock wakes and that are brought up to date together: some 0.6 ms."""


class Engine:
    """All rules and the state of all their groups."""

    def __init__(
        self, series_of: Callable[[int], Series], *, columns_from: int = COLUMNS_FROM
    ) -> None:
        """``series_of`` tells the metric name and labels behind a series number.

        Batches of ``columns_from`` events and more are screened as a whole.
        """
        self._groups = Population(series_of, columns_from)
        self._timers, self._router = self._groups.timers, self._groups.router
        self._overdue = self._groups.overdue
        self._journal = Journal()
        self._changes = RuleChanges(self._groups, self._journal)
        self.overdue_events = 0
        """Events older than the lateness of a rule that sees them, since the state began."""
        self._reach_us: int | None = None  # the greatest of any rule's; None if not known yet
        self._dump: Dump | None = None
        self.look_backs: tuple[LookBack, ...] = ()
        """What the rules that the last ``RulesChanged`` made, or gave new windows, are to be
        told by a ``Backfill`` each before the next input. A rule that is not starts cold."""

    def step(self, event: Input) -> list[Transition]:
        """Apply one input and return the transitions that follow from it, in order."""
        if isinstance(event, EventBatch | Tick | Backfill):
            return [transition for part in self.in_slices(event) for transition in part]
        if isinstance(event, Reconsider):
            self._apply_reconsider(event)
        elif isinstance(event, Doubt):
            self._apply_doubt(event)
        else:
            self._apply_rules(event)
        return self._journal.close()

    def in_slices(self, event: EventBatch | Tick | Backfill) -> Iterator[list[Transition]]:
        """Do what ``step`` does, a slice at a time: for callers that have other things to do.

        Nothing may step before the last slice. Yields the transitions that each one led to. Where
        it pauses makes no difference to what is found.
        """
        if isinstance(event, Backfill):
            yield from self._backfills(event)
        else:
            work = (
                self._events(event) if isinstance(event, EventBatch) else self._tick(event.now_us)
            )
            for _ in chain(work, self._journal.settle()):
                yield []
        yield self._journal.close()

    def _backfills(self, event: Backfill) -> Iterator[list[Transition]]:
        self._apply_tick(event.now_us)
        groups = self._router.get(event.rule_id)
        if groups is not None:
            groups.plan.is_warm = True
            for stored in event.groups:
                for _ in self._backfill(groups, stored):
                    yield []
                yield self._journal.close()

    def _backfill(self, groups: RuleGroups, stored: StoredGroup) -> Iterator[None]:
        """Judge stored events in a group apart from all others, then let it be one of them."""
        if stored.labels not in groups.by_labels and not groups.has_room():
            groups.plan.observed.newcomer(
                stored.labels, self._journal.now_us, events=len(stored.times_us)
            )
            return
        silence = SilentJournal(self._journal.now_us)
        group: Group = new_group(groups.plan.apart(silence), stored.labels)
        yield from group.backfill(stored, self._journal.now_us)
        if group.expires_us <= self._journal.now_us:
            groups.plan.forget(group, self._journal.now_us)  # by now it would have been dropped
            return
        replaced = self._router.replace(groups, group)
        if replaced is not None:
            self._groups.arrivals.rouse((replaced,))
            self._groups.leave(replaced)
        group.join(groups.plan, silence.pending_value)
        self._timers.ask(group, group.expires_us)

    def next_wake_us(self) -> int | None:
        """Return the wall time by which a ``Tick`` is due, or None if no group waits for one."""
        return self._timers.next_us()

    def rules(self) -> list[Rule]:
        """Return the rules that are watching."""
        return [groups.plan.rule for groups in self._router]

    def cold_rules(self) -> list[Rule]:
        """Return the rules that were not told what was stored before they became active."""
        return [groups.plan.rule for groups in self._router if not groups.plan.is_warm]

    def observed(self) -> Iterator[tuple[Rule, Observed]]:
        """Yield the rules that have seen what their authors should know, and that. O(rules)."""
        for groups in self._router:
            if groups.plan.observed.is_news:
                yield groups.plan.rule, groups.plan.observed

    def group_states(self, rule_id: str, now_us: int) -> dict[GroupState, int]:
        """Return how many groups of a rule are in each state. O(groups of the rule)."""
        groups = self._router.get(rule_id)
        if groups is None:
            return {}
        self._groups.arrivals.catch_up(groups.by_labels.values())
        return dict(Counter(group.state(now_us) for group in groups.by_labels.values()))

    @property
    def limits(self) -> Limits:
        """What is kept at most."""
        return self._changes.limits

    @property
    def dropped_groups(self) -> int:
        """Groups dropped because they had been quiet for their time, since the state began."""
        return self._groups.dropped

    @property
    def now_us(self) -> int:
        """What time it is by what it was told last."""
        return self._journal.now_us

    def group_count(self) -> int:
        """Return the number of (rule, group) states held."""
        return sum(len(groups.by_labels) for groups in self._router)

    def open_incidents(self) -> list[Incident]:
        """Return the incidents that are firing. O(groups)."""
        found = []
        for groups in self._router:
            self._groups.arrivals.catch_up(groups.by_labels.values())
            for group in groups.by_labels.values():
                group.learn_peak(self._journal.now_us)
                if group.lifecycle.incident is not None:
                    found.append(group.lifecycle.incident)
        return found

    def _events(self, batch: EventBatch) -> Iterator[None]:
        now_us = self._journal.now_us = batch.received_us
        yield from self._wake(now_us)
        if self._dump is not None:
            yield from self._keep_those_of(batch)
        self._groups.choose_arrivals(len(batch))
        yield from self._groups.arrivals.meet(batch)
        arrivals = self._groups.arrivals.take(batch)
        pause_at, portions, has_more = self._journal.count + GROUPS_BETWEEN_PAUSES, 0, True
        while has_more:
            has_more = False
            for group, time_us, value in islice(arrivals, GROUPS_BETWEEN_PAUSES):
                has_more = True
                if not group.observe(time_us, value, now_us):
                    self._note_overdue(group, time_us)
            portions += 1
            if self._journal.count >= pause_at or not portions % PORTIONS_BETWEEN_PAUSES:
                pause_at = self._journal.count + GROUPS_BETWEEN_PAUSES
                yield

    def _note_overdue(self, group: Watcher, time_us: int) -> None:
        """Remember an event whose time is past judging here."""
        self.overdue_events += 1
        self._overdue.add(group, time_us)

    def _apply_doubt(self, event: Doubt) -> None:
        """Have the present of told incidents judged again, and all of those that were found.

        The beginning of one that was told may be missing in the store: it is taken for granted.
        """
        self._apply_tick(event.now_us)
        for incident in event.told:
            groups = self._router.get(incident.rule_id)
            group = self._router.group(incident.rule_id, incident.group)
            if group is not None:
                self._overdue.add(group, group.horizon_us(self._journal.now_us))
            elif groups is not None:
                self._journal.write(_expired(incident, groups.plan.rule, self._journal.now_us))
        for incident in event.found:
            group = self._router.group(incident.rule_id, incident.group)
            if group is not None:
                self._overdue.add(group, incident.started_us)

    def overdue(self) -> list[Stretch]:
        """Return what the reconciler has to do."""
        stretches = [self.stretch(each.rule_id, each.group) for each in self._overdue]
        return [stretch for stretch in stretches if stretch is not None]

    @property
    def overdue_groups(self) -> int:
        """How many groups wait for the reconciler."""
        return len(self._overdue)

    def stretch(self, rule_id: str, labels: Labels) -> Stretch | None:
        """Return what is overdue of one group, or None if nothing is."""
        groups = self._router.get(rule_id)
        return None if groups is None else self._overdue.stretch(groups.plan, labels)

    def needed_after_us(self, oldest_us: int) -> int:
        """Return after which event time judging may still ask for what is stored.

        So far back reach what is overdue, and events from ``oldest_us`` on if they come late.
        O(groups that are overdue), and O(rules) after a change of rules.
        """
        if self._reach_us is None:
            self._reach_us = max((reach_us(rule) for rule in self.rules()), default=0)
        overdue_us = [stretch.read_after_us for stretch in self.overdue()]
        return min([oldest_us - self._reach_us, *overdue_us])

    def members(
        self, wanted: Collection[tuple[str, Labels]], series_ids: Sequence[int]
    ) -> dict[tuple[str, Labels], list[int]]:
        """Return which of ``series_ids`` belong to each wanted (rule id, group), making no group.

        Some 5 us for each series of a metric that any of these rules is about.
        """
        found: dict[tuple[str, Labels], list[int]] = {key: [] for key in wanted}
        rules = {rule_id: self._router.get(rule_id) for rule_id, _ in wanted}
        metrics = {each.plan.rule.metric_name for each in rules.values() if each is not None}
        for series_id in self._router.of_metrics(metrics, series_ids):
            for key in self.watchers(series_id):
                if key in found:
                    found[key].append(series_id)
        return found

    def watchers(self, series_id: int) -> list[tuple[str, Labels]]:
        """Return the rule and the labels of each group that sees a series, making no group."""
        return self._router.watchers(series_id)

    def _apply_reconsider(self, event: Reconsider) -> None:
        self._apply_tick(event.now_us)
        stretch, overdue = event.stretch, event.stretch.overdue
        groups = self._router.get(overdue.rule_id)
        group = self._router.group(overdue.rule_id, overdue.group)
        self._overdue.settle(overdue)
        if groups is None or group is None:
            return
        self._keep((group,))
        plan, now_us = groups.plan, self._journal.now_us
        events, before = plan.new_window(), plan.new_window()
        events.times, events.values = event.times_us, event.values
        before.times, before.values = event.before_times_us, event.before_values
        # What the rule told before it was edited or paused is not its present self's.
        told = [incident for incident in event.told if incident.detected_us >= plan.active_us]
        self._groups.arrivals.rouse((group,))
        group.advance(now_us)
        group.reconsider(stretch.from_us, events, before, told, overdue.least_us, now_us)
        self._groups.drop_if_expired(group, now_us)

    def _apply_tick(self, now_us: int) -> None:
        for _ in self._tick(now_us):
            pass

    def _tick(self, now_us: int) -> Iterator[None]:
        self._journal.now_us = max(now_us, self._journal.now_us)
        yield from self._wake(now_us)

    def _wake(self, now_us: int) -> Iterator[None]:
        """Judge what the clock has made due, and drop groups that have been quiet for their time.

        A group that is dropped is judged up to that time, whenever this is looked at. Pauses now
        and then.
        """
        while woken := self._timers.take_due(now_us, WOKEN_AT_ONCE):
            self._groups.arrivals.rouse(woken)
            for count, group in enumerate(woken, start=1):
                if not count % GROUPS_BETWEEN_PAUSES:
                    yield
                self._keep((group,))
                self._timers.cancel(group)
                expires_us = group.expires_us
                if expires_us <= now_us and group not in self._overdue:
                    self._groups.drop(group, expires_us)
                else:
                    group.advance(now_us)
                    self._groups.drop_if_expired(group, now_us)

    def _apply_rules(self, change: RulesChanged) -> None:
        if self._dump is not None:
            self._dump.end()
            self._dump = None
        self._apply_tick(change.at_us)
        self.look_backs = self._changes.apply(change)
        self._reach_us = None

    def dump(self) -> Dump:
        """Return the whole state as it is now, as plain data, to be iterated over.

        Steps may follow meanwhile, and change nothing about it; but a change of rules ends it. One
        dump at a time: another takes the place of one that is not over.
        """
        if self._dump is not None:
            self._dump.end()
        # From now on, a group that waits for its turn is sent nothing.
        self._groups.arrivals.deal_out()
        head = Head(
            now_us=self._journal.now_us,
            overdue_events=self.overdue_events,
            dropped_groups=self.dropped_groups,
            limits=self.limits,
            last_ticket=self._timers.last_ticket,
        )
        self._dump = Dump(head, self._overdue, self._router, self._groups.arrivals.catch_up)
        return self._dump

    def _keep_those_of(self, batch: EventBatch) -> Iterator[None]:
        """Do what ``_keep`` does for all groups that a batch may change; pause now and then."""
        groups = iter(dict.fromkeys(self._router.groups_of(batch.series_ids)))
        while self._dump is not None and (portion := list(islice(groups, GROUPS_AT_ONCE))):
            self._keep(portion)
            if self._dump is not None:
                yield

    def _keep(self, groups: Iterable[Group]) -> None:
        """These groups are about to change: a dump that is under way needs them as they are."""
        if self._dump is not None:
            if self._dump.is_over:
                self._dump = None
            else:
                self._dump.keep(groups)

    def load(self, items: Iterable[object]) -> None:
        """Take what ``dump`` yielded into an engine that has no state yet.

        Raises ``ValueError`` (``msgspec.ValidationError`` is one) if it is not such a dump.
        """
        source = read(items)
        head = next(source)
        assert isinstance(head, Head)
        self._journal.now_us, self._changes.limits = head.now_us, head.limits
        self.overdue_events, self._groups.dropped = head.overdue_events, head.dropped_groups
        for item in source:
            if isinstance(item, Overdue):
                self._overdue.restore(item)
            elif isinstance(item, OfRule):
                plan = self._changes.new_plan(item.rule, item.plan[0])
                plan.load(item.plan)
                groups = self._router.add(plan)
            elif isinstance(item, OfGroup):
                groups.group(item.labels).load(item.state)
        self._timers.last_ticket = head.last_ticket


def _expired(incident: Incident, rule: Rule, now_us: int) -> Transition:
    """Return the end of an incident of whose group nothing is known any more."""
    ended_us = max(now_us, incident.fired_us)
    return Transition(
        kind=TransitionKind.RESOLVED,
        rule=rule,
        group=incident.group,
        at_us=ended_us,
        detected_us=now_us,
        value=None,
        incident=msgspec.structs.replace(incident, ended_us=ended_us, end_reason=EndReason.EXPIRED),
    )
