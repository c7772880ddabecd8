from __future__ import annotations

from array import array
from fractions import Fraction

import msgpack
import pytest

from alertd.engine.condition import Condition
from alertd.engine.engine import Engine
from alertd.engine.exact import GREATEST
from alertd.engine.inputs import RulesChanged
from alertd.engine.resting import RestingGroup
from alertd.engine.screen import Screen
from alertd.engine.sleeping import SleepingGroup
from alertd.model import EventBatch, OnNoData, Operator, Rule, RuleType, Series
from tests.unit.engine.engine_driver import Driver, count_rule, make_rule, us


def group_of(driver: Driver) -> RestingGroup:
    group = driver.engine._router.group("r", ())
    assert isinstance(group, RestingGroup)
    return group


def sleeps(driver: Driver) -> bool:
    group = driver.engine._router.group("r", ())
    assert isinstance(group, SleepingGroup)
    return group._asleep


def screen_of(rule: Rule) -> Screen:
    return Screen(rule, Condition(rule))


@pytest.mark.parametrize(
    ("operator", "loud", "quiet"),
    [
        (Operator.GT, 0.6, 0.5),
        (Operator.GE, 0.5, 0.4),
        (Operator.LT, 0.4, 0.5),
        (Operator.LE, 0.5, 0.6),
    ],
)
@pytest.mark.parametrize("aggregate", ["avg", "min", "max", "first", "last", "p50", "p99.9"])
def test_a_value_is_loud_when_it_alone_could_be_a_breach(
    aggregate: str, operator: Operator, loud: float, quiet: float
) -> None:
    screen = screen_of(make_rule(aggregate=aggregate, operator=operator))
    assert screen.applies
    assert screen.is_loud(loud)
    assert not screen.is_loud(quiet)


@pytest.mark.parametrize(
    ("operator", "threshold", "most"),
    [
        (Operator.GT, 3.0, 3),
        (Operator.GT, 3.5, 3),
        (Operator.GE, 3.0, 2),
        (Operator.GE, 3.5, 3),
        (Operator.GE, 1.0, 0),
        (Operator.GT, 1e308, 1 << 60),
    ],
)
def test_a_count_is_quiet_up_to_the_last_number_that_is_no_breach(
    operator: Operator, threshold: float, most: int
) -> None:
    assert screen_of(count_rule(operator=operator, threshold=threshold)).max_quiet == most


@pytest.mark.parametrize(
    ("options", "quiet", "loud"),
    [
        ({"operator": Operator.GT, "threshold": 50.0}, 0.499, 0.501),
        ({"operator": Operator.GT, "threshold": 0.0}, 0.0, 5e-324),
        ({"operator": Operator.GE, "threshold": 50.0}, 0.499, 0.501),
        ({"operator": Operator.LT, "threshold": -50.0}, -0.499, -0.501),
        ({"operator": Operator.LE, "threshold": -50.0}, 7.0, -0.501),
        ({"aggregate": "rate", "threshold": 50.0}, 4.99, 5.01),  # in 10 s
    ],
)
def test_a_value_of_a_sum_is_loud_when_it_is_more_than_a_hundredth_of_the_limit(
    options: dict[str, object], quiet: float, loud: float
) -> None:
    screen = screen_of(make_rule(**{"aggregate": "sum"} | options))
    assert screen.applies
    assert screen.max_quiet == 100
    assert screen.is_loud(loud)
    assert not screen.is_loud(quiet)


def test_what_a_rate_would_need_beyond_all_floats_is_never_loud() -> None:
    screen = screen_of(make_rule(aggregate="rate", threshold=1e308, window=1e6))
    assert screen.applies
    assert not screen.is_loud(1.7e308)


@pytest.mark.parametrize(
    "options",
    [
        {"aggregate": "sum", "operator": Operator.LT},
        {"aggregate": "sum", "threshold": -0.5},
        {"aggregate": "sum", "operator": Operator.LE, "threshold": 0.0},
        {"aggregate": "rate", "operator": Operator.EQ},
        {"aggregate": "stddev", "threshold": 0.0},
        {"aggregate": "stddev", "operator": Operator.LT},
        {"aggregate": "delta", "threshold": -0.5},
        {"aggregate": "delta", "operator": Operator.EQ},
        {"operator": Operator.EQ},
        {"operator": Operator.NE},
        {"on_no_data": OnNoData.ALERT},
        {"aggregate": "count", "min_samples": 0, "operator": Operator.LT},
    ],
)
def test_what_a_quiet_window_says_nothing_about_is_not_screened(options: dict[str, object]) -> None:
    assert not screen_of(make_rule(**options)).applies


@pytest.mark.parametrize("aggregate", ["stddev", "delta"])
@pytest.mark.parametrize("operator", [Operator.GT, Operator.GE])
@pytest.mark.parametrize("threshold", [5e-324, 0.1, 3.0, 1e308])
@pytest.mark.parametrize("value", [0.0, 0.05, -0.1, 7.0, 1e15 + 0.125, -1e300, GREATEST, -GREATEST])
def test_what_is_quiet_beside_a_value_is_no_breach_with_it(
    aggregate: str, operator: Operator, threshold: float, value: float
) -> None:
    screen = screen_of(make_rule(aggregate=aggregate, operator=operator, threshold=threshold))
    assert screen.applies == (threshold > 5e-324 or operator is Operator.GT)
    if not screen.applies:
        return
    quiet = screen.quiet_beside([value])
    assert quiet is not None
    low, high = quiet
    assert low <= value <= high
    apart = Fraction(high) - Fraction(low)
    if abs(value) < 1e9 and 0.1 <= threshold < 1e9:
        assert min(value - low, high - value) >= 0.2 * (high - low), "room on either side"
    most = apart / 2 if aggregate == "stddev" else apart
    assert most <= threshold if operator is Operator.GT else most < threshold


