"""What is outweighed is outweighed, whatever the floats are and in whichever window they lie."""

from __future__ import annotations

from functools import reduce

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.condition import Condition, Level
from alertd.engine.excess import excess_follower
from alertd.engine.screen import Screen
from alertd.model import Operator, Rule, RuleType
from tests.property.engine_worlds import make_rule
from tests.property.test_engine_bands import FLOATS, window_of


@st.composite
def screened_rules(draw: st.DrawFn) -> Rule:
    """A rule of whose values each is loud or quiet."""
    aggregates = ["avg", "avg", "p50", "p90", "p99.9", "p25", "p100", "min", "max", "first", "last"]
    return make_rule(
        type=RuleType.MOVING_WINDOW,
        aggregate=draw(st.sampled_from(aggregates)),
        operator=draw(st.sampled_from([Operator.GT, Operator.GE, Operator.LT, Operator.LE])),
        threshold=draw(FLOATS),
        min_samples=1,
    )


@given(screened_rules(), st.data())
def test_once_outweighed_no_window_is_in_breach_before_the_next_loud_value(
    rule: Rule, data: st.DataObject
) -> None:
    condition = Condition(rule)
    screen = Screen(rule, condition)
    least, greatest = screen.quiet_values
    near = st.floats(-2.0, 2.0).map(lambda by: max(-1e308, min(rule.threshold + by, 1e308)))
    values = st.one_of(near, FLOATS)
    quiet = values.map(lambda value: max(least, min(value, greatest)))
    seen = data.draw(st.lists(st.one_of(values, quiet, quiet), min_size=1, max_size=12))
    excess = reduce(excess_follower(rule, screen), seen, 0.0)
    event(f"outweighed: {not excess}, loud: {any(map(screen.is_loud, seen))}")
    if excess:
        return
    to_come = data.draw(st.lists(quiet, max_size=3))
    for start in range(len(seen)):
        for count in range(len(to_come) + 1):
            window = window_of(rule, seen[start:] + to_come[:count])
            level = condition.level(window.aggregate.value(window))
            assert level is not Level.BREACH, (seen[start:], to_come[:count])
