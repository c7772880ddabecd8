"""Connections of the load generator: over HTTP with one request in flight, or with lines.

Owns sending what was made beforehand, and how long each piece waited for its answer. Each sender
is a thread; ``client.py`` is the process that has them.
"""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Final

import msgspec
from msgspec import Struct

from bench.events import Form, Stretch, payloads

GIVE_UP_S: Final = 60.0


class LoadSpec(Struct, frozen=True):
    """What is to be sent."""

    address: str
    """``host:port``, or the file of a UNIX socket."""
    form: Form
    connections: int
    series: int
    batch_events: int
    """In a request, or in a write of lines."""
    events: int
    """The most events that are sent."""
    seconds: float
    """After this nothing more is sent."""
    from_us: int
    """Event times begin after this …"""
    until_us: int
    """… and reach this."""
    late_share: float = 0.0
    in_flight: int = 1
    """Lines of a connection that may wait for their acknowledgement."""
    events_per_s: float | None = None
    """What is sent at most, by HTTP, over all connections; None for as many as are taken."""


class _Receipt(Struct, frozen=True):
    accepted: int


class _Acknowledged(Struct, frozen=True, forbid_unknown_fields=True):
    acknowledged: int


_receipt = msgspec.json.Decoder(_Receipt).decode
_acknowledged = msgspec.json.Decoder(_Acknowledged).decode


class Sender(threading.Thread, ABC):
    """One connection."""

    def __init__(self, spec: LoadSpec, number: int, start: threading.Event) -> None:
        super().__init__(daemon=True)
        self.accepted = 0
        self.waits_s: list[float] = []
        self.problem: str | None = None
        self._spec = spec
        self._start_signal = start
        self._payloads = payloads(
            spec.form,
            Stretch(
                range(number, spec.series, spec.connections),
                events=spec.events // spec.connections,
                batch_events=spec.batch_events,
                from_us=spec.from_us,
                until_us=spec.until_us,
                late_share=spec.late_share,
            ),
        )

    def run(self) -> None:
        """Send until everything is sent, the time is up or an answer is not what it should be."""
        try:
            # Not earlier: making what others send takes seconds, in which some would hang up.
            with _connect(self._spec.address) as self._socket:
                self._start_signal.wait()
                self._send_until(time.perf_counter() + self._spec.seconds)
        except (OSError, _Unexpected) as error:
            self.problem = repr(error)

    @abstractmethod
    def _send_until(self, deadline_s: float) -> None: ...


class _Unexpected(Exception):
    """An answer that is not what it should be."""


class HttpSender(Sender):
    """Keep-alive, with one request in flight."""

    def _send_until(self, deadline_s: float) -> None:
        spec, due_s = self._spec, time.perf_counter()
        batches_per_s = (spec.events_per_s or 0) / spec.connections / spec.batch_events
        for request in self._payloads:
            time.sleep(max(0.0, due_s - time.perf_counter()))
            due_s += 1 / batches_per_s if batches_per_s else 0.0
            began_s = time.perf_counter()
            if began_s > deadline_s:
                return
            self._socket.sendall(request)
            status, body = _read_answer(self._socket)
            self.waits_s.append(time.perf_counter() - began_s)
            accepted = self._spec.batch_events if status == 204 else _accepted(status, body)
            self.accepted += accepted
            if accepted != self._spec.batch_events:
                raise _Unexpected(f"{accepted} accepted of {self._spec.batch_events}")


class LineSender(Sender):
    """Writes lines, with so many of them in flight, and reads what is acknowledged."""

    def _send_until(self, deadline_s: float) -> None:
        sent = 0
        self._waiting: deque[tuple[int, float]] = deque()
        """Up to which line was sent when, of what is not acknowledged."""
        self._rest = b""
        for lines in self._payloads:
            began_s = time.perf_counter()
            if began_s > deadline_s:
                break
            self._socket.sendall(lines)
            sent += self._spec.batch_events
            self._waiting.append((sent, began_s))
            while sent - self.accepted > self._spec.in_flight - self._spec.batch_events:
                self._read()
        while self.accepted < sent:
            self._read()

    def _read(self) -> None:
        """Wait for acknowledgements, and note how long what they are about has waited."""
        *lines, self._rest = (self._rest + _receive(self._socket)).split(b"\n")
        now_s = time.perf_counter()
        for line in lines:
            try:
                self.accepted = _acknowledged(line).acknowledged
            except msgspec.MsgspecError:
                raise _Unexpected(line.decode(errors="replace")) from None
        while self._waiting and self._waiting[0][0] <= self.accepted:
            self.waits_s.append(now_s - self._waiting.popleft()[1])


def _connect(address: str) -> socket.socket:
    if address.startswith("/"):
        unix = socket.socket(socket.AF_UNIX)
        unix.settimeout(GIVE_UP_S)
        unix.connect(address)
        return unix
    host, _, port = address.rpartition(":")
    tcp = socket.create_connection((host, int(port)), GIVE_UP_S)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tcp


def _accepted(status: int, body: bytes) -> int:
    if status != 202:
        raise _Unexpected(f"{status}: {body[:500].decode(errors='replace')}")
    return _receipt(body).accepted


def _read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of one HTTP/1.1 answer of known length."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _receive(connection)
    head, body = data[:end].lower(), data[end + 4 :]
    status = int(head[9:12])
    length = 0
    if status != 204:
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _receive(connection)
    return status, body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the connection was closed")
    return data
