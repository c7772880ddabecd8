"""When thousands of groups fire at once, the engine pauses now and then; nobody can tell where."""

from __future__ import annotations

from array import array

import pytest

from alertd.engine.engine import PORTIONS_BETWEEN_PAUSES, Engine
from alertd.engine.group import Rest
from alertd.engine.inputs import RulesChanged, Tick
from alertd.engine.journal import GROUPS_BETWEEN_PAUSES, QUIET_BETWEEN_PAUSES
from alertd.engine.population import COLUMNS_FROM
from alertd.engine.resting import RestingGroup
from alertd.engine.routing import SERIES_BETWEEN_PAUSES
from alertd.model import EventBatch, Operator, Rule, Series, Transition, TransitionKind
from tests.unit.engine.engine_driver import count_rule, make_rule, us

GROUPS = 2_000


def storm(*, rule: Rule, racks: int = 1, columns_from: int = COLUMNS_FROM) -> list[Engine]:
    """Return two engines that know a rule."""
    series = [
        Series(number, "m", (("host", f"h{number}"), ("rack", f"k{number % racks}")))
        for number in range(GROUPS)
    ]
    engines = [Engine(series.__getitem__, columns_from=columns_from) for _ in range(2)]
    for engine in engines:
        engine.step(RulesChanged(at_us=us(0), put=(rule,), dropped=()))
    return engines


def batch(value: float, *, at: float = 10) -> EventBatch:
    """Return an event for each series, all at one instant."""
    return EventBatch(
        received_us=us(at),
        series_ids=array("I", range(GROUPS)),
        times_us=array("q", [us(at)] * GROUPS),
        values=array("d", [value] * GROUPS),
    )


def in_slices(engine: Engine, event: EventBatch | Tick) -> tuple[list[Transition], int]:
    """Return what is found, and in how many slices."""
    slices = list(engine.in_slices(event))
    return [transition for part in slices for transition in part], len(slices)


@pytest.mark.parametrize("group_by", [("host",), ("rack",)])
def test_a_storm_is_judged_in_slices_and_finds_what_a_step_finds(group_by: tuple[str, ...]) -> None:
    sliced, whole = storm(rule=make_rule(group_by=group_by), racks=GROUPS // 2)
    found, slices = in_slices(sliced, batch(9.0))
    assert found == whole.step(batch(9.0))
    firing = [one for one in found if one.kind is TransitionKind.FIRING]
    assert len(firing) == (GROUPS if group_by == ("host",) else GROUPS // 2)
    assert slices > len(firing) / GROUPS_BETWEEN_PAUSES
    assert list(sliced.dump()) == list(whole.dump())


def test_so_are_the_ends_that_the_clock_brings_about() -> None:
    sliced, whole = storm(rule=count_rule(group_by=("host",)))
    for engine in (sliced, whole):
        engine.step(batch(1.0))
    found, slices = in_slices(sliced, Tick(us(21)))
    assert found == whole.step(Tick(us(21)))
    assert len(found) == GROUPS
    assert slices > GROUPS / GROUPS_BETWEEN_PAUSES


@pytest.mark.parametrize("columns_from", [COLUMNS_FROM, GROUPS + 1])
def test_making_the_groups_of_a_first_batch_pauses_and_a_quiet_batch_hardly_does(
    columns_from: int,
) -> None:
    sliced, whole = storm(rule=make_rule(group_by=("host",)), columns_from=columns_from)
    found, slices = in_slices(sliced, batch(0.0))
    assert found == whole.step(batch(0.0)) == []
    assert slices >= GROUPS / SERIES_BETWEEN_PAUSES
    assert list(sliced.dump()) == list(whole.dump())
    found, slices = in_slices(sliced, batch(0.0, at=11))
    assert found == whole.step(batch(0.0, at=11)) == []
    assert slices <= 1 + GROUPS / (PORTIONS_BETWEEN_PAUSES * GROUPS_BETWEEN_PAUSES)
    assert list(sliced.dump()) == list(whole.dump())


def test_the_end_of_a_step_in_which_nothing_is_found_pauses_too() -> None:
    """An equality is not screened: each group judges, when all events of the instant are there."""
    rule = make_rule(group_by=("host",), aggregate="stddev", operator=Operator.EQ, threshold=5.0)
    sliced, whole = storm(rule=rule)
    for engine in (sliced, whole):
        engine.step(batch(0.0))  # the groups are there
    found, slices = in_slices(sliced, batch(0.0, at=11))
    assert found == whole.step(batch(0.0, at=11)) == []
    observed = GROUPS // (PORTIONS_BETWEEN_PAUSES * GROUPS_BETWEEN_PAUSES)
    assert slices >= observed + GROUPS // QUIET_BETWEEN_PAUSES
    assert list(sliced.dump()) == list(whole.dump())


def test_groups_that_have_fallen_asleep_come_to_rest_a_few_between_two_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("numpy", reason="screening in columns needs NumPy")
    from alertd.engine.sleepers import LAID_DOWN_AT_ONCE

    asked = 0

    def rest(self: RestingGroup) -> Rest | None:
        nonlocal asked
        asked += 1
        return original(self)

    original = RestingGroup.rest
    monkeypatch.setattr(RestingGroup, "rest", rest)
    engine, _ = storm(rule=make_rule(group_by=("host",), aggregate="avg"))
    engine.step(batch(0.0))  # after which all of them sleep
    asked, of_slices = 0, []
    for _ in engine.in_slices(batch(0.0, at=11)):
        of_slices.append(asked)
        asked = 0
    assert sum(of_slices) >= GROUPS
    assert max(of_slices) <= LAID_DOWN_AT_ONCE


def test_what_shares_an_instant_is_judged_together_wherever_it_pauses() -> None:
    """Half of a rack's events are loud: the average is not, though it was at a pause."""
    rule = make_rule(group_by=("rack",), aggregate="avg", threshold=5.0)
    sliced, whole = storm(rule=rule)
    loud_first = batch(9.0)
    quiet_half = array("d", [9.0] * (GROUPS // 2) + [0.0] * (GROUPS // 2))
    event = EventBatch(
        received_us=loud_first.received_us,
        series_ids=loud_first.series_ids,
        times_us=loud_first.times_us,
        values=quiet_half,
    )
    assert in_slices(sliced, event)[0] == whole.step(event) == []
