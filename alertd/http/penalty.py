"""Client errors beyond a rate are answered late, so a flood of them costs those who send it.

Owns that rate, over all clients together. A request that is refused costs as much as a good one; a
sender of nothing else, over any number of connections, gets no more than ``ERRORS_PER_S`` of them
looked at, plus one a connection in ``MAX_DELAY_S``. A client that errs now and then notices nothing
while nobody floods. Good requests are never delayed. What waits is bounded by
``server.max_connections``: a connection has one request at a time.
"""

from __future__ import annotations

from typing import Final

import trio

from alertd.http.allowance import Allowance

ERRORS_PER_S: Final = 100.0
MAX_DELAY_S: Final = 1.0


class Penalty:
    """What client errors wait for."""

    def __init__(self) -> None:
        self._errors = Allowance(ERRORS_PER_S, 1.0)

    async def wait(self, status: int) -> None:
        """Count an answer with ``status``; if it is a client error too many, wait a little.

        Waiting does not add to what others wait for: who is late already is let off at
        ``MAX_DELAY_S``.
        """
        if not 400 <= status < 500:
            return
        now_s = trio.current_time()
        wait_s = self._errors.wait_s(now_s)
        if wait_s < MAX_DELAY_S:
            self._errors.take(1, now_s)
        if wait_s > 0:
            await trio.sleep(min(wait_s, MAX_DELAY_S))
