"""Connections that cannot be turned against the network that alertd stands in.

Enforces the rule in ``forbidden.py``, which addresses an endpoint set over the API may lead to.
The name is resolved here, *every* address that it has is checked, and the connection goes to
an address that was checked: a second answer of the name server (DNS rebinding), or a spelling
such as ``http://2130706433``, gains nothing. Redirects are never followed, see ``http_client.py``.

Prior art: httpx-secure.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable

import httpcore
import httpx
import trio

from alertd.channels.forbidden import forbidden_kind
from alertd.errors import AlertdError


class ForbiddenAddress(AlertdError):
    """The host leads to an address that endpoints set over the API may not reach."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to public addresses only."""

    def __init__(self) -> None:
        self._backend = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of ``host`` that answers.

        Raises ``ForbiddenAddress`` if *any* of its addresses is refused, ``httpcore.ConnectError``
        if it has none or none answers.
        """
        failure: Exception = httpcore.ConnectError("the name has no address")
        for address in await self._checked_addresses(host, port):
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: a socket file is inside by nature."""
        raise ForbiddenAddress("endpoints set over the API may not use a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Sleep between httpcore's own attempts."""
        await trio.sleep(seconds)

    @staticmethod
    async def _checked_addresses(host: str, port: int) -> list[str]:
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if kind := forbidden_kind(address):
                raise ForbiddenAddress(
                    f"leads to {kind}, which endpoints set over the API may not reach; use a "
                    "public address, or a channel in the configuration file"
                )
        return addresses


class GuardedTransport(httpx.AsyncHTTPTransport):
    """An httpx transport whose connections a ``GuardedBackend`` opens."""

    def __init__(self, ssl_context: ssl.SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=ssl_context, trust_env=False, limits=limits)
        # httpx offers no way to name a network backend, so its pool is exchanged for one that
        # has ours. Were the attribute to move, the guard would be gone without a sound.
        if not isinstance(self._pool, httpcore.AsyncConnectionPool):
            raise RuntimeError("this httpx keeps its connection pool elsewhere; mend guarded.py")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=GuardedBackend(),
        )
