"""Groups that need not judge, in columns: a batch of events costs them no Python an event.

Owns, for the groups that sleep or coast (``continuous.py``), what decides whether an event is kept
without being judged, in arrays by the group's slot; and the events that were kept so, until they
are dealt out to the groups' own columns. A whole batch is screened in a few array operations, and
only what is not quiet goes to its groups one by one. Here "quiet" is what changes nothing for its
group: small values for one that sleeps, loud ones for one that coasts.

Invariant: nobody can tell. While a group rests here its clock stands in the arrays and its newest
events wait here; its object is behind, until ``rouse`` or ``catch_up`` brings it up to date. All
events of a group in one batch go the same way, in their order.

Cost: some 0.05 us a quiet event in a batch of a thousand, and twice as much when it is dealt out.
100 bytes a group, 20 bytes for each of ``MAX_WAITING`` events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from alertd.engine.arrivals import Arrival, each_event
from alertd.engine.group import Group, QuietClock
from alertd.engine.journal import GROUPS_BETWEEN_PAUSES
from alertd.engine.routing import SERIES_BETWEEN_PAUSES, Newcomer, Router, groups_on
from alertd.model import EventBatch

MAX_WAITING: Final = 65_536
"""Events that wait here; when there are so many, all are dealt out: some 10 ms."""

_LEAST_ALONE: Final = 16
_ALONE_SHARE: Final = 8
"""When more groups than ``_LEAST_ALONE``, and than one in ``_ALONE_SHARE`` of those that rest, were
given what waited for them alone, it is cheaper to deal out to all."""

MAX_GROUPS: Final = 16_384
"""With more, dealing out takes too long at a time, and saves less."""

_FIRST_SLOTS: Final = 1_024
_WIDEST: Final = 16
"""A batch with an event that more groups see has each of its events observed."""
_NOBODY: Final = 0
"""The slot of no group."""
_UNKNOWN: Final = -1
"""In place of a slot: the series has not been routed yet."""

_Ints = NDArray[np.int64]
_Floats = NDArray[np.float64]
_Slots = NDArray[np.int32]
_Mask = NDArray[np.bool_]
_Any = TypeVar("_Any", bound=np.generic)


class Sleepers:
    """All groups that events have come to, resting here or not, by slot."""

    def __init__(self, router: Router, least_events: int) -> None:
        """Batches of fewer than ``least_events`` have each of their events observed."""
        self._router = router
        self._least_events = least_events
        self._slots = np.full((_FIRST_SLOTS, 1), _UNKNOWN, np.int32)  # by series, place in route
        self._groups: list[Group | None] = [None]
        self._free: list[int] = []
        self._next = np.zeros(_FIRST_SLOTS, np.int64)  # the least event time that may be kept
        self._strict = np.zeros(_FIRST_SLOTS, np.int64)  # next - judged: 1 if instants are closed
        self._newest = np.zeros(_FIRST_SLOTS, np.int64)
        self._lag = np.zeros(_FIRST_SLOTS, np.int64)  # newest - raised - lateness
        self._heard = np.zeros(_FIRST_SLOTS, np.int64)
        self._lateness = np.zeros(_FIRST_SLOTS, np.int64)
        self._apart = np.zeros(_FIRST_SLOTS, np.int64)
        self._room = np.zeros(_FIRST_SLOTS, np.int64)
        self._from = np.full(_FIRST_SLOTS, np.inf)  # nothing is quiet for who does not rest here
        self._from[_NOBODY] = np.nan  # nor for who never will
        self._until = np.full(_FIRST_SLOTS, -np.inf)
        self._resting: set[int] = set()
        self._mark = np.zeros(_FIRST_SLOTS, np.int64)  # scratch
        self._given_alone = 0  # groups that were given what waited for them since all were
        self._waiting = 0
        self._waiting_slots = np.zeros(MAX_WAITING, np.int32)
        self._waiting_times = np.zeros(MAX_WAITING, np.int64)
        self._waiting_values = np.zeros(MAX_WAITING, np.float64)

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many groups that this does not pay any more."""
        return len(self._groups) - len(self._free) > MAX_GROUPS

    # ---- a batch

    def meet(self, batch: EventBatch) -> Iterator[None]:
        """See ``Arrivals``."""
        yield from self._router.meet(batch.series_ids)
        series_ids = np.frombuffer(batch.series_ids, np.uint32)
        if len(batch) < self._least_events or not (unknown := self._is_unknown(series_ids)).any():
            return
        new_ids = np.unique(series_ids[unknown])
        for start in range(0, len(new_ids), SERIES_BETWEEN_PAUSES):
            slots = self._slots_of(new_ids[start : start + SERIES_BETWEEN_PAUSES])
            if slots is None:
                return
            self._let_rest(slots[slots != _NOBODY])
            yield

    def take(self, batch: EventBatch) -> Iterator[Arrival]:
        """Keep the quiet events of ``batch``, and yield the others, each with a group that sees it.

        In their order; whoever takes one has the group observe it before asking for the next.
        """
        now_us = batch.received_us
        of_series = None
        if len(batch) >= self._least_events:
            of_series = self._slots_of(np.frombuffer(batch.series_ids, np.uint32))
        if of_series is None:
            routes = list(self._router.routes(batch.series_ids))
            self.rouse(groups_on(routes))
            yield from each_event(routes, batch)
            return
        if np.isnan(self._from[of_series]).all():
            yield from each_event(self._router.routes(batch.series_ids), batch)
            return
        slots, times, values = _by_group(of_series, batch)
        self._let_rest(slots)
        quiet = self._quiet(slots, times, values, now_us)
        echoes = self._settle_crowds(quiet, slots, times)
        kept, kept_times = slots[quiet], times[quiet]
        self._wait(kept, kept_times, values[quiet])
        self._count_gaps(kept, now_us)
        self._move_clocks(kept, kept_times, now_us)
        self._heard[echoes] = now_us
        if len(kept) == len(slots):
            return
        loud = ~quiet
        groups = [self._group_at(slot) for slot in slots[loud].tolist()]
        arrivals = zip(groups, times[loud].tolist(), values[loud].tolist(), strict=True)
        for start in range(0, len(groups), GROUPS_BETWEEN_PAUSES):
            portion = slice(start, start + GROUPS_BETWEEN_PAUSES)
            self.rouse(groups[portion])
            yield from islice(arrivals, GROUPS_BETWEEN_PAUSES)

    def _slots_of(self, series_ids: NDArray[np.uint32]) -> _Slots | None:
        """Return the slots of the groups that see each series, routing those that are new.

        None if any of them leads to a group that there may be no room for, or to too many.
        """
        unknown = self._is_unknown(series_ids)
        slots: _Slots = self._slots[series_ids]
        if not unknown.any():
            return slots
        new_ids = np.unique(series_ids[unknown]).tolist()
        for series_id, route in zip(new_ids, self._router.routes(new_ids), strict=True):
            groups = [watcher for watcher in route if not isinstance(watcher, Newcomer)]
            if len(groups) < len(route) or len(route) > _WIDEST:
                return None
            if len(route) > self._slots.shape[1]:
                wider = np.full((len(self._slots), len(route)), _NOBODY, np.int32)
                wider[:, : self._slots.shape[1]] = self._slots
                self._slots = wider
            self._slots[series_id] = _NOBODY
            self._slots[series_id, : len(route)] = [self._slot_of(group) for group in groups]
        found: _Slots = self._slots[series_ids]
        return found

    def _is_unknown(self, series_ids: NDArray[np.uint32]) -> _Mask:
        """Return of which series nobody has asked for slots yet."""
        last = int(series_ids.max(initial=0))
        if last >= len(self._slots):
            self._slots = _grown(self._slots, last + 1, _UNKNOWN)
        unknown: _Mask = self._slots[series_ids, 0] == _UNKNOWN
        return unknown

    def _slot_of(self, group: Group) -> int:
        """Return the slot of a group, giving it one if it is new here."""
        if group.slot == _NOBODY:
            group.slot = self._free.pop() if self._free else len(self._groups)
            if group.slot == len(self._groups):
                self._groups.append(group)
                self._make_slots(len(self._groups))
            self._groups[group.slot] = group
            self._from[group.slot] = np.inf if group.may_rest else np.nan
        return group.slot

    def _make_slots(self, count: int) -> None:
        if count > len(self._mark):
            for name in ("_next", "_strict", "_newest", "_lag", "_heard", "_lateness",
                         "_apart", "_room", "_mark"):  # fmt: skip
                setattr(self, name, _grown(getattr(self, name), count, 0))
            self._from = _grown(self._from, count, np.inf)
            self._until = _grown(self._until, count, -np.inf)

    def _let_rest(self, slots: _Slots) -> None:
        """Let those rest here that have fallen asleep since they were looked at."""
        for slot in np.unique(slots[self._from[slots] == np.inf]).tolist():
            rest = self._group_at(slot).rest()
            if rest is not None:
                clock = rest.clock
                self._next[slot] = clock.judged_us + rest.is_strict
                self._strict[slot], self._newest[slot] = rest.is_strict, clock.newest_us
                self._lag[slot] = clock.newest_us - clock.raised_us - rest.lateness_us
                self._heard[slot] = clock.heard_us
                self._lateness[slot], self._apart[slot] = rest.lateness_us, rest.apart_us
                self._room[slot] = rest.room
                self._from[slot], self._until[slot] = rest.quiet
                self._resting.add(slot)

    def _quiet(self, slots: _Slots, times: _Ints, values: _Floats, now_us: int) -> _Mask:
        """Return which events their group would keep, each by itself, and rest on.

        This is the test that ``RestingGroup.observe`` makes.
        """
        quiet: _Mask = (
            (self._from[slots] <= values)
            & (values <= self._until[slots])
            & (self._next[slots] <= times)
            & (times <= now_us)
            & (times - self._newest[slots] <= self._apart[slots])
            & (self._lag[slots] < times - now_us)
            & (self._room[slots] > 0)
        )
        return quiet

    def _settle_crowds(self, quiet: _Mask, slots: _Slots, times: _Ints) -> _Slots:
        """Have all events of a group go the same way, in ``quiet``: loud if there is any doubt.

        Returns the slots in which an event has the time of the one before it.
        """
        if not quiet.all():
            self._spread(quiet, slots, slots[~quiet])
        slots_left = slots[quiet]
        places = np.arange(len(slots_left))
        self._mark[slots_left] = places
        if (self._mark[slots_left] == places).all():
            return slots[:0]  # each of them has one event
        order = np.argsort(slots_left, kind="stable")
        ordered, in_time = slots_left[order], times[quiet][order]
        follows, step_us = ordered[1:] == ordered[:-1], np.diff(in_time)
        found, counts = np.unique(ordered, return_counts=True)
        later = ordered[1:]
        fits = (self._strict[later] <= step_us) & (step_us <= self._apart[later])
        crowded = np.union1d(later[follows & ~fits], found[counts > self._room[found]])
        self._spread(quiet, slots, crowded)
        return np.setdiff1d(later[follows & (step_us == 0)], crowded)

    def _spread(self, quiet: _Mask, slots: _Slots, loud: _Slots) -> None:
        """Count all events of the slots ``loud`` as not quiet."""
        self._mark[slots] = 0
        self._mark[loud] = 1
        quiet &= self._mark[slots] == 0

    def _wait(self, slots: _Slots, times: _Ints, values: _Floats) -> None:
        """Let quiet events wait to be dealt out."""
        for first in range(0, len(slots), MAX_WAITING):
            part = slice(first, first + MAX_WAITING)
            count = len(slots[part])
            if self._waiting + count > MAX_WAITING:
                self.deal_out()
            room = slice(self._waiting, self._waiting + count)
            self._waiting_slots[room] = slots[part]
            self._waiting_times[room] = times[part]
            self._waiting_values[room] = values[part]
            self._waiting += count

    def _count_gaps(self, slots: _Slots, now_us: int) -> None:
        """Count pauses longer than the lateness, which end with the first event that is kept."""
        overstayed = self._newest[slots] - self._lag[slots] < now_us  # raised + lateness
        for slot in np.unique(slots[overstayed]).tolist():
            self._group_at(slot).note_gap(self._clock_of(slot).raised_us, now_us)

    def _move_clocks(self, slots: _Slots, times: _Ints, now_us: int) -> None:
        """Move the clocks of groups by events that they keep; the last of a slot counts."""
        raising = times != self._newest[slots]
        self._heard[slots[~raising]] = now_us
        self._next[slots] = times + self._strict[slots]
        np.subtract.at(self._room, slots, 1)
        raised = slots[raising]
        self._newest[raised] = times[raising]
        self._lag[raised] = self._newest[raised] - now_us - self._lateness[raised]

    # ---- the way out

    def rouse(self, groups: Iterable[Group]) -> None:
        """Bring groups up to date, which do not rest here any more. O(events that wait) each."""
        for group in groups:
            if group.slot in self._resting:
                self.catch_up(group)
                self._from[group.slot], self._until[group.slot] = np.inf, -np.inf
                self._resting.remove(group.slot)

    def catch_up(self, group: Group) -> None:
        """Bring a group up to date, which rests on. O(events that wait)."""
        if group.slot in self._resting:
            if self._waiting:
                self._give(group)
            group.catch_up(self._clock_of(group.slot))

    def _give(self, group: Group) -> None:
        """Give a group what waits for it; or all groups, if many ask for theirs."""
        self._given_alone += 1
        if self._given_alone > max(_LEAST_ALONE, len(self._resting) // _ALONE_SHARE):
            self.deal_out()
            return
        mine = np.flatnonzero(self._waiting_slots[: self._waiting] == group.slot)
        if len(mine):
            times, values = self._waiting_times[mine], self._waiting_values[mine]
            group.keep_quiet(memoryview(times.tobytes()), memoryview(values.tobytes()))
            self._waiting_slots[mine] = _NOBODY

    def deal_out(self) -> None:
        """Give all that waits to its groups. O(events that wait + groups that they are of)."""
        self._given_alone = 0
        if not self._waiting:
            return
        slots = self._waiting_slots[: self._waiting]
        order = np.argsort(slots, kind="stable")
        ordered = slots[order]
        times = memoryview(self._waiting_times[: self._waiting][order].tobytes())
        values = memoryview(self._waiting_values[: self._waiting][order].tobytes())
        starts = np.flatnonzero(np.diff(ordered, prepend=_UNKNOWN))
        ends = np.append(starts[1:], self._waiting)
        owners = [self._groups[slot] for slot in ordered[starts].tolist()]
        for group, start, end in zip(
            owners, (8 * starts).tolist(), (8 * ends).tolist(), strict=True
        ):
            if group is not None:  # else it was taken out before
                group.keep_quiet(times[start:end], values[start:end])
        self._waiting = 0

    def _group_at(self, slot: int) -> Group:
        group = self._groups[slot]
        assert group is not None
        return group

    def _clock_of(self, slot: int) -> QuietClock:
        newest_us = int(self._newest[slot])
        raised_us = newest_us - int(self._lag[slot]) - int(self._lateness[slot])
        judged_us = int(self._next[slot] - self._strict[slot])
        return QuietClock(judged_us, newest_us, raised_us, int(self._heard[slot]))

    def leave(self, group: Group) -> None:
        """Forget a group that was roused: it is to be dropped."""
        if group.slot != _NOBODY:
            self._groups[group.slot] = None
            self._free.append(group.slot)
            group.slot = _NOBODY

    def forget_routes(self, series_ids: Iterable[int] | None) -> None:
        """Ask the router again about ``series_ids``, None for all, when events of them come."""
        if series_ids is None:
            self._slots = np.full((_FIRST_SLOTS, 1), _UNKNOWN, np.int32)
        else:
            known = [series_id for series_id in series_ids if series_id < len(self._slots)]
            self._slots[known] = _UNKNOWN


def _by_group(of_series: _Slots, batch: EventBatch) -> tuple[_Slots, _Ints, _Floats]:
    """Return a batch with a row for each group that sees an event, event by event."""
    times = np.frombuffer(batch.times_us, np.int64)
    values = np.frombuffer(batch.values, np.float64)
    width = of_series.shape[1]
    if width > 1:
        times, values = times.repeat(width), values.repeat(width)
    slots = of_series.ravel()
    seen = slots != _NOBODY
    return (slots, times, values) if seen.all() else (slots[seen], times[seen], values[seen])


def _grown(column: NDArray[_Any], size: int, fill: float) -> NDArray[_Any]:
    """Return ``column`` with at least ``size`` rows; amortised O(1) a row."""
    longer = np.full((max(size, 2 * len(column)), *column.shape[1:]), fill, column.dtype)
    longer[: len(column)] = column
    return longer
