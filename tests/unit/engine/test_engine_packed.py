"""The events of a sleeper in one piece: they come back as they went in."""

from __future__ import annotations

from array import array

import pytest

from alertd.engine.aggregates import Count
from alertd.engine.packed import LOG_EVENT_BYTES, pack, pack_event, unpack
from alertd.engine.window import NO_EVENTS, Window
from tests.unit.engine.engine_driver import Driver, make_rule

TIMES = array("q", [-(1 << 62), -1, 0, 0, 1_750_000_000_000_000, (1 << 62)])
VALUES = array("d", [0.1, -0.0, 5e-324, 1.7976931348623157e308, -3.5, 2.0])


def window(events: int) -> Window:
    found = Window(10, Count)
    found.times, found.values = TIMES[:events], VALUES[:events]
    return found


@pytest.mark.parametrize("events", range(1, len(TIMES) + 1))
def test_events_come_back_as_they_went_in_and_take_what_is_said(events: int) -> None:
    packed = pack(window(events))
    assert len(packed) == events << LOG_EVENT_BYTES
    found = Window(10, Count)
    unpack(packed, found)
    assert found.dump() == window(events).dump()


def test_an_event_can_be_added() -> None:
    assert pack(window(2)) + pack_event(TIMES[2], VALUES[2]) == pack(window(3))


def test_nothing_can_be_put_into_the_window_of_those_that_have_none() -> None:
    with pytest.raises(BufferError):
        NO_EVENTS.times.append(1)
    with pytest.raises(BufferError):
        NO_EVENTS.keep(1, 1.0)
    assert (len(NO_EVENTS.times), len(NO_EVENTS.values)) == (0, 0)


def test_who_sleeps_with_few_events_has_no_window_until_it_wakes() -> None:
    driver = Driver(make_rule(group_by=("host",), aggregate="avg", lateness=2))
    for time in range(5, 10):
        for host in ("h0", "h1"):
            driver.send(time, 0.0, host=host)
    quiet, loud = (driver.engine._router.group("r", (("host", host),)) for host in ("h0", "h1"))
    assert quiet is not None
    assert loud is not None
    assert quiet._window is loud._window is NO_EVENTS  # type: ignore[attr-defined]  # behind the seam
    driver.send(10, 90.0, host="h1")
    assert quiet._window is NO_EVENTS  # type: ignore[attr-defined]
    assert list(loud._window.values) == [0.0] * 5 + [90.0]  # type: ignore[attr-defined]


def test_events_stay_packed_for_as_long_as_they_come_quietly() -> None:
    driver = Driver(make_rule(group_by=("host",), aggregate="avg", lateness=10, window=300))
    for time in range(0, 60 * 300, 60):
        driver.send(time, 0.0, host="h")
        group = driver.engine._router.group("r", (("host", "h"),))
        assert group is not None
        assert group._window is NO_EVENTS  # type: ignore[attr-defined]  # behind the seam
