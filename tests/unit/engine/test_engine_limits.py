"""What a rule keeps has limits, and what goes beyond is refused by name; gaps are counted."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest

from alertd.engine.inputs import RulesChanged
from alertd.engine.observed import Observed
from alertd.model import EndReason, EventBatch, Labels, Limits, Rule
from tests.unit.engine.engine_driver import Driver, bucket_rule, count_rule, make_rule, us


def limited(*rules: Rule, groups: int = 1_000, events: int = 1_000) -> Driver:
    driver = Driver(*rules)
    limit(driver, groups=groups, events=events)
    return driver


def limit(driver: Driver, *, at: float = 0, groups: int = 1_000, events: int = 1_000) -> None:
    limits = Limits(groups_per_rule=groups, events_per_group=events)
    driver.told += driver.engine.step(RulesChanged(at_us=us(at), limits=limits))


def observed(driver: Driver, rule_id: str = "r") -> Observed:
    found = {rule.id: each for rule, each in driver.engine.observed()}
    return found.get(rule_id, Observed())


def hosts(driver: Driver) -> list[str]:
    return [dict(incident.group)["host"] for incident in driver.incidents]


# ---- groups


def test_a_group_too_many_is_not_judged_but_counted_and_all_else_goes_on() -> None:
    driver = limited(count_rule(group_by=("host",)), count_rule(id="all"), groups=2)
    for time, host in enumerate("abcacb", start=1):
        driver.send(time, host=host)
    assert {i.group for i in driver.incidents if i.rule_id == "r"} == {
        (("host", "a"),),
        (("host", "b"),),
    }
    assert [i.value for i in driver.engine.open_incidents() if i.rule_id == "all"] == [1]
    seen = observed(driver)
    assert (seen.newcomer_events, seen.latest_newcomer) == (2, (("host", "c"),))
    assert observed(driver, "all").newcomer_events == 0


def test_who_is_let_in_is_decided_by_the_order_of_the_events_not_of_the_series() -> None:
    driver = limited(count_rule(group_by=("host",)), groups=1)
    first, second = (driver.series_id("m", (("host", host),)) for host in "ab")
    times = array("q", [us(1), us(2), us(3)])
    batch = EventBatch(us(3), array("I", [second, first, second]), times, array("d", [1] * 3))
    driver.told += driver.engine.step(batch)
    assert hosts(driver) == ["b"]
    assert observed(driver).newcomer_events == 1


def test_who_was_refused_before_comes_in_its_turn_among_new_series() -> None:
    driver = limited(count_rule(group_by=("host",), group_ttl_us=us(30)), groups=1)
    driver.send(1, host="first")
    driver.send(2, host="refused")
    series = [driver.series_id("m", (("host", host),)) for host in ("refused", "new")]
    times, values = array("q", [us(100)] * 2), array("d", [1] * 2)
    driver.told += driver.engine.step(EventBatch(us(100), array("I", series), times, values))
    assert hosts(driver) == ["first", "refused"]


def test_there_is_room_again_when_a_group_was_dropped() -> None:
    driver = limited(count_rule(group_by=("host",), group_ttl_us=us(60)), groups=1)
    driver.send(1, host="a")
    driver.send(50, host="b")
    driver.send(70, host="b")
    driver.send(71, host="a")
    assert hosts(driver) == ["a", "b"]
    assert observed(driver).latest_newcomer == (("host", "a"),)
    driver.send(72, host="b")
    driver.tick(150)
    assert driver.edges[1] == (70, 70, 82, EndReason.RECOVERED)


def test_lower_limits_drop_nothing_and_higher_ones_let_in_who_comes() -> None:
    driver = limited(count_rule(group_by=("host",)), groups=2)
    for host in "ab":
        driver.send(1, host=host)
    limit(driver, at=2, groups=1)
    for time, host in enumerate("abc", start=20):
        driver.send(time, host=host)
    assert hosts(driver) == ["a", "b", "a", "b"]
    limit(driver, at=30, groups=3)
    driver.send(31, host="c")
    assert hosts(driver)[-1] == "c"


def test_a_warm_start_makes_no_more_groups_than_there_may_be() -> None:
    driver = limited(groups=1)
    stored: dict[Labels, list[tuple[float, float, float]]] = {
        (("host", host),): [(9, 1, 9), (9.5, 1, 9.5)] for host in "ba"
    }
    driver.start_from(count_rule(group_by=("host",)), 10, stored)
    assert hosts(driver) == ["a"]
    assert observed(driver).newcomer_events == 2


# ---- events


@pytest.mark.parametrize(
    "rule", [count_rule(threshold=4.0), count_rule(threshold=2.0), make_rule(threshold=5.0)]
)
def test_a_full_group_refuses_events_until_others_have_left(rule: Rule) -> None:
    driver = limited(rule, events=3)
    for time in range(1, 6):
        driver.send(time)
    assert (observed(driver).overflow_events, observed(driver).latest_full) == (2, ())
    driver.send(11.5, 6)
    assert observed(driver).overflow_events == 2
    driver.send(11.6, 6)
    assert observed(driver).overflow_events == 3


def test_a_full_bucket_refuses_what_comes_and_the_next_is_empty() -> None:
    driver = limited(bucket_rule(threshold=2.0), events=3)
    for time in (1, 2, 3, 4, 5):
        driver.send(time)
    driver.send(25)
    assert observed(driver).overflow_events == 2
    assert [incident.value for incident in driver.incidents] == [3]


def test_a_group_that_was_full_takes_more_when_it_may() -> None:
    driver = limited(count_rule(threshold=3.0), events=2)
    for time in range(1, 5):
        driver.send(time)
    limit(driver, at=5, events=10)
    driver.send(6)
    driver.send(7)
    assert [incident.value for incident in driver.incidents] == [4]


def test_a_sleeping_group_heeds_a_lower_limit_at_once() -> None:
    driver = limited(make_rule(threshold=5.0))
    for time in range(1, 5):
        driver.send(time)
    limit(driver, at=5, events=2)
    driver.send(6)
    assert observed(driver).overflow_events == 1


# ---- gaps


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("kind", [make_rule, bucket_rule])
def test_pauses_longer_than_the_lateness_are_counted_with_the_greatest(
    kind: Callable[..., Rule], value: float
) -> None:
    driver = Driver(kind(lateness=10))
    for at in (100, 110, 130, 131, 171, 172):
        driver.send(at, value)
    assert (observed(driver).gaps, observed(driver).greatest_gap_us) == (2, us(40))


def test_one_push_with_events_of_the_time_since_the_last_is_one_gap() -> None:
    driver = Driver(make_rule(lateness=10))
    driver.send(60, 0)
    for time in (70, 80, 119, 120):
        driver.send(time, 0, at=120)
    assert (observed(driver).gaps, observed(driver).greatest_gap_us) == (1, us(60))
    assert driver.engine.overdue_events == 2


def test_events_that_are_not_the_newest_make_no_gap_and_end_none() -> None:
    driver = Driver(make_rule(lateness=10))
    driver.send(60, 0)
    driver.send(55, 0, at=75)
    driver.send(60, 0, at=78)
    assert observed(driver).gaps == 0
    driver.send(80, 0)
    assert (observed(driver).gaps, observed(driver).greatest_gap_us) == (1, us(20))


def test_a_dump_under_way_keeps_the_state_of_a_group_that_was_let_in_late() -> None:
    driver = limited(count_rule(group_by=("host",), threshold=5.0), groups=1)
    driver.send(1, host="a")
    limit(driver, at=2, groups=2)
    first, second = (driver.series_id("m", (("host", host),)) for host in "bc")
    batch = EventBatch(
        us(3), array("I", [first, second]), array("q", [us(3)] * 2), array("d", [1] * 2)
    )
    driver.told += driver.engine.step(batch)
    at_once = list(driver.engine.dump())
    dump = iter(driver.engine.dump())
    begun = [next(dump)]
    driver.send(4, host="b")
    assert [*begun, *dump] == at_once
    assert list(driver.engine.dump()) != at_once
