"""Single events, each of which waits until the one before it is durable, from a process of its own.

Owns the process: what it measures must not wait for what the benchmark does meanwhile, which
makes a storm and reads what receivers are told of it. ``Prober`` starts and ends the process;
``python -m bench.prober HOST PORT`` is the process: it sends until its standard input is closed,
and writes what each event waited to standard output.
"""

from __future__ import annotations

import sys
import threading
import time
from http.client import HTTPConnection
from typing import Final

import msgspec

from bench.processes import GIVE_UP_S, OwnProcess

SEND_EVERY_S: Final = 0.01

Wait = tuple[float, float]
"""When an event was sent, by ``time.perf_counter`` (which all processes share on Linux), and for
how many seconds it then waited for its answer."""


class Prober(OwnProcess):
    """Sends for as long as the context lasts; ``waits`` is there when it has ended."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("bench.prober", host, str(port))
        self.waits: list[Wait] = []

    def _take(self, written: bytes) -> None:
        self.waits = msgspec.json.decode(written, type=list[Wait])


def main() -> None:
    """Send until nobody wants it any more."""
    connection = HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=GIVE_UP_S)
    over = threading.Event()
    threading.Thread(target=_wait_for_the_end, args=(over,), daemon=True).start()
    waits: list[Wait] = []
    while not over.wait(SEND_EVERY_S):
        began_s = time.perf_counter()
        connection.request(
            "POST", "/api/events", b'[{"metricName":"probe"}]', {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        body = answer.read()
        waits.append((began_s, time.perf_counter() - began_s))
        assert answer.status == 202, body
    connection.close()
    sys.stdout.buffer.write(msgspec.json.encode(waits))


def _wait_for_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    main()
