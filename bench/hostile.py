"""What good requests wait for while others do their worst: slow clients, and a flood of errors.

Owns 200 connections that send a head a line at a time and never end it, and a process that sends
requests that are refused, as fast as they are answered. The good requests are single events, one
connection, a pause of 5 ms after each. Quiet and hostile stretches take turns in one run against
one daemon, so that whatever else the machine does is in both.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.daemon import Daemon
from bench.processes import GIVE_UP_S
from bench.results import HostileFigures, percentiles

ROUNDS: Final = 5
ROUND_S: Final = 2.0
SLOW_CLIENTS: Final = 200
FLOODS: Final = (2, 32)
_PAUSE_S: Final = 0.005
_START_S: Final = 0.5
"""Until the flooding process floods."""
_EVENTS: Final = (
    b"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
)
_GOOD: Final = _EVENTS + b'Content-Length: 18\r\n\r\n{"metricName":"m"}'
_BAD: Final = (
    _EVENTS + b"Content-Length: 5\r\n\r\n[{}}]",
    b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PUT /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    b"GET /api/history?limit=x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
)


def measure(folder: Path, tell: Callable[[str], None]) -> Iterator[HostileFigures]:
    """Yield the figures of each flood."""
    with Daemon(folder, "") as daemon:
        _good_waits(daemon.port, 0.5)  # what is opened or cached lazily is
        for connections in FLOODS:
            tell(f"hostile: {SLOW_CLIENTS} slow clients, a flood over {connections} connections …")
            quiet_s: list[float] = []
            hostile_s: list[float] = []
            for _ in range(ROUNDS):
                quiet_s += _good_waits(daemon.port, ROUND_S)
                with _slow_clients(daemon.port), _flood(daemon.port, connections):
                    hostile_s += _good_waits(daemon.port, ROUND_S)
            yield HostileFigures(
                SLOW_CLIENTS, connections, percentiles(quiet_s), percentiles(hostile_s)
            )


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S)


def _good_waits(port: int, seconds: float) -> list[float]:
    """Send good requests for ``seconds``; return what each waited for its answer."""
    waits_s = []
    with _connect(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until_s = time.perf_counter() + seconds
        while (began_s := time.perf_counter()) < until_s:
            client.sendall(_GOOD)
            answer = client.recv(65536)
            waits_s.append(time.perf_counter() - began_s)
            assert answer.startswith(b"HTTP/1.1 202 "), answer
            time.sleep(_PAUSE_S)
    return waits_s


@contextmanager
def _slow_clients(port: int) -> Iterator[None]:
    """Have clients that never come to the end of their request."""
    over = threading.Event()
    with ExitStack() as clients:
        slow = [clients.enter_context(_connect(port)) for _ in range(SLOW_CLIENTS)]

        def dribble() -> None:
            for client in slow:
                client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            while not over.wait(0.5):
                for client in slow:
                    with suppress(OSError):
                        client.sendall(b"X: y\r\n")

        thread = threading.Thread(target=dribble)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def _flood(port: int, connections: int) -> Iterator[None]:
    """Have a process send bad requests for as long as the context lasts."""
    command = [sys.executable, "-m", "bench.hostile", str(port), str(connections)]
    with subprocess.Popen(command) as process:
        time.sleep(_START_S)
        try:
            yield
        finally:
            process.kill()


def _send_bad(port: int) -> None:
    """Send bad requests as fast as they are answered, until the process is ended."""
    while True:
        with suppress(OSError), _connect(port) as client:
            while True:
                for request in _BAD:
                    client.sendall(request)
                    if not client.recv(65536):
                        break


def _main(port: int, connections: int) -> None:
    for _ in range(connections):
        threading.Thread(target=_send_bad, args=(port,)).start()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
