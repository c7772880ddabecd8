"""A turn ends when its time is over, or at a pause where no time seems to pass."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from alertd.turn import MOST_PAUSES, TURN_S, Turn, by_turns, others, rest
from alertd.upkeep.interpreter import SWITCH_INTERVAL_S


async def test_a_turn_is_over_when_its_time_is(mock_clock: MockClock) -> None:
    turn = Turn()
    mock_clock.jump(0.9 * TURN_S)
    assert not turn.is_over()
    mock_clock.jump(0.2 * TURN_S)
    assert turn.is_over()


async def test_a_turn_is_over_where_no_time_passes_too(mock_clock: MockClock) -> None:
    turn = Turn()
    assert [turn.is_over() for _ in range(MOST_PAUSES)] == [False] * (MOST_PAUSES - 1) + [True]


def test_a_thread_that_waits_asks_for_the_interpreter_within_a_turn() -> None:
    assert TURN_S >= 0.0002 + SWITCH_INTERVAL_S, "the kernel may wake it some 0.1 ms late"


async def test_those_whom_others_wake_have_their_turn_too() -> None:
    """As a commit wakes the appender, which wakes the request that waits for it."""
    first, second, third = trio.Event(), trio.Event(), trio.Event()

    async def wake(awaited: trio.Event, woken: trio.Event) -> None:
        await awaited.wait()
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wake, first, second)
        nursery.start_soon(wake, second, third)
        await trio.testing.wait_all_tasks_blocked()
        first.set()
        await others()
        assert third.is_set()


async def test_who_rests_is_not_there_for_as_long_as_others_have_work(
    autojump_clock: MockClock,
) -> None:
    began_s = trio.current_time()
    await rest()
    assert trio.current_time() > began_s, "the loop sleeps, and threads have the interpreter"


async def test_work_by_turns_pauses_behind_what_ends_a_turn(mock_clock: MockClock) -> None:
    done = list[object]()

    async def pause() -> None:
        done.append("others")

    async for number in by_turns(range(4), pause):
        done.append(number)
        mock_clock.jump(0.6 * TURN_S)
    assert done == [0, 1, "others", 2, 3, "others"]
