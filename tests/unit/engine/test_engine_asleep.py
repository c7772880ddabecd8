"""What groups that sleep share, they do not share when they wake."""

from __future__ import annotations

from alertd.engine.lifecycle import Lifecycle
from alertd.engine.resting import RestingGroup
from alertd.engine.vigil import AT_EASE, Vigil
from alertd.engine.window import BEFORE_TIME_US
from alertd.model import GroupState, Labels, Rule
from tests.unit.engine.engine_driver import Driver, make_rule, us

HOSTS = tuple(f"h{number}" for number in range(5))


def average(**options: object) -> Rule:
    return make_rule(group_by=("host",), aggregate="avg", lateness=2, **options)


def asleep() -> Driver:
    """Return a world in which the groups of all hosts sleep."""
    driver = Driver(average())
    for host in HOSTS:
        driver.send(5, 0.0, host=host)
    return driver


def group(driver: Driver, host: str) -> RestingGroup:
    found = driver.engine._router.group("r", (("host", host),))
    assert isinstance(found, RestingGroup)
    return found


def lifecycle(driver: Driver, host: str) -> Lifecycle:
    return group(driver, host).lifecycle


def vigil(driver: Driver, host: str) -> Vigil:
    return group(driver, host)._vigil


def state_of(vigil: Vigil) -> list[object]:
    return [getattr(vigil, name) for name in Vigil.__slots__]


def firing(driver: Driver) -> list[Labels]:
    return [incident.group for incident in driver.engine.open_incidents()]


def test_groups_that_sleep_share_a_lifecycle_and_those_that_wake_have_their_own() -> None:
    driver = asleep()
    shared = lifecycle(driver, "h0")
    assert all(lifecycle(driver, host) is shared for host in HOSTS)
    driver.send(6, 9.0, host="h0")  # the first of them to sleep
    driver.send(7, 9.0, host="h3")
    assert firing(driver) == [(("host", "h0"),), (("host", "h3"),)]
    assert driver.engine.group_states("r", us(8)) == {GroupState.FIRING: 2, GroupState.OK: 3}
    assert len({id(lifecycle(driver, host)) for host in HOSTS}) == 3


def test_who_sleeps_again_shares_again_when_no_late_event_can_change_what_it_told() -> None:
    driver = asleep()
    driver.send(6, 9.0, host="h0")
    for time in range(7, 200):
        driver.send(time, 0.0, host="h0")
    assert firing(driver) == []
    assert lifecycle(driver, "h0") is lifecycle(driver, "h1")


def test_an_edited_rule_is_judged_by_everyone_who_slept() -> None:
    driver = asleep()
    driver.change(average(threshold=-1.0, version=2), at=6)
    assert firing(driver) == [(("host", host),) for host in HOSTS]
    assert {incident.rule_version for incident in driver.engine.open_incidents()} == {2}


def test_groups_that_sleep_share_a_vigil_and_those_that_wake_leave_it_as_it_was() -> None:
    driver = asleep()
    assert all(vigil(driver, host) is AT_EASE for host in HOSTS)
    driver.send(6, 9.0, host="h0")
    driver.send(7, 0.0, host="h1")  # rests on
    driver.send(6, 9.0, host="h2")  # late
    driver.change(average(threshold=-1.0, version=2), at=8)
    assert AT_EASE not in {vigil(driver, host) for host in HOSTS}
    assert state_of(AT_EASE) == state_of(Vigil())


def test_who_was_loud_lately_has_its_own_vigil_asleep_until_no_late_event_reaches_that() -> None:
    driver = asleep()
    driver.send(6, 0.6, host="h0")
    for time in (7, 8, 9):
        driver.send(time, 0.0, host="h0")
    assert group(driver, "h0")._asleep
    assert vigil(driver, "h0").loud_until_us == us(16)
    driver.restart()
    assert vigil(driver, "h0").loud_until_us == us(16)
    driver.send(8, 0.0, host="h0")
    assert not group(driver, "h0")._asleep  # a late event may have been loud with it
    for time in range(10, 200):
        driver.send(time, 0.0, host="h0")
    assert vigil(driver, "h0") is AT_EASE


def test_a_vigil_is_over_when_late_events_reach_neither_what_was_loud_nor_its_sleep() -> None:
    found = Vigil()
    found.loud_until_us, found.slept_until_us = 5, 7
    left = []
    for reach_us in (4, 5, 7, 8):
        found.forget_before(reach_us)
        left.append((found.loud_until_us, found.slept_until_us, found.is_over))
    never = BEFORE_TIME_US
    assert left == [(5, 7, False), (never, 7, False), (never, 7, False), (never, never, True)]


def test_who_slept_in_a_snapshot_shares_too_and_wakes_alone() -> None:
    driver = asleep()
    driver.restart()
    assert all(lifecycle(driver, host) is lifecycle(driver, "h0") for host in HOSTS)
    driver.send(6, 9.0, host="h4")
    assert firing(driver) == [(("host", "h4"),)]


def test_who_was_warm_and_slept_shares_with_the_others() -> None:
    driver = Driver()
    events = [(float(t), 0.0, float(t)) for t in range(100, 130)]
    stored: dict[Labels, list[tuple[float, float, float]]] = {
        (("host", host),): events for host in HOSTS
    }
    driver.start_from(average(), 130, stored)
    assert all(lifecycle(driver, host) is lifecycle(driver, "h0") for host in HOSTS)
    driver.send(131, 90.0, host="h2")
    assert firing(driver) == [(("host", "h2"),)]
