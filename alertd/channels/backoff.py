"""How long to wait before the next attempt. Pure: no clock, no sleep, no global randomness.

Owns the law (doubling with jitter, the receiver's wish honoured) and the reading of the
``Retry-After`` header. Leaves to ``delivery/attempt.py`` how often and for how long to try at all.

"Equal jitter" (half of the wait is fixed, half is random) and not "full": messages that failed
together still spread out, and none is tried again at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S: Final = 3600.0
"""A receiver may ask for an hour at most: a wrong header must not silence alerts for a day."""

_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of about ``first_s``, doubling to ``max_s``. Both are seconds, 0 < first <= max."""

    first_s: float
    max_s: float

    def wait_s(self, attempts: int, asked_s: float | None, random: Callable[[], float]) -> float:
        """Return the wait after ``attempts`` (>= 1) failures, in seconds.

        It is between half of the doubled wait and all of it, and never less than ``asked_s``,
        what the receiver asked for. ``random`` returns a number in [0, 1).
        """
        # 2**62 is beyond any ratio of max to first and is still exact in a float.
        ceiling_s = min(self.max_s, self.first_s * 2.0 ** min(attempts - 1, 62))
        jittered_s = ceiling_s / 2 + random() * ceiling_s / 2
        return jittered_s if asked_s is None else max(jittered_s, asked_s)


def parse_retry_after(header: str | None, now_s: float) -> float | None:
    """Return the wait in seconds that a ``Retry-After`` header asks for, None if it asks nothing.

    RFC 9110, section 10.2.3: whole seconds or an HTTP date, which is compared with ``now_s``
    (Unix time). Between 0 and ``MAX_RETRY_AFTER_S``; an unreadable header asks nothing.
    """
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
        wanted_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(wanted_s - now_s, 0.0), MAX_RETRY_AFTER_S)
