"""The bytes of one connection: a TCP stream, with TLS above it where that is spoken.

Owns how they are read and written. Over plain TCP it asks the kernel itself and waits only where
the kernel has nothing, or no room: trio's stream gives others a turn at each piece, which for small
requests costs more than the piece. So code that sends piece after piece has to give turns itself.

Leaves time limits, and who may send when, to ``connection.py``.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import Final

import trio

from alertd.tls import name_in

_RECEIVE_BYTES: Final = 2**18


class Transport:
    """One accepted stream; whoever accepted it closes it."""

    def __init__(self, stream: trio.SocketStream, tls: ssl.SSLContext | None) -> None:
        self.failed_handshake = ""
        """Why the client got no further than TLS."""
        self.client: tuple[str, int] | None = None
        """Who speaks to us, address and port; None before ``look``."""
        self.server: tuple[str, int] | None = None
        """What he speaks to."""
        self._socket = stream.socket
        self._stream = stream
        self._tls: trio.SSLStream[trio.SocketStream] | None = None
        if tls is not None:
            # HTTP says how long a reply is, so its end needs no announcement of TLS's.
            self._tls = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken."""
        return self._tls is not None

    @property
    def client_name(self) -> str | None:
        """The name in the client's certificate, None without one."""
        return None if self._tls is None else name_in(self._tls.getpeercert())

    def look(self) -> bool:
        """Note who speaks to whom. Return False if the client has gone already."""
        try:
            self.client = self._socket.getpeername()[:2]
            self.server = self._socket.getsockname()[:2]
        except OSError:
            return False
        return True

    async def shake_hands(self) -> bool:
        """Agree on TLS, if it is spoken here. Return whether it is."""
        if self._tls is not None:
            try:
                await self._tls.do_handshake()
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self.failed_handshake = str(error.__cause__ or "the client has gone")
                return False
        return True

    async def receive(self) -> bytes:
        """Return what the client sends next, nothing when it has ended or broken off."""
        try:
            if self._tls is not None:
                return bytes(await self._tls.receive_some(_RECEIVE_BYTES))
            return await self._read()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            return b""

    async def _read(self) -> bytes:
        descriptor = self._socket.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            with suppress(BlockingIOError):
                return os.read(descriptor, _RECEIVE_BYTES)

    def send_now(self, data: bytes) -> int:
        """Return how many bytes of ``data`` are sent, waiting for nothing; nobody else may send."""
        if self._tls is not None:
            return 0
        try:
            return os.write(self._socket.fileno(), data)
        except OSError:  # there is no room, or no client: who waits for room is told
            return 0

    async def send(self, data: bytes) -> bool:
        """Send ``data`` and return whether the client, or the kernel for it, has taken it."""
        try:
            await (self._tls or self._stream).send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def end(self) -> None:
        """Say that nothing more will come. Not trio's ``send_eof``, which waits."""
        with suppress(OSError):
            self._socket.shutdown(trio.socket.SHUT_WR)
