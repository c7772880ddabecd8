"""The daemon's clock: never backwards, whatever becomes of the wall clock and the machine."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing

from alertd.clock import Clock
from alertd.model import US_PER_S


async def test_the_clock_goes_on_by_trios_and_not_by_the_wall_clock(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    clock = Clock()
    began_us = clock.now_us()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    await trio.sleep(60)
    assert clock.now_us() - began_us == 60 * US_PER_S


async def test_the_clock_is_not_behind_the_log() -> None:
    last_received_us = time.time_ns() // 1000 + 3600 * US_PER_S
    assert Clock(not_before_us=last_received_us).now_us() >= last_received_us


async def test_the_time_that_a_suspended_machine_slept_is_caught_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    slept_ns = 0
    monkeypatch.setattr(
        time,
        "clock_gettime_ns",
        lambda clock: slept_ns if clock == time.CLOCK_BOOTTIME else 0,
    )
    clock = Clock()
    began_us = clock.now_us()
    for jitter_ns in (900, -900, 0):
        slept_ns = jitter_ns
        assert clock.now_us() == began_us
    slept_ns = 8 * 3600 * US_PER_S * 1000
    assert clock.now_us() - began_us == 8 * 3600 * US_PER_S
    await trio.sleep(1)
    assert clock.now_us() - began_us == (8 * 3600 + 1) * US_PER_S
