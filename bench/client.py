"""The load generator: a light process that sends requests made beforehand.

Owns the sending: some connections, each in a thread that has one request in flight, so the rate
is what the daemon gives and never more than it can take. Everything costly (making the bodies)
happens before the clock starts, and the process reports its own CPU time so that one can see
that it is not what is being measured.

``LoadGenerator`` starts and commands the process; ``python -m bench.client`` is the process:
it reads orders from standard input and writes answers to standard output, a line of JSON each.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self, TypeVar

import msgspec
from msgspec import Struct

from bench.events import requests

GIVE_UP_S = 60.0

Answer = TypeVar("Answer", bound=Struct)


class LoadSpec(Struct, frozen=True):
    """What is to be sent."""

    host: str
    port: int
    connections: int
    series: int
    batch_events: int
    events: int
    """The most events that are sent."""
    seconds: float
    """After this nothing more is sent."""
    from_us: int
    """Event times begin after this …"""
    until_us: int
    """… and reach this."""


class Ready(Struct, frozen=True):
    """Everything is made and connected."""


class LoadResult(Struct, frozen=True):
    """What was sent and how it was answered."""

    accepted: int
    seconds: float
    waits_s: list[float]
    """From the first byte of a request to the last of its answer."""
    cpu_s: float
    problems: list[str]
    """Answers other than 202 with everything accepted; such a connection stops at the first."""


class _Receipt(Struct, frozen=True):
    accepted: int


_receipt = msgspec.json.Decoder(_Receipt).decode


class LoadGenerator:
    """A client process, for as long as the context lasts."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate(timeout=GIVE_UP_S)

    def prepare(self, spec: LoadSpec) -> None:
        """Have the requests made and the connections opened."""
        self._order(msgspec.json.encode(spec))
        self._answer(Ready)

    def run(self) -> LoadResult:
        """Have everything sent, and return what came of it."""
        self._order(b"go")
        return self._answer(LoadResult)

    def _order(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _answer(self, kind: type[Answer]) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended; see what it wrote to standard error")
        return msgspec.json.decode(line, type=kind)


class _Sender(threading.Thread):
    """One connection, with one request in flight."""

    def __init__(self, spec: LoadSpec, number: int, start: threading.Event) -> None:
        super().__init__(daemon=True)
        self.accepted = 0
        self.waits_s: list[float] = []
        self.problem: str | None = None
        self._start_signal = start
        self._seconds = spec.seconds
        self._batch_events = spec.batch_events
        self._requests = requests(
            range(number, spec.series, spec.connections),
            events=spec.events // spec.connections,
            batch_events=spec.batch_events,
            from_us=spec.from_us,
            until_us=spec.until_us,
        )
        self._socket = socket.create_connection((spec.host, spec.port), GIVE_UP_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Send until everything is sent, the time is up or an answer is not what it should be."""
        self._start_signal.wait()
        deadline_s = time.perf_counter() + self._seconds
        with self._socket:
            for request in self._requests:
                began_s = time.perf_counter()
                if began_s > deadline_s:
                    break
                try:
                    self._socket.sendall(request)
                    status, body = _read_answer(self._socket)
                except OSError as error:
                    self.problem = repr(error)
                    break
                self.waits_s.append(time.perf_counter() - began_s)
                if status != 202:
                    self.problem = f"{status}: {body[:500].decode(errors='replace')}"
                    break
                accepted = _receipt(body).accepted
                self.accepted += accepted
                if accepted != self._batch_events:
                    self.problem = f"{accepted} accepted of {self._batch_events}"
                    break


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of one HTTP/1.1 answer that has a Content-Length."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head, body = data[:end].lower(), data[end + 4 :]
    length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _receive(connection)
    return int(head[9:12]), body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the daemon closed the connection")
    return data


def _obey(spec: LoadSpec) -> None:
    """Carry out one order: prepare, wait for the word, send, and answer."""
    start = threading.Event()
    senders = [_Sender(spec, number, start) for number in range(spec.connections)]
    for sender in senders:
        sender.start()
    _say(Ready())
    sys.stdin.buffer.readline()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    start.set()
    for sender in senders:
        sender.join()
    _say(
        LoadResult(
            accepted=sum(sender.accepted for sender in senders),
            seconds=time.perf_counter() - began_s,
            waits_s=[wait_s for sender in senders for wait_s in sender.waits_s],
            cpu_s=time.process_time() - began_cpu_s,
            problems=[sender.problem for sender in senders if sender.problem is not None],
        )
    )


def _say(answer: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Obey orders until standard input ends."""
    for line in iter(sys.stdin.buffer.readline, b""):
        _obey(msgspec.json.decode(line, type=LoadSpec))


if __name__ == "__main__":
    main()
