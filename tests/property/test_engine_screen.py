"""A window of values that are quiet is not in breach, whatever the floats are."""

from __future__ import annotations

import math

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.condition import Condition, Level
from alertd.engine.screen import Screen
from alertd.model import Operator, Rule, RuleType
from tests.property.engine_worlds import make_rule
from tests.property.test_engine_bands import FLOATS, window_of


@st.composite
def sums(draw: st.DrawFn) -> Rule:
    """A rule of which single values say little."""
    return make_rule(
        type=RuleType.MOVING_WINDOW,
        aggregate=draw(st.sampled_from(["sum", "rate"])),
        operator=draw(st.sampled_from([Operator.GT, Operator.GE, Operator.LT, Operator.LE])),
        threshold=draw(FLOATS),
        window_us=draw(st.sampled_from([1, 10, 3_000_000, 7 * 86_400_000_000])),
        min_samples=draw(st.integers(0, 1)),
    )


@given(sums(), st.data())
def test_a_sum_of_as_many_quiet_values_as_may_be_is_no_breach(
    rule: Rule, data: st.DataObject
) -> None:
    condition = Condition(rule)
    screen = Screen(rule, condition)
    event(f"screened: {screen.applies}")
    if not screen.applies:
        return
    least, greatest = screen.quiet_values
    quiet = FLOATS.map(lambda value: max(least, min(value, greatest)))
    most = st.just(greatest if least == -math.inf else least)
    number = data.draw(st.integers(1, screen.max_quiet))
    values = data.draw(st.lists(st.one_of(most, quiet), min_size=number, max_size=number))
    assert not any(map(screen.is_loud, values))
    level, _ = window_of(rule, values).look(condition)
    assert level is not Level.BREACH
