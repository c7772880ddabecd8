"""How many requests are worked on at once.

Owns ``server.max_requests_in_flight``. A request takes its place when its body is there and gives
it back when its reply is made, so clients that send or read slowly hold none: those are bounded by
``server.max_connections``, and by time. What is beyond is refused at once: by waiting it would only
be late. Questions after the daemon's health need no place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Gauge

from alertd.errors import Unavailable
from alertd.limits import Limit

RETRY_AFTER_S: Final = 1


class InFlight:
    """The places."""

    def __init__(self, max_requests: int, gauge: Gauge) -> None:
        self._max_requests = max_requests
        self._gauge = gauge
        self._taken = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for as long as the block runs. Raises ``Unavailable`` if there is none."""
        if self._taken >= self._max_requests:
            raise Unavailable(
                f"{self._max_requests} requests are worked on already "
                "(server.max_requests_in_flight); send this one again",
                RETRY_AFTER_S,
                Limit.REQUESTS_IN_FLIGHT,
            )
        self._taken += 1
        self._gauge.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.set(self._taken)
