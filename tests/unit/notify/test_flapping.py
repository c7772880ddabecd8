"""The decision table of flapping: when a series changes too often, and when it is stable again."""

from __future__ import annotations

import random

import pytest
from msgspec import structs

from alertd.model import US_PER_S, IncidentSeries, Transition, TransitionKind
from alertd.notify import flapping
from alertd.notify.flapping import Flapping, FlappingLimits, FlappingReason, judge
from alertd.outbound import FlappingEpisode, HoldReason
from tests.unit.store.store_samples import START_US, firing

S = US_PER_S
NOW = START_US
STEADY, BEGINS, GOES_ON = FlappingReason
LIMITS = FlappingLimits(changes=3, within_us=60 * S, stable_us=100 * S)
SERIES = IncidentSeries("r", ())


def on_until(stable_s: float) -> FlappingEpisode:
    return FlappingEpisode(
        id="e",
        series=SERIES,
        since_us=0,
        changes=4,
        last_us=0,
        stable_us=NOW + round(stable_s * S),
    )


TABLE = [
    # times of its changes, until when it flapped last, limits → where it stands
    ([], None, LIMITS, STEADY),
    ([0, 1, 2], None, LIMITS, STEADY),
    ([0, 1, 2, 3], None, LIMITS, BEGINS),
    ([0, 0, 0, 0], None, LIMITS, BEGINS),
    ([0, 1, 2, 59.999999], None, LIMITS, BEGINS),
    ([0, 1, 2, 60], None, LIMITS, STEADY),
    ([-500, 0, 1, 2, 59], None, LIMITS, BEGINS),
    ([0, 1, 2, 3, 100], None, LIMITS, STEADY),
    ([100], on_until(1), LIMITS, GOES_ON),
    ([0, 1, 2, 3, 4], on_until(1), LIMITS, GOES_ON),
    ([100], on_until(0), LIMITS, STEADY),
    ([0, 1, 2, 3, 4], on_until(0), LIMITS, BEGINS),
    ([0, 1, 2, 3], None, structs.replace(LIMITS, changes=0), STEADY),
    ([0, 1], None, structs.replace(LIMITS, changes=1), BEGINS),
]


@pytest.mark.parametrize(("times_s", "episode", "limits", "reason"), TABLE)
def test_the_decision_table(
    times_s: list[float],
    episode: FlappingEpisode | None,
    limits: FlappingLimits,
    reason: FlappingReason,
) -> None:
    times_us = [NOW + round(at_s * S) for at_s in times_s]
    assert judge(times_us, episode, NOW, limits) is reason


def change(
    number: int, at_s: float, found_s: float | None = None, *, group: str = "payment"
) -> Transition:
    """Return one of the changes of a series that fires, ends, fires … at even intervals."""
    at_us = START_US + round(at_s * S)
    found_us = at_us if found_s is None else START_US + round(found_s * S)
    begun = firing(START_US + number // 2).transition
    assert begun.incident is not None
    incident = structs.replace(begun.incident, fired_us=at_us, group=(("service", group),))
    if number % 2:
        fired_us = START_US + round(at_s * (number - 1) / number * S)
        incident = structs.replace(incident, fired_us=fired_us, ended_us=at_us)
    kind = TransitionKind.RESOLVED if number % 2 else TransitionKind.FIRING
    return structs.replace(begun, kind=kind, detected_us=found_us, incident=incident)


def test_a_series_flaps_from_the_change_that_is_one_too_many_until_it_is_quiet() -> None:
    series = Flapping(LIMITS)
    found = [series.note(change(number, 10 * number)) for number in range(8)]
    assert [None if one is None else one.changes for one in found] == [None] * 3 + [4, 5, 6, 7, 8]
    assert {one.id for one in found if one is not None} == {found[3].id}  # type: ignore[union-attr]
    own = change(0, 0).incident
    assert own is not None
    hold = series.hold(own.series, START_US + 169 * S)
    assert hold is not None
    assert (hold.reason, hold.until_us) == (HoldReason.FLAPPING, START_US + 170 * S)
    assert "more than 3 times within 1 min" in hold.detail
    assert series.hold(own.series, START_US + 170 * S) is None
    assert series.hold(SERIES, START_US) is None
    assert series.episodes(START_US + 170 * S) == []


def flap(series: Flapping, group: str, *, at_s: int) -> FlappingEpisode | None:
    """Return what the last of four changes in a second, of the incidents of one group, leads to."""
    return [series.note(change(number, at_s, group=group)) for number in range(4)][-1]


def test_at_the_bound_further_ones_are_told_each_time_until_one_is_stable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flapping, "MAX_EPISODES", 2)
    series = Flapping(LIMITS)
    assert flap(series, "a", at_s=0) is not None
    assert flap(series, "b", at_s=50) is not None
    assert flap(series, "c", at_s=60) is None
    assert series.note(change(9, 61, group="c")) is None
    assert series.note(change(9, 90, group="a")) is not None, "who flaps goes on"
    assert series.note(change(10, 149, group="c")) is None
    assert flap(series, "c", at_s=150) is not None, "b is stable"
    assert flap(series, "d", at_s=151) is None
    assert len(series.episodes(START_US + 151 * S)) == 2


