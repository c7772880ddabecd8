"""What brings an attempt forward: a success at the same receiver.

Owns the column ``haste``; ``requeue.py`` has people bring attempts forward. Invariants: what a
receiver asked to wait for is hurried by people only; a success hurries a message once, and not
again before it has waited out a back-off of its own. So a receiver that is back gets at once what
it missed, the oldest first, and one that takes some messages and refuses others is asked about
these at most twice as often as without. A hurried message keeps its turn, counts its attempts, and
waits for a place as any other.
"""

from __future__ import annotations

from typing import Final

import apsw

HURRIED_BY_A_SUCCESS: Final = 64
"""Messages at a time, so that no transaction is long; the success of each hurries as many more."""

# haste: 0 a success may hurry it, 1 it is hurried, 2 it waits for its time.
NEXT_HASTE: Final = "CASE WHEN haste = 1 OR ? THEN 2 ELSE 0 END"
"""What it is after another attempt; the parameter says whether the receiver asked to wait."""

TO_HURRY: Final = """
    SELECT seq FROM messages INDEXED BY messages_to_hurry
    WHERE status = 'RETRY_PENDING' AND attempts > 0 AND haste = 0
      AND channel = ? AND coalesce(endpoint, '') = ?
    ORDER BY seq LIMIT ?"""
_HURRY: Final = f"""
    UPDATE messages SET haste = 1, next_attempt_us = min(next_attempt_us, ?)
    WHERE seq IN ({TO_HURRY})"""  # noqa: S608  # constants


def hurry(connection: apsw.Connection, channel: str, endpoint: str | None, now_us: int) -> None:
    """Make due at ``now_us`` what was refused by a receiver that takes messages again.

    Costs one look at an index where there is nothing.
    """
    bindings = (now_us, channel, endpoint or "", HURRIED_BY_A_SUCCESS)
    connection.execute(_HURRY, bindings)