def test_a_delta_may_fall_as_far_as_its_limit_says() -> None:
    screen = screen_of(make_rule(aggregate="delta", operator=Operator.LT, threshold=-3.0))
    quiet = screen.quiet_beside([1.0, 2.0])
    assert quiet is not None
    assert quiet[1] - quiet[0] == 3.0
    assert screen.quiet_beside([0.0, 3.5]) is None


@pytest.mark.parametrize("kind", [RuleType.MOVING_WINDOW, RuleType.BUCKETED_WINDOW])
def test_a_deviation_sleeps_while_its_values_are_near_to_one_another(kind: RuleType) -> None:
    driver = Driver(make_rule(type=kind, aggregate="stddev", threshold=2.0, window=10, bucket=10))
    for time in range(101):
        driver.send(time, 100.0 + time % 3)
    assert sleeps(driver)
    driver.send(101, 120.0)
    assert not sleeps(driver)
    driver.send(125, 100.0)
    assert len(driver.edges) == 1


@pytest.mark.parametrize("threshold", [-1.0, -1e308])
def test_a_count_that_any_event_puts_in_breach_is_never_quiet_and_fits_into_a_column(
    threshold: float,
) -> None:
    rule = count_rule(threshold=threshold, min_samples=1)
    assert screen_of(rule).max_quiet == -1
    engine = Engine([Series(0, "m", ())].__getitem__, columns_from=1)
    engine.step(RulesChanged(at_us=us(0), put=(rule,)))
    for time in range(3):
        times_us, values = array("q", [us(time)] * 9), array("d", [1.0] * 9)
        engine.step(EventBatch(us(time), array("I", [0] * 9), times_us, values))
    assert len(engine.open_incidents()) == 1


def test_a_rule_that_one_event_breaks_never_sleeps_through_it() -> None:
    driver = Driver(count_rule(operator=Operator.GE, threshold=1.0))
    driver.send(100)
    driver.tick(110)
    driver.send(50, at=111)  # too late for any window, but it is a moment to fall asleep
    driver.send(112)
    assert len(driver.edges) == 2


def test_a_loud_value_keeps_its_group_awake_until_it_has_left() -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=5.0))
    driver.send(0, 0)
    driver.send(5, 10)
    assert driver.edges == []
    driver.tick(12)
    assert driver.edges == [(10, 10, None, None)]


def test_a_count_that_grows_in_its_sleep_wakes_in_time() -> None:
    for most in range(1, 150, 7):
        driver = Driver(count_rule(threshold=float(most), window=1000))
        for time in range(most):
            driver.send(time)
        assert driver.edges == []
        driver.send(most)
        assert driver.edges == [(most, most, None, None)]


@pytest.mark.parametrize("most", [0.5, 0.9])
def test_a_sum_that_grows_in_its_sleep_wakes_in_time(most: float) -> None:
    driver = Driver(make_rule(aggregate="sum", threshold=100.0, window=1000))
    last = int(100 / most)
    for time in range(last):
        driver.send(time, most)
    assert driver.edges == []
    driver.send(last, most)
    assert driver.edges == [(last, last, None, None)]


def test_a_sum_whose_window_is_crowded_is_awake_until_it_is_no_more() -> None:
    driver = Driver(make_rule(aggregate="sum", threshold=100.0, window=200))
    states = []
    for time in [*range(100), *range(100, 400, 10)]:
        driver.send(time, 0.9)
        states.append(group_of(driver)._asleep)
    assert driver.edges == []
    assert states == [True] * 100 + [False] * 14 + [True] * 16


@pytest.mark.parametrize("threshold", [1e9, -1.0])
@pytest.mark.parametrize("behind", [0, 3])
def test_asleep_or_awake_late_or_not_a_group_forgets_what_it_no_longer_needs(
    threshold: float, behind: float
) -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=threshold))
    for time in range(2000):
        driver.send(time - (behind if time % 2 else 0), at=time)
    state = msgpack.packb(list(driver.engine.dump()))
    assert len(state) < 5000  # of 16 bytes an event


@pytest.mark.parametrize("rests", [True, False])
def test_an_instant_that_began_while_the_group_slept_is_judged_as_a_whole(rests: bool) -> None:
    driver = Driver(make_rule(aggregate="avg", threshold=50.0))
    driver.send(0, 1.0 if rests else 99.0)
    driver.send(20, 1.0, 200.0, *[0.0] * 8)
    told = [transition for transition in driver.told if transition.at_us >= us(20)]
    assert told == []


def test_a_count_is_told_with_all_of_the_instant_that_woke_the_group() -> None:
    driver = Driver(count_rule(threshold=5.0))
    driver.send(0)
    driver.send(5, *[1.0] * 10)
    assert [incident.value for incident in driver.incidents] == [11.0]


def test_what_a_later_batch_brings_of_an_instant_that_was_judged_is_late() -> None:
    driver = Driver(count_rule(threshold=5.0))
    driver.send(0)
    driver.send(5, *[1.0] * 3)
    driver.send(5, *[1.0] * 7)
    (incident,) = driver.incidents
    assert (incident.value, incident.peak_value) == (6.0, 11.0)
