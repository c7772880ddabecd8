"""Alert latency: from the POST of the event that breaches to the arrival of its webhook.

Owns a receiver of its own, in this process, so that both ends are read off one clock. Alerts
are sent one after the other, each on a group of its own, so every one of them goes the whole way:
commit, judgement, commit of the incident, delivery. First the daemon is idle, then it has one alert
behind the other; then others send it half as many events as it took in a second before.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice
from pathlib import Path
from types import TracebackType
from typing import Self

from alertd.model import US_PER_S
from bench.client import LoadGenerator
from bench.daemon import Daemon
from bench.events import Form
from bench.ingest import CONNECTIONS, SERIES, WORKLOADS, introduce
from bench.processes import GIVE_UP_S
from bench.results import LatencyFigures, percentiles
from bench.rounds import run_round, send
from bench.senders import LoadSpec

_WARM_UP = 5
"""Alerts before the measured ones: connections are opened, templates and pages are read."""
_PAUSE_S = 0.02
"""After this the daemon has recorded that an alert arrived, and is idle again."""

_CONFIG = """
[notify]
group_by = ["host"]
[channels.hook]
type = "webhook"
url = "{url}"
[[rules]]
name = "peak"
type = "MOVING_WINDOW"
metric_name = "latency_ms"
aggregate = "max"
group_by = ["host"]
threshold = 200
window_duration_secs = 60
notifications = ["hook"]
[engine]
max_queue_events = 1000000
"""
_LOAD_S = 6.0
_BATCH_EVENTS = 1_000
_MAX_RATE = 500_000


class Receiver:
    """A webhook's endpoint that notes when each group's message has arrived.

    It is light: what has come is read only when somebody asks, for the daemon is on this machine.
    """

    def __init__(self) -> None:
        arrivals: queue.SimpleQueue[tuple[bytes, float]] = queue.SimpleQueue()
        receiver = self
        self.messages = 0

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                arrived_s = time.perf_counter()
                self.send_response(204)
                self.end_headers()
                receiver.messages += 1
                arrivals.put((body, arrived_s))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing about each request."""

        self._arrivals = arrivals
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def hosts(self) -> list[str]:
        """Return the hosts of the messages that have arrived since the last call."""
        return [
            host
            for _ in range(self._arrivals.qsize())
            for host in _hosts_in(self._arrivals.get()[0])
        ]

    def arrival_of(self, host: str) -> float:
        """Return when the next message arrived, which must be about ``host`` alone."""
        body, when_s = self._arrivals.get(timeout=GIVE_UP_S)
        arrived = _hosts_in(body)
        assert arrived == [host], f"expected the alert of {host}, got that of {arrived}"
        return when_s


def _hosts_in(body: bytes) -> list[str]:
    """Return the hosts that a message tells of."""
    return [incident["groupLabels"]["host"] for incident in json.loads(body)["incidents"]]


def measure(folder: Path, *, alerts: int) -> Iterator[LatencyFigures]:
    """Yield the figures of ``alerts`` at rest, of as many in a row, and of those in ``_LOAD_S``."""
    with (
        Receiver() as receiver,
        Daemon(folder, _CONFIG.format(url=receiver.url) + WORKLOADS[0].rules()) as daemon,
        LoadGenerator() as client,
        closing(daemon.connect()) as connection,
    ):
        hosts = (f"peak-{number:04d}" for number in count())
        for host in islice(hosts, _WARM_UP):
            _time_one(connection, receiver, host)
        for pause_s in (_PAUSE_S, 0.0):
            waits_s = []
            for host in islice(hosts, alerts):
                time.sleep(pause_s)
                waits_s.append(_time_one(connection, receiver, host))
            yield LatencyFigures(0.0, 1000 * pause_s, alerts, percentiles(waits_s))
        introduce(daemon, client)
        spec = _spec(daemon, seconds=1.0, from_us=client.reached_us)
        rate = run_round(daemon, client, spec).events_per_s / 2
        client.prepare(_spec(daemon, seconds=_LOAD_S, from_us=client.reached_us, rate=rate))
        sending = threading.Thread(target=send, args=(client,))
        sending.start()
        time.sleep(_LOAD_S / 10)
        waits_s = []
        while sending.is_alive() and len(waits_s) < alerts:
            waits_s.append(_time_one(connection, receiver, next(hosts)))
        sending.join()
        yield LatencyFigures(rate, 0.0, len(waits_s), percentiles(waits_s))


def _spec(daemon: Daemon, *, seconds: float, from_us: int, rate: float | None = None) -> LoadSpec:
    return LoadSpec(
        address=daemon.address,
        form=Form.JSON,
        connections=CONNECTIONS,
        series=SERIES,
        batch_events=_BATCH_EVENTS,
        events=round((rate or _MAX_RATE) * seconds),
        seconds=seconds,
        from_us=from_us,
        until_us=from_us + US_PER_S,
        events_per_s=rate,
    )


def _time_one(connection: HTTPConnection, receiver: Receiver, host: str) -> float:
    event = {"metricName": "latency_ms", "value": 500, "labels": {"host": host}}
    body = json.dumps(event)
    began_s = time.perf_counter()
    connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 202, text
    return receiver.arrival_of(host) - began_s
