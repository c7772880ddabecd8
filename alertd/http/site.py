"""What answers requests, and its exchange while clients are connected.

Owns the moment at which a daemon that has recovered takes over from the application that stood in
for it (``recovering.py``): connections that are open then go on, and are answered by the new one.
A request that comes shortly before waits for it, so a quick restart is not noticed.
"""

from __future__ import annotations

from typing import Final, Protocol

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart_trio import QuartTrio

from alertd.http.express import Express

PATIENCE_S: Final = 1.0
"""How long a request waits for the daemon to recover before it is told that it does."""
_NEVER_WAIT: Final = frozenset({"/healthz", "/readyz"})


class BodyLimits(Protocol):
    """The bounds on a request's body; ``ServerConfig`` has them."""

    @property
    def max_body_bytes(self) -> int:
        """The largest request body."""

    @property
    def keep_alive_timeout_secs(self) -> float:
        """How long a client may take to send it."""


class Site:
    """The application that answers now, and the express lane in front of it."""

    def __init__(self, limits: BodyLimits, meanwhile: QuartTrio) -> None:
        """``meanwhile`` answers until ``open``."""
        self._limits = limits
        self._opened = trio.Event()
        self._app = self._bounded(meanwhile)
        self.express: Express | None = None
        """What takes plain requests; None while there is no such thing."""

    def open(self, app: QuartTrio, express: Express | None = None) -> None:
        """Have every request answered by ``app``, and plain ones by ``express``, from now on."""
        self._app = self._bounded(app)
        self.express = express
        self._opened.set()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Answer one request, as an ASGI application does."""
        is_patient = scope["type"] == "http" and scope["path"] not in _NEVER_WAIT
        if is_patient and not self._opened.is_set():
            with trio.move_on_after(PATIENCE_S):
                await self._opened.wait()
        await self._app(scope, receive, send)

    def _bounded(self, app: QuartTrio) -> QuartTrio:
        app.config["MAX_CONTENT_LENGTH"] = self._limits.max_body_bytes
        app.config["BODY_TIMEOUT"] = self._limits.keep_alive_timeout_secs
        app.config["RESPONSE_TIMEOUT"] = None  # each send has its own
        return app
