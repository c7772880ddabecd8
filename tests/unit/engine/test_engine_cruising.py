"""Groups that let events pass in a band; the property tests have the rest."""

from __future__ import annotations

from alertd.model import EndReason
from tests.unit.engine.engine_driver import Driver, make_rule, us


def test_an_event_that_comes_with_less_delay_has_the_next_to_leave_waited_for_less_long() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=0.5, window=10, lateness=2))
    for time, value in ((100, 4), (101, 0), (102, 0), (103, 1)):
        driver.send(time, value, at=time + 5)
    assert driver.engine.next_wake_us() == us(117)
    driver.send(109, 1, at=109)
    assert driver.engine.next_wake_us() == us(112)
    driver.tick(112)
    assert driver.edges == [(100, 100, 110, EndReason.RECOVERED)]
