"""The events of the benchmark, as whole HTTP requests that only need to be sent.

Owns the shape of an event: a metric, an RFC 3339 time in microseconds, a value and three
labels, 146 bytes of JSON. Series are shared out to connections as if each connection were an
agent that reports its own hosts, so the events of one series stay in order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle

METRIC = "cpu_usage"
GREATEST_VALUE = 100.0
"""Values are spread evenly between 0 and this."""

_VALUES = 997  # a prime: a series does not meet the same values again and again
_REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")


def requests(
    series: range, *, events: int, batch_events: int, from_us: int, until_us: int
) -> list[bytes]:
    """Return requests of ``batch_events`` events each, ``events`` in all, rounded up.

    Events go through ``series`` in turn, at times that advance evenly from ``from_us`` (not
    included) to ``until_us``. About 1 us an event, and 150 bytes.
    """
    count = -(-events // batch_events) * batch_events
    heads, tails = _heads(series), _tails(series)
    values = cycle(_value_texts())
    times = _times(count, from_us, until_us)
    parts = (
        head + time + b'","value":' + value + tail
        for head, tail, time, value in zip(cycle(heads), cycle(tails), times, values, strict=False)
    )
    return [_request(list(_take(parts, batch_events))) for _ in range(count // batch_events)]


def _heads(series: range) -> list[bytes]:
    return [b'{"metricName":"%s","timestamp":"' % METRIC.encode()] * len(series)


def _tails(series: range) -> list[bytes]:
    return [
        b',"labels":{"host":"web-%04d","region":"%s","service":"pay"}}'
        % (number, _REGIONS[number % len(_REGIONS)].encode())
        for number in series
    ]


def _value_texts() -> list[bytes]:
    source = random.Random(1)  # noqa: S311 - the same events in every run, no secret
    return [b"%.3f" % source.uniform(0, GREATEST_VALUE) for _ in range(_VALUES)]


def _times(count: int, from_us: int, until_us: int) -> Iterator[bytes]:
    second, text = -1, b""
    for number in range(1, count + 1):
        now_s, micros = divmod(from_us + (until_us - from_us) * number // count, 1_000_000)
        if now_s != second:
            second = now_s
            text = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%dT%H:%M:%S}".encode()
        yield b"%s.%06dZ" % (text, micros)


def _take(parts: Iterator[bytes], count: int) -> Iterator[bytes]:
    for _ in range(count):
        yield next(parts)


def _request(events: list[bytes]) -> bytes:
    body = b"[" + b",".join(events) + b"]" if len(events) > 1 else events[0]
    return (
        b"POST /api/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
