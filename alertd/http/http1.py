"""Hypercorn's protocol for a connection: HTTP/1.0 and 1.1, and nothing else.

Owns how the library is set up, and corrections to it: it says why it refuses what is not HTTP/1,
WebSockets too; it begins no second reply to a client that has gone; it tells whether it is at rest.
Imported with the first bytes that need it (``site.py``).

Leaves the bytes on the wire, and time, to ``connection.py``.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import h11
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import EventWrapper, WorkerContext
from hypercorn.typing import (
    AppWrapper,
    ConnectionState,
    H11SendableEvent,
    ResponseSummary,
    WWWScope,
)

from alertd.http import problem
from alertd.http.penalty import Penalty
from alertd.http.transport import Transport
from alertd.limits import MAX_HEAD_BYTES
from alertd.tls import CLIENT_NAME

_KEEP_ALIVE_MAX_REQUESTS: Final = 1_000_000

_NOTHING_SAID = frozenset({h11.IDLE, h11.SEND_RESPONSE})
"""States of h11 in which no reply is begun."""


class _Context(WorkerContext):
    """What hypercorn knows of the server: whether it is ending."""

    def __init__(self, terminated: trio.Event) -> None:
        super().__init__(max_requests=None)
        self.terminated = _Shared(terminated)


class _Shared(EventWrapper):
    """An event of ours, as hypercorn has its own."""

    def __init__(self, event: trio.Event) -> None:
        self._event = event


class _UnsupportedVersion(Exception):
    """The client speaks an HTTP version other than 1.0 and 1.1."""


class Http1(H11Protocol):
    """HTTP/1 that stays HTTP/1, and says why it refuses what is not."""

    def __init__(
        self,
        app: AppWrapper,
        tasks: TaskGroup,
        terminated: trio.Event,
        penalty: Penalty,
        transport: Transport,
        *,
        send: Callable[[bytes], Awaitable[None]],
        close: Callable[[], None],
    ) -> None:
        """``send`` and ``close`` do so with the connection of ``transport``."""
        super().__init__(
            app,
            _hypercorn_config(),
            _Context(terminated),
            tasks,
            ConnectionState({CLIENT_NAME: transport.client_name}),
            transport.is_tls,
            transport.client,
            transport.server,
            _passing_on(send, close),
        )
        self.is_head_too_long = False
        self._penalty = penalty

    @staticmethod
    @asynccontextmanager
    async def tasks() -> AsyncIterator[TaskGroup]:
        """Run the tasks of one for as long as the block runs, and then until they have ended."""
        async with TaskGroup() as tasks:
            yield tasks

    async def take(self, data: bytes) -> bool:
        """Handle what the client has sent. Return False if that is of another version of HTTP."""
        try:
            await self.handle(RawData(data))
        except _UnsupportedVersion:
            return False
        return True

    async def end(self, *, is_closing: bool) -> None:
        """Handle the end of what the client sends; when we are closing we know of it already."""
        if not is_closing:
            await self.take(b"")
        await self.handle(Closed())

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """Send a part of a reply; if the connection is given up, raise ``Cancelled`` instead.

        Hypercorn notes that a reply is begun only when its head is sent. If the client has gone
        by then, the application is cancelled in the midst of that, and hypercorn would begin a
        second reply, to nobody.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await super()._send_h11_event(event)

    async def _send_error_response(self, status_code: int) -> None:
        status = HTTPStatus(status_code)
        detail = "the request is not HTTP/1.1 (RFC 9112)"
        if status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            self.is_head_too_long = True
            detail = f"the request's head has more than {self.config.h11_max_incomplete_size} bytes"
        await self._refuse(status, detail)

    async def _create_stream(self, request: h11.Request) -> None:
        """Have the request answered; one for a WebSocket here, and as the last of its connection.

        Hypercorn's WebSockets cannot be switched off, and take a byte too early for a defect.
        """
        if _is_for_a_websocket(request):
            await self._refuse(HTTPStatus.FORBIDDEN, "alertd speaks no WebSocket")
            await self.send(Closed())
        else:
            await super()._create_stream(request)

    async def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Answer instead of the application, unless that has begun to; then it is the end."""
        refusal = problem.render(status, detail)
        headers = [
            (b"content-type", problem.CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(refusal.body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._penalty.wait(status)
        if self.connection.our_state not in _NOTHING_SAID:
            return  # the application has answered meanwhile
        # All of it is made at once: the application may answer whenever this task waits.
        parts = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=refusal.body),
            h11.EndOfMessage(),
        )
        reply = b""
        with suppress(h11.LocalProtocolError):  # to HEAD there is no body
            for part in parts:
                reply += self.connection.send(part) or b""
        await self.send(RawData(reply))

    @property
    def is_at_rest(self) -> bool:
        """Whether no request is begun, so that the next byte is the first of one."""
        connection = self.connection
        return (
            self.stream is None
            and isinstance(connection, h11.Connection)
            and connection.our_state is h11.IDLE
            and connection.their_state is h11.IDLE
            and not connection.trailing_data[0]
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        """Refuse HTTP/2 by prior knowledge, and ignore ``Upgrade: h2c`` (RFC 9110, 7.8)."""
        if event.http_version not in (b"1.0", b"1.1"):
            raise _UnsupportedVersion(event.http_version)


def _passing_on(
    send: Callable[[bytes], Awaitable[None]], close: Callable[[], None]
) -> Callable[[Event], Awaitable[None]]:
    """Return what does with a connection as its protocol says.

    It knows nothing of the protocol, which has it: nothing goes round in circles, and both are
    freed when the connection has ended.
    """

    async def pass_on(event: Event) -> None:
        # The third event, Updated, tells when the protocol is idle. The number of running
        # handlers says it better: it also covers replies that the protocol sends by itself.
        if isinstance(event, RawData):
            await send(event.data)
        elif isinstance(event, Closed):
            close()

    return pass_on


def _is_for_a_websocket(request: h11.Request) -> bool:
    """Return whether hypercorn would speak WebSocket from this request on."""
    headers = dict(request.headers)
    options = headers.get(b"connection", b"").lower().split(b",")
    return (
        request.method.upper() == b"GET"  # hypercorn takes any spelling
        and headers.get(b"upgrade", b"").strip().lower() == b"websocket"
        and any(option.strip() == b"upgrade" for option in options)
    )


class _HypercornLog(Logger):
    """Hypercorn's messages, through structlog; no access log."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._log = structlog.get_logger("hypercorn")

    async def access(
        self, request: WWWScope, response: ResponseSummary, request_time: float
    ) -> None:
        """Write nothing: requests are counted, not logged."""

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        """Log ``message`` with the exception being handled."""
        self._log.error(message % args if args else message, exc_info=True)


@cache
def _hypercorn_config() -> Config:
    config = Config()
    config.logger_class = _HypercornLog
    config.errorlog = logging.getLogger("hypercorn")
    config.include_server_header = False
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.keep_alive_max_requests = _KEEP_ALIVE_MAX_REQUESTS
    return config
