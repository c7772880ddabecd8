"""One client's connection: bytes in, requests to the application, replies out.

Owns the time limits of a connection, as one cancel scope. While no request is being handled the
scope has a deadline, so neither an idle client nor one that dribbles its headers stays; while
one is handled it has none, so a slow handler is never cut off. A send that is not taken in time
ends the connection too: half a reply on the wire cannot be taken back.

With TLS the same; the handshake has the time of a head. Bytes are ``transport.py``'s.

Stands where ``hypercorn.trio.tcp_server`` would, on the same protocol classes. Hypercorn's own
shields its sends from cancellation without a time limit, and on trio an idle timer of its may
run during a request. Speaks HTTP/1.0 and 1.1 only: HTTP/2 would let one client hold a hundred
bodies at once, and its flow control would let it hold their handlers.

Plain requests are taken by the express lane (``express.py``) as long as hypercorn's protocol is
at rest; all other bytes are the protocol's, which then has the connection until it is at rest
again.

Leaves to the server: accepting, counting, and what becomes of an exception.
"""

from __future__ import annotations

import math
import ssl
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Protocol

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ConnectionState,
    Scope,
)
from hypercorn.utils import parse_socket_addr

from alertd.http import problem
from alertd.http.express import Express, PlainRequest
from alertd.http.penalty import Penalty
from alertd.http.site import Site
from alertd.http.transport import Transport
from alertd.limits import Limit
from alertd.tls import CLIENT_NAME

LINGER_S = 1.0
"""How long a closed connection still swallows what the client sends.

Closing a socket with unread bytes resets it, and the reset can overtake the reply (a 413 to a
large body) on its way.
"""

_NOTHING_SAID = frozenset({h11.IDLE, h11.SEND_RESPONSE})
"""States of h11 in which no reply is begun."""

_OTHER_VERSION = problem.render(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "alertd speaks HTTP/1.1; with curl: --http1.1"
)
_VERSION_NOT_SUPPORTED = b"HTTP/1.1 505 %b\r\nconnection: close\r\n%b\r\n\r\n%b" % (
    _OTHER_VERSION.status.phrase.encode(),
    b"content-type: %b\r\ncontent-length: %d"
    % (problem.CONTENT_TYPE.encode(), len(_OTHER_VERSION.body)),
    _OTHER_VERSION.body,
)


class ConnectionLimits(Protocol):
    """The time limits that a connection needs, in seconds."""

    @property
    def keep_alive_timeout_secs(self) -> float:
        """How long a connection may be without a request in progress."""

    @property
    def send_timeout_secs(self) -> float:
        """How long the client may take to accept one part of a reply."""


