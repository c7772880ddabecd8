"""What a band says is inside is inside, whatever the floats in the window are."""

from __future__ import annotations

from array import array

from hypothesis import event, given
from hypothesis import strategies as st

from alertd.engine.aggregates import aggregate_factory
from alertd.engine.band import band_maker, limits
from alertd.engine.condition import Condition, Level, is_worse
from alertd.engine.window import Window
from alertd.model import Rule
from tests.property.engine_worlds import NUMBERS
from tests.property.test_engine_cruising import even_rules

FLOATS = st.one_of(
    NUMBERS,
    st.floats(0.0, 1.0),
    st.floats(-1e16, 1e16),
    st.floats(allow_nan=False, allow_infinity=False),
)
LONG_US = 1_000_000


def window_of(rule: Rule, values: list[float]) -> Window:
    """Return a window that holds ``values``."""
    window = Window(LONG_US, aggregate_factory(rule.aggregate, rule.window_us))
    window.times, window.values = array("q", range(len(values))), array("d", values)
    window.stand_at(len(values) - 1)
    window.rebuild()
    return window


@given(
    even_rules(),
    st.lists(FLOATS, min_size=1, max_size=8),
    st.lists(st.one_of(st.none(), FLOATS), min_size=1, max_size=20),
    st.floats(0.0, 2.0),
    st.booleans(),
)
def test_while_a_band_says_inside_neither_level_nor_peak_changes(
    rule: Rule, held: list[float], moves: list[float | None], above: float, renews: bool
) -> None:
    """Each of ``moves`` is a value that enters, or None: the oldest leaves."""
    condition, make_band = Condition(rule), band_maker(rule)
    assert make_band is not None
    window = window_of(rule, held)
    value = window.aggregate.value(window)
    level = condition.level(value)
    peak = value + above if is_worse(rule, value + above, value) else value - above
    between = limits(condition, level, value, peak if level is Level.BREACH else None)
    band = None if between is None else make_band(*between)
    is_inside = band is not None and band.renew(window, len(moves))
    steps = 0
    for number, entering in enumerate(moves):
        if not is_inside or band is None or (entering is None and len(held) == 1):
            break
        steps += 1
        if entering is None:
            is_inside = band.leave(held.pop(0))
        else:
            held.append(entering)
            is_inside = band.enter(entering)
        if is_inside:
            now = window_of(rule, held)
            found = now.aggregate.value(now)
            assert condition.level(found) is level
            assert level is not Level.BREACH or not is_worse(rule, found, peak)
            if renews and number % 3 == 2:
                is_inside = band.renew(now, len(moves))
    event(f"{min(steps, 5)} steps inside")
