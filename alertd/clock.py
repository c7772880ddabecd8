"""Wall-clock time that never steps backwards.

Owns the one clock of the daemon: Unix time in microseconds, anchored to the wall clock once
and carried on by trio's monotonic clock, so that an NTP step moves no window (SEMANTICS,
section 5) and a test's ``MockClock`` moves alertd too. That clock stands still while the machine
is suspended; the time it then lacks is added. The engine never sees the clock: it is given
``now_us`` with each input.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeAlias

import trio
from msgspec import Meta

from alertd.model import US_PER_S

Timestamp: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time as ``format_us`` writes it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # it is formatted without an offset
_SHORTEST_SUSPENSION_US = US_PER_S
"""Less is taken for the jitter of reading two clocks one after the other."""


class Clock:
    """Non-decreasing Unix time in microseconds. Must be made inside ``trio.run``."""

    def __init__(self, *, not_before_us: int = 0, wall_us: int | None = None) -> None:
        """Tie the clock to wall time now, or to ``not_before_us`` if the wall clock is behind it.

        ``not_before_us`` is the receive time of the last stored batch: receive times in the
        log must not decrease across a restart either. ``wall_us`` is what the wall clock shows,
        unless it is to be asked.
        """
        wall_us = time.time_ns() // 1000 if wall_us is None else wall_us
        self._anchor_us = max(wall_us, not_before_us)
        self._anchor_s = trio.current_time()
        self._suspended_us = _suspended_us()

    def now_us(self) -> int:
        """Return the current Unix time in microseconds."""
        suspended_us = _suspended_us()
        if suspended_us - self._suspended_us >= _SHORTEST_SUSPENSION_US:
            self._anchor_us += suspended_us - self._suspended_us
            self._suspended_us = suspended_us
        return self._anchor_us + round((trio.current_time() - self._anchor_s) * US_PER_S)


def _suspended_us() -> int:
    """Return for how long the machine has been suspended since it was booted."""
    with_sleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return (with_sleep_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 1000


def format_us(instant_us: int) -> Timestamp:
    """Return the RFC 3339 form of ``instant_us``: UTC, six decimals, ``Z``."""
    try:
        moment = _NAIVE_EPOCH + timedelta(microseconds=instant_us)
    except OverflowError as error:
        raise ValueError(f"{instant_us} us is outside of the years 1 to 9999") from error
    return moment.isoformat(timespec="microseconds") + "Z"


def optional_time(instant_us: int | None) -> Timestamp | None:
    """Return ``format_us`` of an instant, None for None."""
    return None if instant_us is None else format_us(instant_us)


def from_datetime(moment: datetime) -> int:
    """Return an aware ``moment`` in microseconds since the Unix epoch, exactly."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * US_PER_S + delta.microseconds
