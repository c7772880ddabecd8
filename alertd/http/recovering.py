"""What is answered while the daemon recovers: that it does, and how far it has come.

``/healthz`` is 200 and ``/readyz`` 503, as ever; whatever else there is, is 503 with
``Retry-After``. Who may ask, and what there is at all, is decided as later: by the same gate and
the same table of routes. Nothing of the rest of the daemon is needed, for there is none yet.
"""

from __future__ import annotations

from typing import Final

from alertd.errors import Unavailable

RETRY_AFTER_S: Final = 1
"""Most recoveries are over by then."""


class Recovering:
    """How far the daemon has come; whoever recovers keeps ``phase`` up to date."""

    phase = "starting"
    """In a few words."""

    def readiness(self) -> str:
        """Return why no event can be taken."""
        return f"recovering: {self.phase}"

    def refusal(self) -> Unavailable:
        """Return what whoever asks for anything else is told."""
        return Unavailable(f"alertd is {self.readiness()}; send the request again", RETRY_AFTER_S)
