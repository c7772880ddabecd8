"""The load generator: a light process that sends what was made beforehand.

Owns the process: some connections (``senders.py``), each in a thread that has a bounded amount in
flight, so the rate is what is taken and never more. Everything costly (making the events) happens
before the clock starts, and the process reports its own CPU time so that one can see that it is not
what is being measured.

``LoadGenerator`` starts and commands the process; ``python -m bench.client`` is the process:
it reads orders from standard input and writes answers to standard output, a line of JSON each.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TypeVar

import msgspec
from msgspec import Struct

from bench.events import Form
from bench.processes import OwnProcess
from bench.senders import HttpSender, LineSender, LoadSpec

Answer = TypeVar("Answer", bound=Struct)


class Ready(Struct, frozen=True):
    """Everything is made and connected."""


class LoadResult(Struct, frozen=True):
    """What was sent and how it was answered."""

    accepted: int
    seconds: float
    waits_s: list[float]
    """From the first byte of a request, or of a write of lines, to the last of its answer."""
    cpu_s: float
    problems: list[str]
    """Answers that are not what they should be; such a connection stops at the first."""


class LoadGenerator(OwnProcess):
    """A client process, for as long as the context lasts."""

    def __init__(self) -> None:
        super().__init__("bench.client")
        self.reached_us = 0
        """Where the times of the events that it has made end."""

    def prepare(self, spec: LoadSpec) -> None:
        """Have the requests made and the connections opened."""
        self._order(msgspec.json.encode(spec))
        self._answer(Ready)
        self.reached_us = spec.until_us

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


def _obey(spec: LoadSpec) -> None:
    """Carry out one order: prepare, wait for the word, send, and answer."""
    start = threading.Event()
    kind = LineSender if spec.form is Form.LINES else HttpSender
    senders = [kind(spec, number, start) for number in range(spec.connections)]
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
