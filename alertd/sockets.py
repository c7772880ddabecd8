"""Sockets to listen on, what is said where they cannot be had, and the time that they are open.

Owns the making of TCP and UNIX sockets, the mode and the end of a UNIX socket's file, and the
order of a shutdown: nothing more is accepted, connections are told, and after the grace time they
are cancelled. Leaves what is done with a connection to those who asked for the sockets.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import trio

from alertd.errors import AlertdError

Serve: TypeAlias = Callable[[trio.SocketStream], Awaitable[None]]
"""What is done with a connection; it is closed afterwards."""

_BACKLOG: Final = 128
_TCP_REMEDIES: Final = {
    errno.EADDRINUSE: "another process listens there: stop it (`ss -ltnp` names it) "
    "or set {setting} to another port",
    errno.EADDRNOTAVAIL: "this machine has no such address: set {setting} to one that "
    "`ip address` shows, or to 0.0.0.0 or [::] for all of them",
    errno.EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: grant it "
    "or set {setting} to a higher port",
}
_UNIX_REMEDIES: Final = {
    errno.EACCES: "the user that alertd runs as may not write there",
    errno.ENOENT: "there is no such folder; under systemd RuntimeDirectory= makes one",
    errno.EROFS: "that may not be written to; under systemd only RuntimeDirectory= may be",
}


async def open_tcp(bind: str, setting: str) -> list[trio.SocketListener]:
    """Return listeners on ``bind`` (``host:port``); one for each address of its host name.

    ``setting`` is the key that says so. Raises ``AlertdError``.
    """
    try:
        parts = urlsplit(f"//{bind}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _not_an_address(bind, setting) from error
    if host is None or port is None or parts.netloc != bind:
        raise _not_an_address(bind, setting)
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except socket.gaierror as error:
        raise AlertdError(
            f"cannot listen on {bind}: the name does not resolve ({error.strerror}): "
            f"set {setting} to an IP address and a port"
        ) from error
    except OSError as error:
        remedy = _TCP_REMEDIES.get(error.errno or 0, "set {setting} to another address")
        raise AlertdError(
            f"cannot listen on {bind}: {error.strerror}: {remedy.format(setting=setting)}"
        ) from error


@contextmanager
def open_unix(path: Path, mode: int, setting: str) -> Iterator[trio.SocketListener]:
    """Have a listener on a socket file with the permissions ``mode`` for as long as it lasts.

    A file that a killed process has left is replaced. Raises ``AlertdError``.
    """
    listening = trio.socket.from_stdlib_socket(_bound_unix(path, mode, setting))
    try:
        yield trio.SocketListener(listening)
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def _bound_unix(path: Path, mode: int, setting: str) -> socket.socket:
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    is_bound = False
    try:
        _remove_left_over(path)
        unix.bind(os.fspath(path))
        is_bound = True
        path.chmod(mode)  # before anybody can connect: nobody listens yet
        unix.listen(_BACKLOG)
    except OSError as error:
        unix.close()
        if is_bound:
            path.unlink(missing_ok=True)
        remedy = _UNIX_REMEDIES.get(error.errno or 0, "set {setting} to another file")
        raise AlertdError(
            f"cannot listen on {path}: {error.strerror}: {remedy.format(setting=setting)}"
        ) from error
    return unix


def _remove_left_over(path: Path) -> None:
    """Remove a socket on which nobody listens any more. Raises ``OSError`` for anything else."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise OSError(errno.EEXIST, "a file of another kind is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # somebody listens, and has more waiting than they accept
        raise OSError(errno.EADDRINUSE, "another process listens there")


def _not_an_address(bind: str, setting: str) -> AlertdError:
    return AlertdError(
        f"cannot listen on {bind!r}: {setting} must be host:port, "
        "for example 127.0.0.1:9470 or [::1]:9470"
    )


async def accept(
    listeners: Sequence[tuple[trio.SocketListener, Serve]],
    *,
    shutdown: trio.Event,
    drain: Callable[[], Awaitable[None]],
    grace_s: float,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve whoever connects until ``shutdown`` is set and the connections have ended.

    ``drain`` asks them to, when nothing more is accepted. ``task_status`` is given the addresses.
    Returns at most ``grace_s`` after ``shutdown``.
    """
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            for listener, serve in listeners:
                run = partial(trio.serve_listeners, handler_nursery=connections)
                accepting.start_soon(run, serve, [listener])
            task_status.started([address_of(listener) for listener, _ in listeners])
            await shutdown.wait()
            accepting.cancel_scope.cancel()
        await drain()
        connections.cancel_scope.deadline = trio.current_time() + grace_s


def address_of(listener: trio.SocketListener) -> str:
    """Return where ``listener`` listens: ``host:port``, ``[ipv6]:port`` or a file."""
    name = listener.socket.getsockname()
    if isinstance(name, str):
        return name
    host, port = name[:2]
    return f"[{host}]:{port}" if listener.socket.family == socket.AF_INET6 else f"{host}:{port}"