def test_of_what_a_store_remembers_the_newest_episodes_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flapping, "MAX_EPISODES", 2)
    series = Flapping(LIMITS)
    stored = [
        structs.replace(on_until(stable_s), series=IncidentSeries(str(stable_s), ()))
        for stable_s in (3, 1, 2)
    ]
    series.load([], stored)
    assert {one.series.rule_id for one in series.episodes(NOW)} == {"2", "3"}


def test_history_that_comes_at_once_is_counted_by_its_own_time() -> None:
    series = Flapping(LIMITS)
    assert [series.note(change(n, 3600 * n, found_s=10**6)) for n in range(50)] == [None] * 50


def test_how_long_it_is_quiet_goes_by_when_its_changes_were_found() -> None:
    series = Flapping(LIMITS)
    for number in range(5):
        episode = series.note(change(number, number, found_s=5000 + 50 * number))
    assert episode is not None
    assert episode.stable_us == START_US + 5300 * S


def test_a_change_that_is_noted_again_changes_nothing_and_gives_the_same_answer() -> None:
    """A replay finds changes that were counted before, after a restart too."""
    once, twice = Flapping(LIMITS), Flapping(LIMITS)
    changes = [change(number, number) for number in range(6)]
    for one in changes:
        once.note(one)
        twice.note(one)
    for one in changes[3:]:
        twice.note(one)
    assert twice.episodes(START_US) == once.episodes(START_US)
    loaded = Flapping(LIMITS)
    ended = [one.incident for one in changes[1::2] if one.incident is not None]
    loaded.load(ended, once.episodes(START_US))
    for one in changes[3:]:
        loaded.note(one)
    assert loaded.episodes(START_US) == once.episodes(START_US)


def test_the_order_in_which_changes_are_found_does_not_matter_to_when_it_flaps() -> None:
    seed = random.randrange(2**32)  # noqa: S311  # a test
    chance = random.Random(seed)  # noqa: S311  # a test
    changes = [change(number, 5 * number, found_s=0) for number in range(4)]
    chance.shuffle(changes)
    series = Flapping(LIMITS)
    found = [series.note(one) for one in changes]
    assert [one is not None for one in found] == [False] * 3 + [True], f"seed {seed}"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flapping, "MAX_SERIES", 2)
    series = Flapping(LIMITS)
    for number in range(100):
        series.note(change(number, number))
    assert {len(changes) for changes in series._changes.values()} == {4}
    for host in ("a", "b", "c"):
        other = change(0, 0)
        assert other.incident is not None
        incident = structs.replace(other.incident, group=(("host", host),))
        series.note(structs.replace(other, incident=incident))
    assert [key.group for key in series._changes] == [(("host", "b"),), (("host", "c"),)]
    off = Flapping(structs.replace(LIMITS, changes=0))
    assert off.note(change(0, 0)) is None
    assert not off._changes
