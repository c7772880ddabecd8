"""The HTTP listener: binds, accepts, counts, drains, and survives its clients.

Owns the cap on connections, the fate of an exception of one connection (logged, counted, gone)
and what a shutdown (``sockets.py``) ends: idle connections close at once; requests in progress
have ``shutdown_grace_secs``; then everything is cancelled. Nothing below is shielded, so
``serve`` returns then, whatever clients do.

At the cap a further client is told 503 and closed: it learns why at once, where a pause in
accepting would leave it waiting for as long as the others like to stay. Out of file
descriptors, accepting pauses for 100 ms and tries again (trio's ``serve_listeners``).

The application's ASGI lifespan is not run: what the daemon needs to start and stop is in its own
nurseries, not in the web framework's.
"""

from __future__ import annotations

from typing import Protocol

import structlog
import trio
from prometheus_client import Counter, Gauge

from alertd.http.connection import Connection, ConnectionLimits
from alertd.http.penalty import Penalty
from alertd.http.site import Site
from alertd.limits import Limit
from alertd.sockets import accept, open_tcp
from alertd.tls import Tls

_log = structlog.get_logger(__name__)

_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"connection: close\r\n"
    b"retry-after: 1\r\n"
    b"content-type: text/plain\r\n"
    b"content-length: 43\r\n"
    b"\r\n"
    b"server.max_connections are open; try again\n"
)


class ServerLimits(ConnectionLimits, Protocol):
    """What the listener needs to know; ``ServerConfig`` has it."""

    @property
    def bind(self) -> str:
        """``host:port`` or ``[ipv6]:port``; port 0 lets the kernel choose."""

    @property
    def max_connections(self) -> int:
        """How many connections may be open at once."""

    @property
    def shutdown_grace_secs(self) -> float:
        """How long requests in progress may go on after shutdown begins."""


class ServerMetrics(Protocol):
    """What the listener counts."""

    @property
    def connections(self) -> Gauge:
        """How many are open."""

    @property
    def connections_refused(self) -> Counter:
        """How many were told 503 because ``max_connections`` were open."""

    @property
    def tls_failures(self) -> Counter:
        """How many got no further than TLS."""

    @property
    def limits_reached(self) -> Counter:
        """How often somebody went beyond one, by ``limit``."""

    @property
    def connection_errors(self) -> Counter:
        """How many ended by an exception or because the client stopped reading."""


async def serve(
    site: Site,
    config: ServerLimits,
    *,
    tls: Tls | None = None,
    penalty: Penalty | None = None,
    metrics: ServerMetrics,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``site`` until ``shutdown`` is set and its connections have ended.

    Clients are spoken to as ``tls`` says. ``task_status`` is given the bound addresses as
    ``host:port``. Returns at most ``shutdown_grace_secs`` after ``shutdown``. Raises
    ``AlertdError`` when it cannot listen.
    """
    listeners = await open_tcp(config.bind, "server.bind")
    clients = _Clients(site, tls, penalty or Penalty(), config, metrics)
    await accept(
        [(listener, clients.serve) for listener in listeners],
        shutdown=shutdown,
        drain=clients.drain,
        grace_s=config.shutdown_grace_secs,
        task_status=task_status,
    )


class _Clients:
    """The open connections."""

    def __init__(
        self,
        site: Site,
        tls: Tls | None,
        penalty: Penalty,
        limits: ServerLimits,
        metrics: ServerMetrics,
    ) -> None:
        self._site = site
        self._tls = tls
        self._penalty = penalty
        self._limits = limits
        self._metrics = metrics
        self._terminated = trio.Event()
        self._open: set[Connection] = set()
        self._full = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client, or refuse it at the cap. The caller closes ``stream``."""
        if len(self._open) >= self._limits.max_connections:
            await self._refuse(stream)
            return
        context = self._tls.context if self._tls is not None else None
        connection = Connection(
            stream,
            context,
            self._site,
            self._penalty,
            self._limits,
            self._terminated,
        )
        self._add(connection)
        if self._terminated.is_set():  # it was accepted a moment before
            connection.close_if_idle()
        try:
            await connection.run()
        except* Exception as errors:
            self._metrics.connection_errors.inc()
            _log.warning("connection_failed", error=repr(_first(errors)))
            _log.debug("connection_failed_at", exc_info=errors)
        finally:
            self._remove(connection)

    async def drain(self) -> None:
        """Close idle connections, and the others after their reply."""
        self._terminated.set()
        for connection in self._open:
            connection.close_if_idle()

    def _add(self, connection: Connection) -> None:
        self._open.add(connection)
        self._metrics.connections.set(len(self._open))

    def _remove(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._full = False
        self._metrics.connections.set(len(self._open))
        if connection.failed_handshake:
            self._metrics.tls_failures.inc()
            _log.debug("tls_handshake_failed", reason=connection.failed_handshake)
        for limit in connection.reached:
            self._metrics.limits_reached.labels(limit.value).inc()
        if Limit.SEND_TIME in connection.reached:
            self._metrics.connection_errors.inc()
            _log.info("client_stopped_reading", waited_s=self._limits.send_timeout_secs)

    async def _refuse(self, stream: trio.SocketStream) -> None:
        self._metrics.connections_refused.inc()
        self._metrics.limits_reached.labels(Limit.CONNECTIONS.value).inc()
        if not self._full:
            self._full = True
            _log.warning("connections_refused", max_connections=self._limits.max_connections)
        with trio.move_on_after(self._limits.send_timeout_secs):
            try:
                await stream.send_all(_REFUSAL)
            except trio.BrokenResourceError:
                return


def _first(error: BaseException) -> BaseException:
    """Return the first plain exception inside of ``error``, which may be a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
