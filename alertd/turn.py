"""For how long the event loop may judge or put into words before others have their turn.

Owns the length of such a turn, and of a rest. A turn has two sides. A request waits for one at
several of its steps, so it is short, and others have several of theirs in a row. But the loop lets
go of the interpreter whenever it looks at its sockets. A thread that waits for the interpreter is
woken by that, comes too late as a rule, and begins to wait anew; only one that has waited for a
whole ``SWITCH_INTERVAL_S`` of ``upkeep/interpreter.py`` asks for it, and gets it. So a turn is much
longer than that: with turns of 0.1 ms and an interval of as much, commits took 20 to 50 ms, in
which the writer hardly ran. Leaves it to the work to say where it may be interrupted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, TypeVar

import trio

TURN_S: Final = 0.0004
MOST_PAUSES: Final = 8
"""In one turn, where no time seems to pass: a test's clock stands still while anything runs."""
ROUNDS: Final = 3
"""Of the loop, for whoever can go on at once: that an event is durable goes by way of three tasks
(the loop's own, the appender, the request)."""
REST_S: Final = 0.001
"""The least for which the loop sleeps, by the resolution of its timers."""

T = TypeVar("T")


class Turn:
    """The time since others have had theirs."""

    __slots__ = ("_ends_s", "_pauses_left")

    def __init__(self) -> None:
        self._ends_s = trio.current_time() + TURN_S
        self._pauses_left = MOST_PAUSES

    def is_over(self) -> bool:
        """Return, at a pause, whether it is the others' turn. Some 0.3 us."""
        self._pauses_left -= 1
        return self._pauses_left <= 0 or trio.current_time() >= self._ends_s


async def others() -> None:
    """Let all others run that can, and those that they wake. Some 0.02 ms where there are none."""
    for _ in range(ROUNDS):
        await trio.lowlevel.checkpoint()


async def rest() -> None:
    """Have all others to themselves for a while, threads too: for work that nobody waits for.

    Beside work that goes on in turns the writer asks for the interpreter at each row of a commit,
    and waits for it each time: a commit of ten incidents took 10 ms, where it takes 2.
    """
    await trio.sleep(REST_S)


async def by_turns(
    items: Iterable[T], pause: Callable[[], Awaitable[None]] = others
) -> AsyncIterator[T]:
    """Yield ``items``, and ``pause`` behind one at which a turn of who works on them is over."""
    turn = Turn()
    for item in items:
        yield item
        if turn.is_over():
            await pause()
            turn = Turn()
