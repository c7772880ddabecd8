"""The engine's state at one instant, handed out bit by bit while the engine goes on.

Owns the items of a dump, written and read, and what a dump under way still needs of groups that
change before their turn: a group that is about to change is kept first, as it was (copy on write).
So a snapshot of a large state holds up nobody for longer than it takes to dump the groups of one
batch. A change of rules cannot wait for that: it ends the dump.

Invariant: what a whole dump yields is what it would have yielded at once. Cost: a group that
changes meanwhile is dumped at most once more than needed; nothing while no dump is under way.
Rejected: a copy of everything at once (seconds, and twice the memory), a forked process (threads
hold locks that the child would wait for), packing while nothing is judged (seconds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from alertd.engine.group import Group
from alertd.engine.inputs import Overdue
from alertd.engine.plan import PlanDump
from alertd.engine.routing import RuleGroups
from alertd.model import Labels, Limits, Rule

GROUPS_AT_ONCE: Final = 64
"""Groups that are brought up to date together, which costs as much as ten do one by one, and kept
together: some 1 ms."""

FORMAT: Final = 12
"""Version of the plain data that a dump yields."""


class Head(NamedTuple):
    """What is no rule's."""

    now_us: int
    overdue_events: int
    dropped_groups: int
    limits: Limits
    last_ticket: int


class OfRule(NamedTuple):
    """A rule; what follows up to the next one are its groups."""

    rule: Rule
    plan: PlanDump


class OfGroup(NamedTuple):
    """A group."""

    labels: Labels
    state: tuple[object, ...]


def read(items: Iterable[object]) -> Iterator[Head | Overdue | OfRule | OfGroup]:
    """Yield what the ``items`` of a dump say, the head first.

    Raises ``ValueError`` (``msgspec.ValidationError`` is one) if they are none.
    """
    source = iter(items)
    head = msgspec.convert(next(source, ()), tuple[object, ...])
    if head[:2] != ("engine", FORMAT):
        raise ValueError(f"engine state begins with {head[:2]}, expected format {FORMAT}")
    yield msgspec.convert(head[2:], Head)
    has_rule = False
    for item in source:
        kind, *fields = msgspec.convert(item, tuple[object, ...])
        if kind == "overdue":
            yield Overdue(*msgspec.convert(fields, tuple[str, Labels, int]))
        elif kind == "rule":
            has_rule = True
            yield msgspec.convert(fields, OfRule)
        elif kind == "group" and has_rule:
            yield msgspec.convert(fields, OfGroup)
        else:
            raise ValueError(f"engine state has an item of unknown kind {kind!r}")


class DumpEnded(Exception):
    """The rules changed before all of a dump was taken; what was taken of it is of no use."""


class Dump:
    """The state as it was when this was made. Iterate over it once."""

    def __init__(
        self,
        head: Head,
        overdue: Iterable[Overdue],
        rules: Iterable[RuleGroups],
        catch_up: Callable[[Iterable[Group]], None] = lambda _: None,
    ) -> None:
        """O(groups), but only a pointer each. ``catch_up`` is called with those to be looked at."""
        self._catch_up = catch_up
        self.is_over = False
        """Whether nothing of it is needed any more."""
        self._head: list[object] = [("engine", FORMAT, *msgspec.to_builtins(head))]
        self._head += [("overdue", *msgspec.structs.astuple(each)) for each in overdue]
        self._rules: list[tuple[RuleGroups, PlanDump, list[Group]]] = [
            (groups, groups.plan.dump(), list(groups.by_labels.values())) for groups in rules
        ]
        self._kept: dict[Group, tuple[object, ...]] = {}
        self._has_ended = False

    def keep(self, groups: Iterable[Group]) -> None:
        """Note the state of ``groups``, which are about to change."""
        new = [group for group in dict.fromkeys(groups) if group not in self._kept]
        self._catch_up(new)
        for group in new:
            self._kept[group] = group.dump()

    def end(self) -> None:
        """The rules change: whoever takes the dump is told so."""
        self._has_ended = self.is_over = True

    def __iter__(self) -> Iterator[object]:
        """Yield the items, a group at a time. Raises ``DumpEnded``."""
        try:
            yield from self._head
            for groups, plan, of_rule in self._rules:
                self._refuse_if_ended()
                yield ("rule", msgspec.to_builtins(groups.plan.rule), plan)
                remaining = iter(of_rule)
                while portion := list(islice(remaining, GROUPS_AT_ONCE)):
                    self._refuse_if_ended()
                    self._catch_up(group for group in portion if group not in self._kept)
                    for group in portion:
                        self._refuse_if_ended()
                        state = self._kept.pop(group, None)
                        yield ("group", group.labels, group.dump() if state is None else state)
        finally:
            self.is_over = True

    def _refuse_if_ended(self) -> None:
        if self._has_ended:
            raise DumpEnded
