"""Events that wait reach their groups' columns, each once and in order, whoever asks when."""

from __future__ import annotations

import random
from array import array
from itertools import islice

import pytest

np = pytest.importorskip("numpy", reason="screening in columns needs NumPy")

from alertd.engine.waiting import PIECES, WaitingEvents  # noqa: E402  # needs NumPy


class Groups:
    """Groups' own columns, and what they should hold."""

    def __init__(self, count: int) -> None:
        self.waiting = WaitingEvents()
        self.times = [array("q") for _ in range(count + 1)]
        self.values = [array("d") for _ in range(count + 1)]
        self.sent: list[list[int]] = [[] for _ in range(count + 1)]
        for slot in range(1, count + 1):
            self.waiting.own(slot, self.times[slot], self.values[slot])

    def send(self, slots: list[int], first_time: int) -> None:
        times = range(first_time, first_time + len(slots))
        for slot, time in zip(slots, times, strict=True):
            self.sent[slot].append(time)
        column = np.array(times, np.int64)
        self.waiting.add(np.array(slots, np.int32), column, column / 2)

    def give(self, *slots: int) -> None:
        self.waiting.give(np.array(slots, np.int32))

    def has_all(self, slot: int) -> bool:
        values = [2 * value for value in self.values[slot]]
        return self.times[slot].tolist() == self.sent[slot] == values


@pytest.fixture
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alertd.engine.waiting.MAX_WAITING", 100)
    monkeypatch.setattr("alertd.engine.waiting.GROUPS_AT_ONCE", 3)
    monkeypatch.setattr("alertd.engine.waiting._WORTH_A_GROUP", 50)
    monkeypatch.setattr("alertd.engine.crowds._SHORT", 8)


@pytest.mark.usefixtures("little_room")
@pytest.mark.parametrize("seed", range(20))
def test_each_event_comes_once_and_in_order(seed: int) -> None:
    source = random.Random(seed)  # noqa: S311 - a test, no secret
    groups = Groups(source.choice([1, 5, 12]))
    slots = range(1, len(groups.sent))
    for turn in range(100):
        groups.send(source.choices(slots, k=source.randrange(1, 250)), 1_000 * turn)
        asking = source.sample(slots, k=source.randrange(len(slots) + 1))
        if source.random() < 0.5:
            groups.give(*asking)
            assert all(map(groups.has_all, asking))
        if source.random() < 0.1:
            groups.waiting.deal_out()
            assert groups.waiting.has_room(100)
    groups.give(*slots)
    assert all(map(groups.has_all, slots))


@pytest.mark.usefixtures("little_room")
def test_whoever_asks_in_a_pause_of_dealing_out_is_given_what_waits_once() -> None:
    for pauses in range(1, 5):
        for asks in ("give", "deal out", "nobody"):
            groups = Groups(12)
            groups.send([*range(1, 13)] * 5, 0)
            portions = groups.waiting.portions_dealt_out()
            assert len(list(islice(portions, pauses))) == pauses
            groups.give(1)
            assert groups.has_all(1)
            if asks == "give":
                groups.give(2, 12)
                assert groups.has_all(2)
                assert groups.has_all(12)
            elif asks == "deal out":
                groups.waiting.deal_out()
            for _ in portions:
                pass
            groups.send([1, 12], 1_000)
            groups.give(*range(1, 13))
            assert all(map(groups.has_all, range(1, 13)))


@pytest.mark.usefixtures("little_room")
def test_there_is_room_for_as_many_as_may_wait() -> None:
    groups = Groups(2)
    assert groups.waiting.has_room(100)
    groups.send([1, 2] * 30, 0)
    assert groups.waiting.has_room(40)
    assert not groups.waiting.has_room(41)
    assert not groups.times[1]
    groups.send([1, 2] * 30, 1_000)
    assert groups.waiting.has_room(40)


@pytest.mark.usefixtures("little_room")
def test_what_is_dealt_out_is_appended_many_pieces_at_a_time_and_not_to_all_at_once() -> None:
    groups = Groups(2 * PIECES)
    slots = range(1, 2 * PIECES + 1)
    appended: dict[int, list[int]] = {slot: [] for slot in slots}
    for turn in range(10 * PIECES):
        groups.send([*slots, *slots], 1_000 * turn)
        groups.waiting.deal_out()
        for slot in slots:
            if len(groups.times[slot]) == 2 * (turn + 1):
                appended[slot].append(turn)
    assert all(len(turns) in range(5, 11) for turns in appended.values())
    assert len(set(map(tuple, appended.values()))) == PIECES
    groups.give(*slots)
    assert all(map(groups.has_all, slots))
