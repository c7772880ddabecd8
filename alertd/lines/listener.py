"""The sockets on which events are taken one a line: TCP, and a UNIX socket.

Owns the caps on connections, one for each kind, so that whoever reaches the port cannot keep this
machine's own senders out; the fate of an exception of a connection; and what a shutdown
(``sockets.py``) ends: nothing more is read, what was read is stored and acknowledged, and after the
grace time everything is cancelled. Over TCP a client shows a token as it does over HTTP, and TLS is
spoken if HTTP speaks it; who may open the UNIX socket, which the permissions of its file say, may
send events.
"""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from alertd.limits import Limit
from alertd.lines.connection import COME_AGAIN_S, Connection, Door, LineLimits, linger
from alertd.lines.protocol import Closed, End, encode
from alertd.sockets import Serve, accept, open_tcp, open_unix
from alertd.tls import Tls

_CREDENTIALS: Final = struct.Struct("3i")
"""``struct ucred`` of unix(7): process, user, group."""

_log = structlog.get_logger(__name__)


class ListenerConfig(LineLimits, Protocol):
    """What the listener needs to know; ``LinesConfig`` says it."""

    @property
    def bind(self) -> str | None:
        """``host:port``; None for no TCP."""

    @property
    def socket(self) -> str | None:
        """The file of the UNIX socket; None for none."""

    @property
    def mode(self) -> int:
        """The permissions of that file."""

    @property
    def max_connections(self) -> int:
        """How many may be open at once over TCP, and how many over the UNIX socket."""


async def serve_lines(
    config: ListenerConfig,
    door: Door,
    *,
    tls: Tls | None = None,
    grace_s: float,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Take lines until ``shutdown`` is set and the connections have ended.

    ``task_status`` is given the bound addresses. Returns at most ``grace_s`` after ``shutdown``.
    Raises ``AlertdError`` when it cannot listen.
    """
    local = _Clients(config.max_connections, door, is_trusted=True)
    remote = _Clients(config.max_connections, door, tls=tls)
    with ExitStack() as files:
        listeners: list[tuple[trio.SocketListener, Serve]] = []
        if config.socket is not None:
            unix = open_unix(Path(config.socket), config.mode, "lines.socket")
            listeners.append((files.enter_context(unix), local.serve))
        if config.bind is not None:
            tcp = await open_tcp(config.bind, "lines.bind")
            listeners += [(listener, remote.serve) for listener in tcp]

        async def drain() -> None:
            local.stop()
            remote.stop()

        await accept(
            listeners, shutdown=shutdown, drain=drain, grace_s=grace_s, task_status=task_status
        )


class _Clients:
    """The open connections of one kind."""

    def __init__(
        self,
        max_connections: int,
        door: Door,
        *,
        tls: Tls | None = None,
        is_trusted: bool = False,
    ) -> None:
        self._max_connections = max_connections
        self._door = door
        self._tls = None if tls is None else tls.context
        self._is_trusted = is_trusted
        self._is_stopping = False
        self._open: set[Connection] = set()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client, or refuse it at the cap. The caller closes ``stream``."""
        if len(self._open) >= self._max_connections:
            await self._refuse(stream)
            return
        connection = Connection(
            stream,
            self._door,
            client=_client_of(stream),
            tls=self._tls,
            is_trusted=self._is_trusted,
        )
        self._open.add(connection)
        if self._is_stopping:  # it was accepted a moment before
            connection.stop()
        self._door.metrics.line_connections.inc()
        end = End.FAILED
        try:
            end = await connection.run()
        except Exception as error:
            _log.warning("lines_failed", error=repr(error), client=connection.client)
            _log.debug("lines_failed_at", exc_info=error)
        finally:
            self._open.discard(connection)
            self._door.metrics.line_connections.dec()
            self._ended(connection, end)

    def stop(self) -> None:
        """Have every connection end when what it has read is acknowledged."""
        self._is_stopping = True
        for connection in self._open:
            connection.stop()

    def _ended(self, connection: Connection, end: End) -> None:
        self._door.metrics.line_connections_closed.labels(end.value).inc()
        _log.debug(
            "lines_ended",
            who=connection.sender,
            client=connection.client,
            acknowledged=connection.position,
            refused=connection.refused,
            reason=end.value,
        )

    async def _refuse(self, stream: trio.SocketStream) -> None:
        metrics = self._door.metrics
        metrics.line_connections_closed.labels(End.CONNECTIONS.value).inc()
        metrics.limits_reached.labels(Limit.LINE_CONNECTIONS.value).inc()
        if self._tls is not None:
            return  # before the handshake no word would be understood
        message = "lines.max_connections are open; try again"
        last = encode([Closed(End.CONNECTIONS, message, COME_AGAIN_S)])
        with trio.move_on_after(self._door.send_timeout_s):
            try:
                await stream.send_all(last)
            except trio.BrokenResourceError:
                return
            await linger(stream)


def _client_of(stream: trio.SocketStream) -> str:
    """Return who is at the other end: an address, or a process of this machine."""
    if stream.socket.family != socket.AF_UNIX:
        try:
            return str(stream.socket.getpeername()[0])
        except OSError:
            return "gone"  # before we looked
    packed = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(packed)
    return f"unix: process {process} of user {user}"
