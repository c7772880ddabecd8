"""Inputs that are nearly right, which is where parsers go wrong: corpora, and edits of them."""

from __future__ import annotations

import gzip
import json
import os
from typing import Final

import msgspec
import zstandard
from hypothesis import strategies as st

EVENTS: Final = [
    {"metricName": "m", "timestamp": "2025-06-30T15:00:00Z", "value": 1.5, "labels": {"a": "b"}},
    {"metricName": "m", "timestamp": 1751295600.25, "value": -0.0, "id": "x"},
    {"metricName": "é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")},
]
COLUMNS: Final = {
    "series": [["m", {"a": "b"}], ["n", {}]],
    "seriesIndex": [0, 1, 0],
    "timestamp": b"\0" * 24,
    "value": [1.0, 2.0, 3.0],
    "id": [None, "x", None],
}
RULE: Final = {
    "name": "r", "type": "MOVING_WINDOW", "metricName": "m", "threshold": 1, "aggregate": "p95",
    "windowDurationSecs": 10, "matchers": {"a": "=~b.*"}, "groupBy": ["a"], "forSecs": 1.5,
    "notifications": [{"channel": "WEBHOOK", "endpoint": "https://example.org/"}],
}  # fmt: skip
NASTY: Final = (
    *(b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"[" * 2000, b'{"a":' * 2000),
    *(b"1" * 400, b"1e999", b"-1e-999", b"18446744073709551616", b"NaN", b"Infinity", b"\r\n"),
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 2000),
    *(b"\xc7\xff\x01", b"\xc1", b"\xd9\xff", b"%00", b"%ff", b"../" * 50, b"\xe2\x80\xae"),
)
BODIES: Final = tuple(
    [json.dumps(value).encode() for value in (EVENTS, EVENTS[0], RULE, {"matchers": {"a": "b"}})]
    + [b"\n".join(json.dumps(event).encode() for event in EVENTS)]
    + [msgspec.msgpack.encode(value) for value in (EVENTS, COLUMNS)]
)
ALIKE: Final = tuple(
    begin + between.join(json.dumps(EVENTS[0], separators=how).encode() for _ in range(3)) + end
    for begin, between, end in ((b"[", b", ", b"]"), (b"", b"\n", b"\n"))
    for how in ((",", ":"), (", ", ": "))
)
COMPRESSED: Final = (
    *(gzip.compress(body) for body in BODIES[:2]),
    *(zstandard.compress(body) for body in BODIES[:2]),
)
TIMES: Final = (
    *("2025-06-30T15:00:00Z", "2025-06-30t15:00:00.123456789+14:00", "0000-01-01T00:00:00Z"),
    *("9999-12-31T23:59:60Z", "2024-02-29T24:00:00Z", "1751295600", "-1e11"),
)

INPUTS: Final = int(os.environ.get("ALERTD_FUZZ_INPUTS", "5000"))
"""Of all parsers together; 100,000 in CI."""


def mutated(corpus: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Return strategies for members of ``corpus`` with a few things done to them."""
    edit = st.tuples(
        st.integers(0, 1 << 16),
        st.integers(0, 40),
        st.one_of(st.sampled_from(NASTY), st.binary(max_size=8), st.sampled_from(corpus)),
    )
    return st.builds(_edited, st.sampled_from(corpus), st.lists(edit, max_size=4))


def _edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return ``data`` with stretches replaced: (place, length, what stands there instead)."""
    for place, length, instead in edits:
        at = place % (len(data) + 1)
        data = data[:at] + instead + data[at + length :]
    return data[: 1 << 16]
