"""How many requests are worked on at once.

Owns ``server.max_requests_in_flight``. A request takes its place when its body is there and gives
it back when its reply is made, so clients that send or read slowly hold none: those are bounded by
``server.max_connections``, and by time. What is beyond is refused at once: by waiting it would only
be late. Questions after the daemon's health need no place.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from prometheus_client import Gauge

from alertd.errors import Unavailable
from alertd.limits import Limit

RETRY_AFTER_S: Final = 1


class InFlight:
    """The places; ``with`` holds one for as long as the block runs."""

    def __init__(self, max_requests: int, gauge: Gauge) -> None:
        """``gauge`` is read off when somebody asks for it."""
        self._max_requests = max_requests
        self._taken = 0
        gauge.set_function(lambda: self._taken)

    def __enter__(self) -> None:
        """Take a place. Raises ``Unavailable`` if there is none."""
        if self._taken >= self._max_requests:
            raise Unavailable(
                f"{self._max_requests} requests are worked on already "
                "(server.max_requests_in_flight); send this one again",
                RETRY_AFTER_S,
                Limit.REQUESTS_IN_FLIGHT,
            )
        self._taken += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._taken -= 1
