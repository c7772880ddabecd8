"""Judging the past again from the store, when the process may have died in between."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from alertd.engine.engine import Engine
from alertd.engine.inputs import Reconsider
from alertd.model import EndReason, Incident, OnNoData, Operator, TransitionKind
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, us
from tests.unit.engine.test_engine_snapshot import dump

RECOVERED = EndReason.RECOVERED


def reconsider(driver: Driver, *times: float, at: float, told: Sequence[Incident]) -> None:
    """Do what the reconciler does at ``at``, when events of those times are stored."""
    (stretch,) = driver.engine.overdue()
    kept = [time for time in times if us(time) > stretch.read_after_us]
    driver.told += driver.engine.step(
        Reconsider(
            now_us=us(at),
            stretch=stretch,
            times_us=array("q", [us(time) for time in kept]),
            values=array("d", [1.0] * len(kept)),
            before_times_us=array("q"),
            before_values=array("d"),
            told=tuple(told),
        )
    )


def restarted(driver: Driver) -> Driver:
    """Return a driver whose engine has been restored from a snapshot of this one's."""
    other = Driver()
    other.series, other.told = driver.series, list(driver.told)
    other.engine = Engine(lambda series_id: other.series[series_id])
    other.engine.load(dump(driver.engine))
    return other


def told_too_early() -> Driver:
    """Return a driver that told of [101, 110), where later events make it last until 113."""
    driver = Driver(count_rule(threshold=1.0, keep=20))
    driver.send(100)
    driver.send(101)
    driver.tick(131)
    assert driver.edges == [(101, 101, 110, RECOVERED)]
    driver.send(103, at=131.5)
    driver.send(108, at=131.5)
    return driver


def test_an_incident_that_was_opened_before_a_crash_is_ended_after_it() -> None:
    driver = told_too_early()
    after = restarted(driver)
    reconsider(driver, 100, 101, 103, 108, at=132, told=driver.incidents)
    ended, continued = driver.incidents
    assert (continued.continues, continued.ended_us) == (ended.id, None)
    # The process dies; the state is that of before, the store has what was told.
    reconsider(after, 100, 101, 103, 108, at=160, told=[ended, continued])
    assert after.engine.open_incidents() == []
    assert (after.told[-1].kind, after.told[-1].at_us) == (TransitionKind.RESOLVED, us(113))
    assert after.incidents[-1].id == continued.id


def test_an_incident_that_was_ended_before_a_crash_is_not_ended_again_after_it() -> None:
    driver = told_too_early()
    after = restarted(driver)
    reconsider(driver, 100, 101, 103, 108, at=132, told=driver.incidents)
    driver.tick(160)
    assert [incident.ended_us for incident in driver.incidents] == [us(110), us(113)]
    told = len(after.told)
    reconsider(after, 100, 101, 103, 108, at=161, told=driver.incidents)
    assert [t.kind for t in after.told[told:]] in ([], [TransitionKind.CORRECTED])


def test_what_was_opened_before_a_crash_ends_where_later_events_began_another() -> None:
    driver = told_too_early()
    after = restarted(driver)
    reconsider(driver, 100, 101, 103, 108, at=132, told=driver.incidents)
    told = driver.incidents
    for time in (133, 134, 135):
        after.send(time)
    (another,) = after.engine.open_incidents()
    assert another.id != told[-1].id
    reconsider(
        after, 100, 101, 103, 108, 133, 134, 135, at=136, told=[*told, another]
    )  # what both told
    ended = {incident.id: incident.ended_us for incident in after.incidents}
    assert ended[told[-1].id] == another.started_us
    assert [incident.id for incident in after.engine.open_incidents()] == [another.id]


def test_an_event_behind_the_clock_is_late_whether_or_not_there_was_a_restart() -> None:
    rule = bucket_rule(
        window=2, bucket=1, aggregate="avg", operator=Operator.EQ, on_no_data=OnNoData.ALERT
    )
    driver = Driver(rule)
    for time in (0, 0, 0):
        driver.send(time, 0.0)
    driver.send(3, 0.0, at=5)
    after = restarted(driver)
    driver.send(4, 0.0, at=5)
    after.send(4, 0.0, at=5)
    assert after.engine.overdue() == driver.engine.overdue() != []
    assert dump(after.engine) == dump(driver.engine)
