"""Work in the background leaves half of the time to others, and more of a slow disk."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from alertd.upkeep.pace import MAX_REST_S, Pace


async def rest_after(pace: Pace, worked_s: float) -> float:
    """Work for so long; return how long it rests then."""
    await trio.sleep(worked_s)
    began_s = trio.current_time()
    await pace.rest()
    return trio.current_time() - began_s


@pytest.mark.parametrize(
    ("worked_s", "rest_s"), [(0.0, 0.02), (0.015, 0.02), (0.06, 0.06), (3.0, MAX_REST_S)]
)
async def test_a_rest_is_as_long_as_the_portion_took_within_bounds(
    worked_s: float, rest_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    pace = Pace(least_s=0.02)
    pace.begin()
    for _ in range(2):  # a rest is no work
        assert await rest_after(pace, worked_s) == pytest.approx(rest_s)


@pytest.mark.parametrize(("busy_s", "rest_s"), [(0.01, 0.03), (0.06, 0.06), (9.0, MAX_REST_S)])
async def test_a_rest_lasts_until_others_are_not_busy_within_bounds(
    busy_s: float, rest_s: float, autojump_clock: trio.testing.MockClock
) -> None:
    busy_until_s = trio.current_time() + 0.03 + busy_s
    pace = Pace(is_busy=lambda: trio.current_time() < busy_until_s - 1e-9)
    pace.begin()
    assert await rest_after(pace, 0.03) == pytest.approx(rest_s)
    assert await rest_after(pace, 0.001) <= MAX_REST_S + 1e-9


async def test_what_was_done_in_a_hurry_is_not_rested_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    pace = Pace()
    pace.begin()
    await trio.sleep(0.06)
    await pace.hurry()
    assert await rest_after(pace, 0.01) == pytest.approx(0.01)
