"""What answers requests, and its exchange while clients are connected.

Owns the moment at which a daemon that has recovered takes over from the application that stood in
for it (``recovering.py``): connections that are open then go on, and are answered by the new one.
A request that comes shortly before waits for it, so a quick restart is not noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import trio

from alertd.http.express import Express
from alertd.http.routes import GET_HEALTH, GET_READINESS

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
    from quart_trio import QuartTrio

    from alertd.http.http1 import Http1

T = TypeVar("T")

PATIENCE_S: Final = 1.0
"""How long a request waits for the daemon to recover before it is told that it does."""
_NEVER_WAIT: Final = frozenset({GET_HEALTH.path, GET_READINESS.path})


class BodyLimits(Protocol):
    """The bounds on a request's body; ``ServerConfig`` has them."""

    @property
    def max_body_bytes(self) -> int:
        """The largest request body."""

    @property
    def keep_alive_timeout_secs(self) -> float:
        """How long a client may take to send it."""


class Site:
    """The application that answers now, and the express lane in front of it.

    What takes long to load is loaded when somebody asks for it, in a thread: hypercorn and Quart
    are half of a start, and a daemon to which nothing but plain requests is sent needs neither.
    """

    def __init__(
        self,
        limits: BodyLimits,
        make_meanwhile: Callable[[], QuartTrio],
        express: Express | None = None,
    ) -> None:
        """Until ``open``, plain requests are answered by ``express``, which may know few of them.

        Others are by what ``make_meanwhile`` makes; it is called in a thread.
        """
        self._limits = limits
        self._opened = trio.Event()
        self._app = _Loaded(partial(self._bounded, make_meanwhile))
        self._protocol = _Loaded(_load_protocol)
        self.express = express
        """What takes plain requests; None while there is no such thing."""

    def open(self, make_app: Callable[[], QuartTrio], express: Express | None = None) -> None:
        """Have plain requests answered by ``express``, others by what ``make_app`` makes."""
        self._app = _Loaded(partial(self._bounded, make_app))
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
        app = await self._app.get()
        await app(scope, receive, send)

    async def protocol(self) -> type[Http1]:
        """Return what speaks HTTP with a client that sends more than plain requests."""
        return await self._protocol.get()

    def _bounded(self, make: Callable[[], QuartTrio]) -> QuartTrio:
        app = make()
        app.config["MAX_CONTENT_LENGTH"] = self._limits.max_body_bytes
        app.config["BODY_TIMEOUT"] = self._limits.keep_alive_timeout_secs
        app.config["RESPONSE_TIMEOUT"] = None  # each send has its own
        return app


class _Loaded(Generic[T]):
    """Something that is made in a thread when it is first asked for."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._making = trio.Lock()

    async def get(self) -> T:
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await trio.to_thread.run_sync(self._make)
        return self._made


def _load_protocol() -> type[Http1]:
    from alertd.http.http1 import Http1

    return Http1
