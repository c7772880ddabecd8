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
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import trio

from alertd.http import problem
from alertd.http.express import Express
from alertd.http.penalty import Penalty
from alertd.http.plain import PlainRequest
from alertd.http.site import Site
from alertd.http.transport import Transport
from alertd.limits import Limit

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    from alertd.http.http1 import Http1

LINGER_S = 1.0
"""How long a closed connection still swallows what the client sends.

Closing a socket with unread bytes resets it, and the reset can overtake the reply (a 413 to a
large body) on its way.
"""

_OTHER_VERSION = problem.render(
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "alertd speaks HTTP/1.1; with curl: --http1.1"
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
        terminated: trio.Event,
    ) -> None:
        """Once ``terminated`` is set, each reply is the last."""
        self.reached: list[Limit] = []
        """The limits at which the client was let go."""
        self._transport = Transport(stream, tls)
        self._site = site
        self._penalty = penalty
        self._limits = limits
        self._terminated = terminated
        self._scope = trio.CancelScope()
        self._sending = trio.Lock()
        self._closing = False
        self._is_secure = False
        """Whether TLS, if it is spoken here, is agreed on."""
        self._protocol: Http1 | None = None
        self._requests_in_progress = 0

    async def run(self) -> None:
        """Serve requests until either side ends the connection.

        Raises whatever a client's bytes can make the protocol raise, alone or in a group.
        """
        self._await_request()
        if not self._transport.look():
            return
        with self._scope:
            self._is_secure = await self._transport.shake_hands()
            if not self._is_secure:
                return
            async with AsyncExitStack() as tasks:
                await self._receive(tasks)
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
        has_begun = not (self._is_secure and self._is_at_rest)
        return is_late and is_waiting and has_begun

    @property
    def _is_at_rest(self) -> bool:
        """Whether no request is begun."""
        return self._protocol is None or self._protocol.is_at_rest

    async def _receive(self, tasks: AsyncExitStack) -> None:
        while data := await self._transport.receive():
            if not self._closing:
                await self._take(data, tasks)
        if self._protocol is not None:
            await self._protocol.end(is_closing=self._closing)
            self._protocol = None

    async def _take(self, data: bytes, tasks: AsyncExitStack) -> None:
        """Handle ``data``: the plain requests that it begins with here, the rest by hypercorn."""
        while (express := self._site.express) is not None and self._is_at_rest:
            request = express.recognise(data)
            if request is None:
                break
            data = await self._handle_plain(express, request, data)
            if self._closing or not data:
                return
            await trio.lowlevel.checkpoint()  # it may be one of a thousand that came together
        if self._protocol is None:
            self._protocol = await self._begin_protocol(tasks)
        if not await self._protocol.take(data):
            await self._send(_OTHER_VERSION.written(is_last=True))
            self._begin_close()
        if self._protocol.is_head_too_long and Limit.HEAD not in self.reached:
            self.reached.append(Limit.HEAD)

    async def _begin_protocol(self, tasks: AsyncExitStack) -> Http1:
        """Return what speaks HTTP here, with ``tasks`` of its own."""
        self._begin_request()  # it may have to be loaded, which is not the client's fault
        try:
            protocol_class = await self._site.protocol()
        finally:
            self._end_request()
        return protocol_class(
            self._handle_request,
            await tasks.enter_async_context(protocol_class.tasks()),
            self._terminated,
            self._penalty,
            self._transport,
            send=self._send,
            close=self._begin_close,
        )

    async def _handle_plain(self, express: Express, request: PlainRequest, data: bytes) -> bytes:
        """Answer the plain request that ``data`` begins with; return what follows it."""
        end = request.head_bytes + request.body_bytes
        self._begin_request()
        try:
            body, rest = data[request.head_bytes : end], data[end:]
            if len(data) < end:
                patience_s = self._limits.keep_alive_timeout_secs
                with trio.move_on_after(patience_s) as patience:
                    body, rest = await self._receive_body(body, request.body_bytes)
                if patience.cancelled_caught:
                    await self._send(express.too_slow(request, patience_s))
                    self._begin_close()
                if len(body) < request.body_bytes:
                    return b""
            is_last = request.is_last or self._terminated.is_set()
            reply = await express.answer(request, body, is_last=is_last)
            # Nobody else sends while the protocol is at rest.
            sent = self._transport.send_now(reply)
            if sent < len(reply):
                await self._send(reply[sent:])
            if is_last:
                self._begin_close()
        finally:
            self._end_request()
        return rest

    async def _receive_body(self, begun: bytes, size: int) -> tuple[bytes, bytes]:
        """Return the body of ``size`` bytes that is ``begun``, and what has come behind it.

        It is shorter if the client ends.
        """
        parts, rest, missing = [begun], b"", size - len(begun)
        while missing > 0 and (part := await self._transport.receive()):
            parts.append(part[:missing])
            rest = part[missing:]
            missing -= len(part)
        return b"".join(parts), rest

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
            await self._site(scope, receive, send)
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
