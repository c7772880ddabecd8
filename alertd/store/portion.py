"""How much one transaction of background work takes, so that no append waits long for it.

Owns the law: a portion is halved when its transaction held the writer for longer than ``LONG_S``,
and doubled again when that was less than ``SHORT_S``. So one slow moment of the disk costs one long
transaction, and a slow disk only smaller ones. It is pure: the caller measures.
"""

from __future__ import annotations

from typing import Final

LONG_S: Final = 0.008
"""An append may have to wait for one such transaction; 20 ms is what it may wait at most."""
SHORT_S: Final = 0.002
"""Twice the work then still is no long transaction: what a commit costs does not double."""
SMALLEST_SHARE: Final = 64
"""A portion is never less than this part of the largest: the work has to come to an end."""


class Portion:
    """The size of the next portion, in whatever unit ``most`` is."""

    def __init__(self, most: int) -> None:
        """Begin with the largest portion, ``most``."""
        self.size = most
        self._most = most

    def took(self, seconds: float) -> None:
        """Learn for how long the transaction of the last portion held the writer."""
        if seconds > LONG_S:
            self.size = max(1, self._most // SMALLEST_SHARE, self.size // 2)
        elif seconds < SHORT_S:
            self.size = min(self._most, self.size * 2)
