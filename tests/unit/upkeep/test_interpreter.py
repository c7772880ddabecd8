"""Cyclic garbage is looked for when nobody waits, and not too seldom."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from alertd.metrics import Metrics
from alertd.upkeep import interpreter
from alertd.upkeep.interpreter import DUE_COLLECTIONS, LONGEST_WAIT_S, Collector, tuned


class Loop:
    """Refers to itself, so that only a collection can end it."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    with tuned():
        gc.collect()
        yield Metrics()


def old_garbage(size: int = 1) -> weakref.ref[Loop]:
    """Return what tells whether garbage of the oldest generation is still there."""
    loops = [Loop() for _ in range(size)]
    found = weakref.ref(loops[0])
    for _ in range(DUE_COLLECTIONS):
        gc.collect(1)
    return found


def collections(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("alertd_garbage_collection_seconds_count")


async def test_nothing_is_collected_while_somebody_waits_unless_for_too_long(
    metrics: Metrics, mock_clock: trio.testing.MockClock
) -> None:
    collector = Collector(lambda: True, metrics)
    garbage = old_garbage()
    assert not collector.look()
    mock_clock.jump(LONGEST_WAIT_S - 1)
    assert not collector.look()
    assert garbage() is not None
    mock_clock.jump(1)
    assert collector.look()
    assert garbage() is None
    assert collections(metrics) == 1


async def test_a_collection_is_followed_by_a_rest_and_none_is_made_for_nothing(
    metrics: Metrics, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "REST", 1e6)  # times some milliseconds
    collector = Collector(lambda: False, metrics)
    assert not collector.look()
    old_garbage()
    assert collector.look()
    garbage = old_garbage()
    assert not collector.look()
    assert garbage() is not None
    mock_clock.jump(1e9)
    assert collector.look()
    assert garbage() is None


async def test_one_that_found_much_is_followed_by_another_at_once(
    metrics: Metrics, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "REST", 1e6)
    monkeypatch.setattr(interpreter, "MUCH", 1)
    collector = Collector(lambda: False, metrics)
    for number in (1, 2):
        garbage = old_garbage()
        assert collector.look()
        assert garbage() is None
        assert collections(metrics) == number


async def test_a_rest_ends_when_much_is_to_be_found_by_what_the_last_one_found(
    metrics: Metrics, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    old_garbage(100)
    monkeypatch.setattr(interpreter, "REST", 1e6)
    monkeypatch.setattr(interpreter, "MUCH", gc.collect() * 2.5)
    collector = Collector(lambda: False, metrics)
    old_garbage(100)
    assert collector.look()
    for is_worth_it in (False, False, True):
        old_garbage(100)
        assert collector.look() is is_worth_it


async def test_nothing_is_collected_while_somebody_has_disabled_it(metrics: Metrics) -> None:
    collector = Collector(lambda: False, metrics)
    garbage = old_garbage()
    gc.disable()
    try:
        assert not collector.look()
        assert garbage() is not None
    finally:
        gc.enable()
    assert collector.look()
    assert garbage() is None


async def test_what_is_garbage_at_the_start_does_not_stay(
    metrics: Metrics, autojump_clock: trio.testing.MockClock
) -> None:
    garbage = old_garbage()
    with trio.move_on_after(0.5):
        await Collector(lambda: False, metrics).run()
    assert garbage() is None


async def test_what_is_alive_at_the_start_is_let_alone_until_the_end(
    metrics: Metrics, autojump_clock: trio.testing.MockClock
) -> None:
    collector = Collector(lambda: False, metrics)
    frozen_before = gc.get_freeze_count()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        await trio.sleep(0.5)
        assert gc.get_freeze_count() > frozen_before + 1000
        old_garbage()
        await trio.sleep(1)
        assert collections(metrics) == 1
        nursery.cancel_scope.cancel()
    assert gc.get_freeze_count() == 0


def test_python_is_as_it_was_afterwards() -> None:
    before = sys.getswitchinterval(), gc.get_threshold()
    with tuned():
        assert sys.getswitchinterval() == pytest.approx(interpreter.SWITCH_INTERVAL_S)
        assert gc.get_threshold()[2] > 1_000_000
    assert (sys.getswitchinterval(), gc.get_threshold()) == before
