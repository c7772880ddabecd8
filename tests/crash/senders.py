"""Clients under load: what they send, what became of it, and what they send again.

Each ``Sender`` has series of its own and sends one request at a time, as fast as it is answered. A
request that was not answered is sent again after the kill if that is harmless (its events have
ids, or it has an ``Idempotency-Key``); else its events are remembered as ``uncertain``.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

US = 1_000_000
TIMEOUT_S = 20.0
LATE_S = 1.5
"""How late a late event is at most when it is sent first."""
OVERDUE_S = 8.0
"""The same for those of the metric ``overdue``, whose rule waits for half a second."""
METRICS = ("errors", "latency", "load", "overdue")


class Point(NamedTuple):
    """An event as it is stored. No two of a series have the same time."""

    metric: str
    source: str
    time_us: int
    value: float


class Kind(Enum):
    """What makes a request safe to repeat."""

    PLAIN = "nothing"
    IDS = "ids"
    KEY = "an Idempotency-Key"


@dataclass(frozen=True)
class Request:
    """One request, as it is sent again."""

    kind: Kind
    points: tuple[Point, ...]
    key: str
    body: bytes

    @classmethod
    def of(cls, kind: Kind, points: tuple[Point, ...], key: str) -> Request:
        """Return the request that sends ``points``."""
        events: list[dict[str, Any]] = [
            {
                "metricName": point.metric,
                "labels": {"source": point.source},
                "timestamp": point.time_us / US,
                "value": point.value,
            }
            for point in points
        ]
        if kind is Kind.IDS:
            events = [{**event, "id": f"{key}-{place}"} for place, event in enumerate(events)]
        return cls(kind, points, key, json.dumps(events).encode())

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body."""
        headers = {"Content-Type": "application/json"}
        return headers | {"Idempotency-Key": self.key} if self.kind is Kind.KEY else headers


@dataclass
class Sender:
    """One client. ``run`` it in a thread for as long as a daemon lives."""

    name: str
    random: random.Random
    acknowledged: list[Point] = field(default_factory=list)
    uncertain: list[Point] = field(default_factory=list)
    unanswered: Request | None = None
    repeated: int = 0
    """Requests that were sent again and had been stored."""
    problems: list[str] = field(default_factory=list)
    _sent: int = 0
    _used: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in METRICS})

    def run(self, url: str, stop: threading.Event) -> None:
        """Send until ``stop`` is set or the daemon is gone."""
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        try:
            while not stop.is_set():
                self._exchange(connection, self.unanswered or self._new())
        except (OSError, http.client.HTTPException):
            pass  # it was killed
        finally:
            connection.close()

    def finish(self, url: str) -> None:
        """Have what is unanswered answered, and close every window with one event more."""
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        while self.unanswered is not None:
            self._exchange(connection, self.unanswered)
        now_us = time.time_ns() // 1000
        last = tuple(self._point(metric, now_us, 0.0) for metric in METRICS)
        self._exchange(connection, Request.of(Kind.IDS, last, f"{self.name}-last"))
        connection.close()
        assert self.unanswered is None

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> None:
        is_repetition = request is self.unanswered
        self.unanswered = request
        connection.connect() if connection.sock is None else None
        # From here on the daemon may have it.
        if request.kind is Kind.PLAIN:
            self.unanswered = None
            self.uncertain += request.points
        connection.request("POST", "/api/events", request.body, request.headers)
        answer = connection.getresponse()
        body = answer.read()
        if request.kind is Kind.PLAIN:
            del self.uncertain[-len(request.points) :]
        if answer.status in (429, 503):
            self.unanswered = request
            time.sleep(0.01)
            return
        self.unanswered = None
        self._settle(request, is_repetition, answer.status, body)

    def _settle(self, request: Request, is_repetition: bool, status: int, body: bytes) -> None:
        counts = json.loads(body)
        count = len(request.points)
        outcome = (status, counts.get("accepted"), counts.get("duplicates"))
        wanted = {(202, count, 0)}
        if request.kind is Kind.IDS and is_repetition:
            wanted.add((202, 0, count))  # one commit: all of them, or none
        if outcome not in wanted:
            self.problems.append(f"{request.kind} {request.key}: {outcome}, wanted {wanted}")
        self.repeated += is_repetition
        self.acknowledged += request.points

    def _new(self) -> Request:
        self._sent += 1
        points = []
        for _ in range(self.random.choice((1, 1, 3, 20))):
            metric = self.random.choices(METRICS, (4, 3, 3, 1))[0]
            late_s = OVERDUE_S if metric == "overdue" else LATE_S
            is_late = self.random.random() < 0.2
            lag_us = self.random.uniform(0, late_s) * US if is_late else 0
            time_us = time.time_ns() // 1000 - int(lag_us)
            points.append(self._point(metric, time_us, round(self.random.gauss(100, 60), 3)))
        kind = self.random.choice(list(Kind))
        return Request.of(kind, tuple(points), f"{self.name}-{self._sent}")

    def _point(self, metric: str, time_us: int, value: float) -> Point:
        used = self._used[metric]
        while time_us in used:
            time_us += 1
        used.add(time_us)
        return Point(metric, self.name, time_us, value)
