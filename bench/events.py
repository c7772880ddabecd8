"""The events of the benchmark, as bytes that only need to be sent.

Owns the shape of an event: a metric, a time in microseconds, a value and three labels, 146 bytes of
JSON; and the forms in which the same events are sent to alertd and to other programs. Series are
shared out to connections as if each connection were an agent that reports its own hosts, so the
events of one series stay in order, but for those that are to be late.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from itertools import cycle, islice
from typing import Final, NamedTuple

import msgpack

METRIC: Final = "cpu_usage"
GREATEST_VALUE: Final = 100.0
"""Values are spread evenly between 0 and this."""
LATE_US: Final = 5_000_000
"""By how much an event that is late is older than its neighbours."""

_PRIME: Final = 997
"""Values and what is late repeat so often: a series does not meet the same again and again."""
_REGIONS: Final = ("eu-west-1", "us-east-1", "ap-south-1")


class Form(StrEnum):
    """How events are sent."""

    JSON = "JSON"
    """``POST /api/events``."""
    COLUMNS = "columns"
    """The same, in columns of msgpack."""
    LINES = "lines"
    """JSON, one a line, without HTTP."""
    INFLUX = "line"
    """InfluxDB's line protocol, which VictoriaMetrics takes too (``POST /write``)."""
    IMPORT = "import"
    """VictoriaMetrics' ``POST /api/v1/import``: a line a series, with its values in arrays."""


class Stretch(NamedTuple):
    """Which events: of ``series`` in turn, at times that advance evenly."""

    series: range
    events: int
    batch_events: int
    from_us: int
    """Not included."""
    until_us: int
    late_share: float = 0.0
    """How many of them are ``LATE_US`` older than that."""


def payloads(form: Form, stretch: Stretch) -> list[bytes]:
    """Return ``stretch`` in pieces of ``batch_events`` each, ``events`` in all, rounded up.

    About 1 us an event, and 150 bytes in JSON.
    """
    batch = stretch.batch_events
    count = -(-stretch.events // batch) * batch
    series, values = cycle(stretch.series), cycle(_values())
    instants = _instants(stretch, count)
    if form is Form.COLUMNS:
        return [_columns(series, values, instants, batch) for _ in range(count // batch)]
    if form is Form.IMPORT:
        return [_import(series, values, instants, batch) for _ in range(count // batch)]
    if form is Form.INFLUX:
        heads = cycle([_influx_head(number) for number in stretch.series])
        texts = (
            head + value + b" %d\n" % time_us
            for head, value, time_us in zip(heads, _texts(values), instants, strict=False)
        )
        return [_influx(list(islice(texts, batch))) for _ in range(count // batch)]
    heads = cycle([b'{"metricName":"%s","timestamp":"' % METRIC.encode()])
    tails = cycle([_json_tail(number) for number in stretch.series])
    texts = (
        head + _rfc3339(time_us) + b'","value":' + value + tail
        for head, tail, time_us, value in zip(heads, tails, instants, _texts(values), strict=False)
    )
    write = _lines if form is Form.LINES else _json
    return [write(list(islice(texts, batch))) for _ in range(count // batch)]


def _values() -> list[float]:
    source = random.Random(1)  # noqa: S311 - the same events in every run, no secret
    return [round(source.uniform(0, GREATEST_VALUE), 3) for _ in range(_PRIME)]


def _texts(values: Iterator[float]) -> Iterator[bytes]:
    """Return values as text, made once each."""
    return cycle([b"%.3f" % value for value in islice(values, _PRIME)])


def _instants(stretch: Stretch, count: int) -> Iterator[int]:
    source = random.Random(2)  # noqa: S311 - no secret
    late_us = cycle([LATE_US if source.random() < stretch.late_share else 0 for _ in range(_PRIME)])
    span_us = stretch.until_us - stretch.from_us
    for number, by_us in zip(range(1, count + 1), late_us, strict=False):
        yield stretch.from_us + span_us * number // count - by_us


def _labels(number: int) -> dict[str, str]:
    region = _REGIONS[number % len(_REGIONS)]
    return {"host": f"web-{number:04d}", "region": region, "service": "pay"}


def _rfc3339(time_us: int) -> bytes:
    second, micros = divmod(time_us, 1_000_000)
    return b"%s.%06dZ" % (_second(second), micros)


@lru_cache(64)
def _second(second: int) -> bytes:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}".encode()


def _json_tail(number: int) -> bytes:
    host, region, service = _labels(number).values()
    return f',"labels":{{"host":"{host}","region":"{region}","service":"{service}"}}}}'.encode()


def _influx_head(number: int) -> bytes:
    tags = ",".join(f"{name}={value}" for name, value in _labels(number).items())
    return f"{METRIC},{tags} value=".encode()


def _json(events: list[bytes]) -> bytes:
    body = b"[" + b",".join(events) + b"]" if len(events) > 1 else events[0]
    return _request(b"/api/events", b"application/json", body)


def _lines(events: list[bytes]) -> bytes:
    return b"\n".join(events) + b"\n"


def _influx(lines: list[bytes]) -> bytes:
    return _request(b"/write?db=bench&precision=u", b"text/plain", b"".join(lines))


def _columns(
    series: Iterator[int], values: Iterator[float], instants: Iterator[int], count: int
) -> bytes:
    numbers = list(islice(series, count))
    places = {number: place for place, number in enumerate(dict.fromkeys(numbers))}
    body = msgpack.packb(
        {
            "series": [[METRIC, _labels(number)] for number in places],
            "seriesIndex": array("I", [places[number] for number in numbers]).tobytes(),
            "timestamp": array("q", islice(instants, count)).tobytes(),
            "value": array("d", islice(values, count)).tobytes(),
        }
    )
    return _request(b"/api/events", b"application/msgpack", body)


def _import(
    series: Iterator[int], values: Iterator[float], instants: Iterator[int], count: int
) -> bytes:
    rows: dict[int, tuple[list[str], list[str]]] = {}
    for number in islice(series, count):
        held, times = rows.setdefault(number, ([], []))
        held.append(f"{next(values):.3f}")
        times.append(f"{next(instants) // 1000}")
    lines = (
        f'{{"metric":{{"__name__":"{METRIC}",'
        + ",".join(f'"{name}":"{value}"' for name, value in _labels(number).items())
        + f'}},"values":[{",".join(held)}],"timestamps":[{",".join(times)}]}}\n'
        for number, (held, times) in rows.items()
    )
    return _request(b"/api/v1/import", b"application/json", "".join(lines).encode())


def _request(path: bytes, content_type: bytes, body: bytes) -> bytes:
    return (
        b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
        % (path, content_type, len(body), body)
    )
