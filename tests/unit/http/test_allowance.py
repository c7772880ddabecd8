"""An allowance never lets through more than it says, nor less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.http.allowance import Allowance


def test_it_is_full_at_first_and_refills_evenly() -> None:
    allowance = Allowance(4, 2)
    allowance.take(3, 100)
    assert allowance.wait_s(100) == 0, "one is left"
    allowance.take(1, 100)
    assert allowance.wait_s(100) == pytest.approx(0.5, abs=1e-5)
    assert allowance.wait_s(100.5) == 0
    allowance.take(4, 101)
    assert allowance.wait_s(101) == pytest.approx(1.5, abs=1e-5)


def test_less_than_one_at_a_time_is_one_now_and_then() -> None:
    allowance = Allowance(0.5, 1)
    assert allowance.wait_s(100) == 0
    allowance.take(1, 100)
    assert allowance.wait_s(100) == pytest.approx(2, abs=1e-5)
    assert allowance.wait_s(102) == 0


@given(
    amount=st.integers(1, 1000),
    asks=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 50)), max_size=100),
)
def test_over_any_time_no_more_passes_than_is_allowed_and_one_overdraft(
    amount: int, asks: list[tuple[float, int]]
) -> None:
    allowance, now_s, passed = Allowance(amount, 1.0), 0.0, 0
    for pause_s, size in asks:
        now_s += pause_s
        if allowance.wait_s(now_s) == 0:
            allowance.take(size, now_s)
            passed += size
    assert passed <= amount * (now_s + 1) + 50 + 1e-6
