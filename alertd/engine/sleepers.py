"""Groups that need not judge, in columns: a batch of events costs them no Python an event.

Owns, for the groups that sleep (``sleeping.py``) or coast (``coasting.py``), what decides whether
an event is kept without being judged, in an array by the group's slot. A whole batch is screened
in a few array operations, and only what is not quiet goes to its groups one by one. Here "quiet" is
what changes nothing for its group: small values for one that sleeps, loud ones for one that coasts.
Leaves the events that were kept so to ``waiting.py``, and their order by groups to ``crowds.py``.

Invariant: nobody can tell. While a group rests here its clock stands in the arrays and its newest
events wait; its object is behind, until ``rouse`` or ``catch_up`` brings it up to date. All events
of a group in one batch go the same way, in their order.

Cost: some 0.15 us a quiet event in a batch of a thousand, 0.05 in one of five thousand that has
eight of each group, and as much again to deal it out. 110 bytes a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from alertd.engine.arrivals import Arrival, each_event
from alertd.engine.crowds import Crowds, Floats, Ints, Mask, Slots
from alertd.engine.group import Group, QuietClock
from alertd.engine.routing import (
    SERIES_BETWEEN_PAUSES,
    Newcomer,
    Router,
    groups_on,
    watchers_on,
)
from alertd.engine.sleeping import LEAST_ROOM, ROOM_GROWTH
from alertd.engine.waiting import WaitingEvents
from alertd.model import EventBatch

MAX_GROUPS: Final = 16_384
"""With more, dealing out takes too long at a time, and saves less."""

ROUSED_AT_ONCE: Final = 128
"""Events that are not quiet, whose groups are brought up to date together: some 0.8 ms."""

LAID_DOWN_AT_ONCE: Final = 64
"""Groups that come to rest here between two pauses: some 0.4 ms, where each has to unpack."""

_FIRST_SLOTS: Final = 1_024
_WIDEST: Final = 16
"""A batch with an event that more groups see has each of its events observed."""
_NOBODY: Final = 0
"""The slot of no group."""
_UNKNOWN: Final = -1
"""In place of a slot: the series has not been routed yet."""

_STATE: Final = np.dtype(
    [
        ("from", np.float64),  # the least quiet value; inf if it does not rest here
        ("until", np.float64),
        ("next", np.int64),  # the least event time that may be kept
        ("strict", np.int64),  # next - horizon: 1 if instants are closed
        ("trail", np.int64),  # newest - horizon, where the clock does not move that
        ("newest", np.int64),
        ("lag", np.int64),  # newest - raised - lateness
        ("heard", np.int64),
        ("lateness", np.int64),
        ("apart", np.int64),  # how much later than the one before an event may be
        ("room", np.int64),
        ("left", np.int64),  # of the room
        ("roomy", np.int64),  # before this more room may be given, up to the most
        ("most", np.int64),
    ]
)
"""What is known of a group that rests here; see ``group.Rest``."""

_State = NDArray[np.void]
_Any = TypeVar("_Any", bound=np.generic)
_Integer = TypeVar("_Integer", np.uint32, np.int32)


class Sleepers:
    """All groups that events have come to, resting here or not, by slot."""

    def __init__(self, router: Router, least_events: int) -> None:
        """Batches of fewer than ``least_events`` have each of their events observed."""
        self._router = router
        self._least_events = least_events
        self._slots = np.full((_FIRST_SLOTS, 1), _UNKNOWN, np.int32)  # by series, place in route
        self._groups: list[Group | None] = [None]
        self._slot_by_group: dict[Group, int] = {}
        self._free: list[int] = []
        self._state = np.zeros(_FIRST_SLOTS, _STATE)
        self._state["from"][_NOBODY] = np.nan  # who never will
        self._rests = bytearray(1)  # by slot, whether the group rests here
        self._waiting = WaitingEvents()

    @property
    def is_crowded(self) -> bool:
        """Whether there are so many groups that this does not pay any more."""
        return len(self._slot_by_group) > MAX_GROUPS

    # ---- a batch

    def meet(self, batch: EventBatch) -> Iterator[None]:
        """See ``Arrivals``."""
        if len(batch) < self._least_events:
            yield from self._router.meet(batch.series_ids)
            return
        if not self._waiting.has_room(len(batch) * self._slots.shape[1]):
            yield from self._waiting.portions_dealt_out()
        series_ids = np.frombuffer(batch.series_ids, np.uint32)
        slots, unknown = self._known_slots(series_ids)
        if unknown.any():  # a series that has slots has a route
            yield from self._router.meet(batch.series_ids)
            new_ids = _distinct(series_ids[unknown], len(self._slots))
            for start in range(0, len(new_ids), SERIES_BETWEEN_PAUSES):
                if self._slots_of(new_ids[start : start + SERIES_BETWEEN_PAUSES]) is None:
                    return
                yield
            slots, _ = self._known_slots(series_ids)
        awake = _distinct(slots[self._state["from"][slots] == np.inf], len(self._groups))
        for start in range(0, len(awake), LAID_DOWN_AT_ONCE):
            self._lay_down(awake[start : start + LAID_DOWN_AT_ONCE].tolist())
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
        slots, times, values = _for_each_group(of_series, batch)
        if not len(slots):
            return  # nobody sees any of it
        crowds = Crowds.of(slots, times, values)
        state = self._state.take(crowds.slots)
        if not (state["from"] < np.inf).any():  # nobody rests here
            yield from each_event(self._router.routes(batch.series_ids), batch)
            return
        quiet = self._keep_quiet(crowds, state, now_us)
        if quiet.all():
            return
        loud = np.sort(crowds.places[(~quiet).repeat(crowds.counts)])
        for start in range(0, len(loud), ROUSED_AT_ONCE):
            places = loud[start : start + ROUSED_AT_ONCE]
            groups = [self._group_at(slot) for slot in slots[places].tolist()]
            self.rouse(groups)
            yield from zip(groups, times[places].tolist(), values[places].tolist(), strict=True)

    def _slots_of(self, series_ids: NDArray[np.uint32]) -> Slots | None:
        """Return the slots of the groups that see each series, routing those that are new.

        None if any of them leads to a group that there may be no room for, or to too many.
        """
        slots, unknown = self._known_slots(series_ids)
        if not unknown.any():
            return slots
        new_ids = _distinct(series_ids[unknown], len(self._slots)).tolist()
        for series_id, route in zip(new_ids, self._router.routes(new_ids), strict=True):
            watchers = watchers_on(route)
            groups = [watcher for watcher in watchers if not isinstance(watcher, Newcomer)]
            if len(groups) < len(watchers) or len(groups) > _WIDEST:
                return None
            if len(groups) > self._slots.shape[1]:
                wider = np.full((len(self._slots), len(groups)), _NOBODY, np.int32)
                wider[:, : self._slots.shape[1]] = self._slots
                self._slots = wider
            self._slots[series_id] = _NOBODY
            self._slots[series_id, : len(groups)] = [self._slot_of(group) for group in groups]
        return self._known_slots(series_ids)[0]

    def _known_slots(self, series_ids: NDArray[np.uint32]) -> tuple[Slots, Mask]:
        """Return the slots of each series, and of which series nobody has asked for them yet."""
        self._slots = _grown(self._slots, int(series_ids.max(initial=0)) + 1, _UNKNOWN)
        slots = self._slots.take(series_ids, axis=0)
        return slots, slots[:, 0] == _UNKNOWN

    def _slot_of(self, group: Group) -> int:
        """Return the slot of a group, giving it one if it is new here."""
        slot = self._slot_by_group.get(group)
        if slot is None:
            slot = self._free.pop() if self._free else len(self._groups)
            if slot == len(self._groups):
                self._groups.append(group)
                self._rests.append(False)
                self._state = _grown(self._state, len(self._groups), 0)
            self._groups[slot] = group
            self._slot_by_group[group] = slot
            self._state["from"][slot] = np.inf
        return slot

    def _lay_down(self, slots: list[int]) -> None:
        """Have those of ``slots`` rest here that have fallen asleep."""
        found, states = [], []
        for slot in slots:
            group = self._groups[slot]
            if group is not None and (rest := group.rest()) is not None:
                horizon_us, newest_us, raised_us, heard_us, room = rest.clock
                lag_us = newest_us - raised_us - rest.lateness_us
                found.append(slot)
                self._rests[slot] = True
                states.append(
                    (*rest.quiet, horizon_us + rest.is_strict, rest.is_strict, rest.trail_us,
                     newest_us, lag_us, heard_us, rest.lateness_us, rest.apart_us, room,
                     room - len(rest.times), rest.roomy_until_us, rest.most_room)
                )  # fmt: skip
                self._waiting.own(slot, rest.times, rest.values)
        if found:
            _words(self._state)[found] = _words(np.array(states, _STATE))

    def _keep_quiet(self, crowds: Crowds, state: _State, now_us: int) -> Mask:
        """Keep the events of groups that would keep all of theirs and rest on; return which.

        ``state`` is what is known of the groups, and is changed with theirs.
        """
        first, last = crowds.first_times, crowds.last_times
        steps = crowds.steps(state["newest"])
        # The test that a sleeper makes of each event, for all of a group at once.
        quiet: Mask = (
            (state["next"] <= first)
            & (last <= now_us)
            & (state["lag"] < first - now_us)
            & crowds.all_between(state["from"], crowds.values, state["until"])
            & crowds.all_between(state["strict"], steps, state["apart"])
        )
        lacking = quiet & (state["left"] < crowds.counts)
        if lacking.any():
            quiet &= ~lacking | _enlarged(lacking, crowds, state)
        kept = crowds.slots.repeat(crowds.counts), crowds.times, crowds.values
        if not quiet.all():
            of_quiet = quiet.repeat(crowds.counts)
            kept = kept[0][of_quiet], kept[1][of_quiet], kept[2][of_quiet]
        self._waiting.add(*kept)
        due_us = state["newest"] - state["lag"]  # raised + lateness
        overstayed = quiet & (due_us < now_us)
        if overstayed.any():
            raised_us = (due_us - state["lateness"])[overstayed]
            self._count_gaps(crowds.slots[overstayed], raised_us, now_us)
        # The clocks move by the last event of each group, the horizons by that or by the clock.
        horizon = np.maximum(last - state["trail"], state["lag"] + now_us)
        state["next"] = np.maximum(state["next"], horizon + state["strict"])
        raising = last != state["newest"]
        state["lag"][raising] = (last - now_us - state["lateness"])[raising]
        state["newest"] = last
        if not steps.all():
            state["heard"][np.minimum.reduceat(steps, crowds.starts) == 0] = now_us
        state["left"] -= crowds.counts
        _words(self._state)[crowds.slots[quiet]] = _words(state)[quiet]
        return quiet

    def _count_gaps(self, slots: Slots, raised_us: Ints, now_us: int) -> None:
        """Count pauses longer than the lateness, which end with the first event that is kept."""
        for slot, since_us in zip(slots.tolist(), raised_us.tolist(), strict=True):
            self._group_at(slot).note_gap(since_us, now_us)

    # ---- the way out

    def rouse(self, groups: Iterable[Group]) -> None:
        """Bring groups up to date, which do not rest here any more. O(events that wait)."""
        resting = self._those_resting(groups)
        if resting:
            slots = self._bring_up_to_date(resting)
            self._state["from"][slots] = np.inf
            for slot in slots.tolist():
                self._rests[slot] = False

    def catch_up(self, groups: Iterable[Group]) -> None:
        """Bring groups up to date, which rest on. O(events that wait)."""
        resting = self._those_resting(groups)
        if resting:
            self._bring_up_to_date(resting)

    def _those_resting(self, groups: Iterable[Group]) -> list[Group]:
        """Return those of ``groups`` that rest here, each once."""
        slot_of, rests = self._slot_by_group.get, self._rests
        return [group for group in dict.fromkeys(groups) if rests[slot_of(group, _NOBODY)]]

    def _bring_up_to_date(self, groups: list[Group]) -> Slots:
        """Give groups that rest here what waits for them, and their clocks; return their slots."""
        slots = np.array([self._slot_by_group[group] for group in groups], np.int32)
        self._waiting.give(slots)
        for group, clock in zip(groups, self._clocks_of(slots), strict=True):
            group.catch_up(clock)
        return slots

    def deal_out(self) -> None:
        """Cut all that waits into pieces. O(events that wait + groups that they are of)."""
        self._waiting.deal_out()

    def _group_at(self, slot: int) -> Group:
        group = self._groups[slot]
        assert group is not None
        return group

    def _clocks_of(self, slots: Slots) -> Iterator[QuietClock]:
        """Return the clock of each slot."""
        state = self._state.take(slots)
        horizon, raised = state["next"] - state["strict"], state["newest"] - state["lag"]
        raised -= state["lateness"]
        columns = horizon, state["newest"], raised, state["heard"], state["room"]
        return map(QuietClock, *(column.tolist() for column in columns))

    def leave(self, group: Group) -> None:
        """Forget a group that was roused: it is to be dropped."""
        slot = self._slot_by_group.pop(group, _NOBODY)
        if slot != _NOBODY:
            self._groups[slot] = None
            self._waiting.own(slot)
            self._free.append(slot)

    def forget_routes(self, series_ids: Iterable[int] | None) -> None:
        """Ask the router again about ``series_ids``, None for all, when events of them come."""
        if series_ids is None:
            self._slots = np.full((_FIRST_SLOTS, 1), _UNKNOWN, np.int32)
        else:
            known = [series_id for series_id in series_ids if series_id < len(self._slots)]
            self._slots[known] = _UNKNOWN


def _enlarged(lacking: Mask, crowds: Crowds, state: _State) -> Mask:
    """Return which of the groups ``lacking`` room are given enough, as each would do it itself.

    Those of which no event leaves its window meanwhile: there is nothing to be forgotten yet.
    """
    room = np.maximum(LEAST_ROOM, ROOM_GROWTH * state["room"])
    left = state["left"] + room - state["room"]
    enlarged: Mask = (
        lacking
        & (crowds.last_times < state["roomy"])
        & (crowds.counts <= left)
        & (room <= state["most"])
    )
    state["room"][enlarged], state["left"][enlarged] = room[enlarged], left[enlarged]
    return enlarged


def _distinct(numbers: NDArray[_Integer], below: int) -> NDArray[_Integer]:
    """Return ``numbers``, of which all are less than ``below``, each once and ascending.

    O(numbers + below); what ``np.unique`` hashes takes ten times as long.
    """
    are_there = np.zeros(below, np.bool_)
    are_there[numbers] = True
    return np.flatnonzero(are_there).astype(numbers.dtype)


def _for_each_group(of_series: Slots, batch: EventBatch) -> tuple[Slots, Ints, Floats]:
    """Return a batch with a row for each group that sees an event, event by event."""
    times = np.frombuffer(batch.times_us, np.int64)
    values = np.frombuffer(batch.values, np.float64)
    width = of_series.shape[1]
    if width > 1:
        times, values = times.repeat(width), values.repeat(width)
    slots = of_series.ravel()
    seen = slots != _NOBODY
    return (slots, times, values) if seen.all() else (slots[seen], times[seen], values[seen])


def _words(state: _State) -> NDArray[np.int64]:
    """Return the same memory as rows of integers, which NumPy copies six times as fast."""
    return state.view(np.int64).reshape(len(state), -1)


def _grown(column: NDArray[_Any], size: int, fill: float) -> NDArray[_Any]:
    """Return ``column`` with at least ``size`` rows; amortised O(1) a row."""
    if size <= len(column):
        return column
    longer = np.full((max(size, 2 * len(column)), *column.shape[1:]), fill, column.dtype)
    longer[: len(column)] = column
    return longer