class Connection:
    """One accepted stream. ``run`` once; the caller closes the stream."""

    def __init__(
        self,
        stream: trio.SocketStream,
        tls: ssl.SSLContext | None,
        site: Site,
        penalty: Penalty,
        limits: ConnectionLimits,
        config: Config,
        context: WorkerContext,
    ) -> None:
        self.reached: list[Limit] = []
        """The limits at which the client was let go."""
        self._transport = Transport(stream, tls)
        self._site = site
        self._penalty = penalty
        self._limits = limits
        self._config = config
        self._context = context
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()
        self._closing = False
        self._protocol: _Http1 | None = None
        self._requests_in_progress = 0

    async def run(self) -> None:
        """Serve requests until either side ends the connection.

        Raises whatever a client's bytes can make the protocol raise, alone or in a group.
        """
        self._await_request()
        transport, socket = self._transport, self._transport.socket
        try:
            client = parse_socket_addr(socket.family, socket.getpeername())
        except OSError:
            return  # the client has gone before we looked
        server = parse_socket_addr(socket.family, socket.getsockname())
        with self._scope:
            if not await transport.shake_hands():
                return
            async with TaskGroup() as tasks:
                self._protocol = protocol = _Http1(
                    self._handle_request,
                    self._config,
                    self._context,
                    tasks,
                    ConnectionState({CLIENT_NAME: transport.client_name}),
                    transport.is_tls,
                    client,
                    server,
                    self._on_protocol_event,
                )
                protocol.penalty = self._penalty
                await self._receive(protocol)
        if self._scope.cancelled_caught and self._is_slow_head():
            self.reached.append(Limit.HEAD_TIME)

    def close_if_idle(self) -> None:
        """End the connection now unless a request is in progress."""
        if not self._requests_in_progress:
            self._scope.cancel()

    @property
    def failed_handshake(self) -> str:
        """Why the client got no further than TLS; empty if it did."""
        return self._transport.failed_handshake

    def _is_slow_head(self) -> bool:
        """Return whether time is up in the middle of a head, or of the handshake before it."""
        is_late = trio.current_time() >= self._scope.deadline
        is_waiting = not self._requests_in_progress and not self._closing
        has_begun = self._protocol is None or not self._protocol.is_at_rest
        return is_late and is_waiting and has_begun

    async def _receive(self, protocol: _Http1) -> None:
        while True:
            data = await self._transport.receive()
            if not self._closing:
                try:
                    await self._take(protocol, data)
                except _UnsupportedVersion:
                    await self._send(_VERSION_NOT_SUPPORTED)
                    self._begin_close()
            if not data:
                break
        await protocol.handle(Closed())

    async def _take(self, protocol: _Http1, data: bytes) -> None:
        """Handle ``data``: the plain requests that it begins with here, the rest by hypercorn."""
        while (express := self._site.express) is not None and protocol.is_at_rest:
            request = express.recognise(data)
            if request is None:
                break
            data = await self._handle_plain(express, request, data)
            if self._closing or not data:
                return
            await trio.lowlevel.checkpoint()  # it may be one of a thousand that came together
        await protocol.handle(RawData(data))
        if protocol.is_head_too_long and Limit.HEAD not in self.reached:
            self.reached.append(Limit.HEAD)

    async def _handle_plain(self, express: Express, request: PlainRequest, data: bytes) -> bytes:
        """Answer the plain request that ``data`` begins with; return what follows it."""
        end = request.head_bytes + request.body_bytes
        self._begin_request()
        try:
            if len(data) < end:
                patience_s = self._limits.keep_alive_timeout_secs
                with trio.move_on_after(patience_s) as patience:
                    data = await self._receive_up_to(end, data)
                if patience.cancelled_caught:
                    await self._send(express.too_slow(patience_s))
                    self._begin_close()
                if len(data) < end:
                    return b""
            is_last = self._context.terminated.is_set()
            body = data[request.head_bytes : end]
            reply = await express.answer(request, body, close=is_last)
            # Nobody else sends while the protocol is at rest.
            sent = self._transport.send_now(reply)
            if sent < len(reply):
                await self._send(reply[sent:])
            if is_last:
                self._begin_close()
        finally:
            self._end_request()
        return data[end:]

    async def _receive_up_to(self, size: int, data: bytes) -> bytes:
        """Return ``data`` and what follows it, ``size`` bytes at least unless the client ends."""
        parts, missing = [data], size - len(data)
        while missing > 0:
            parts.append(await self._transport.receive())
            if not parts[-1]:
                break
            missing -= len(parts[-1])
        return b"".join(parts)

    async def _on_protocol_event(self, event: Event) -> None:
        # The third event, Updated, tells when the protocol is idle. The number of running
        # handlers says it better: it also covers replies that the protocol sends by itself.
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            self._begin_close()

    async def _send(self, data: bytes) -> None:
        taken = False
        try:
            with trio.move_on_after(self._limits.send_timeout_secs) as patience:
                async with self._sending:
                    taken = await self._transport.send(data)
        finally:
            if not taken:
                self._scope.cancel()
        if patience.cancelled_caught:
            self.reached.append(Limit.SEND_TIME)
        await trio.lowlevel.checkpoint_if_cancelled()

    def _begin_close(self) -> None:
        """Say that nothing more will come, unless something is just being sent."""
        self._closing = True
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + LINGER_S)
        if not self._sending.locked():
            self._transport.end()

    async def _handle_request(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Any,  # hypercorn's own type; only its WSGI applications use these two
        call_soon: Any,
    ) -> None:
        self._begin_request()
        try:
            if scope["type"] == "http":
                await self._site(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1000, "reason": None})
        finally:
            self._end_request()

    def _begin_request(self) -> None:
        self._requests_in_progress += 1
        if not self._closing:
            self._scope.deadline = math.inf

    def _end_request(self) -> None:
        self._requests_in_progress -= 1
        if not self._requests_in_progress and not self._closing:
            self._await_request()

    def _await_request(self) -> None:
        self._scope.deadline = trio.current_time() + self._limits.keep_alive_timeout_secs


class _UnsupportedVersion(Exception):
    """The client speaks an HTTP version other than 1.0 and 1.1."""


class _Http1(H11Protocol):
    """HTTP/1 that stays HTTP/1, and says why it refuses what is not."""

    is_head_too_long = False
    penalty: Penalty

    async def _send_error_response(self, status_code: int) -> None:
        status = HTTPStatus(status_code)
        detail = "the request is not HTTP/1.1 (RFC 9112)"
        if status is HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE:
            self.is_head_too_long = True
            detail = f"the request's head has more than {self.config.h11_max_incomplete_size} bytes"
        refusal = problem.render(status, detail)
        headers = [
            (b"content-type", problem.CONTENT_TYPE.encode()),
            (b"content-length", b"%d" % len(refusal.body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self.penalty.wait(status_code)
        if self.connection.our_state not in _NOTHING_SAID:
            return  # the application has answered meanwhile
        # All of it is made at once: the application may answer whenever this task waits.
        parts = (
            h11.Response(status_code=status_code, headers=headers),
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
