"""What groups that sleep share, they do not share when they wake."""

from __future__ import annotations

from alertd.engine.lifecycle import Lifecycle
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


def lifecycle(driver: Driver, host: str) -> Lifecycle:
    group = driver.engine._router.group("r", (("host", host),))
    assert group is not None
    return group.lifecycle


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
