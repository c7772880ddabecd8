"""How bytes become lines, and what is said of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.lines.protocol import (
    Acknowledged,
    Closed,
    End,
    LineCutter,
    Pause,
    Paused,
    encode,
    may_be_an_object,
    read_greeting,
    refusals,
)
from alertd.model import RefusalReason, Refused

MAX_BYTES = 8


def lines_of(*pieces: bytes) -> list[bytes]:
    cutter = LineCutter(MAX_BYTES)
    return [line for piece in pieces for line in cutter.take(piece)] + cutter.finish()


@given(st.text("ab \t\r\n", max_size=60), st.lists(st.integers(0, 60)))
def test_however_it_is_cut_on_its_way_the_same_lines_come_out(text: str, cuts: list[int]) -> None:
    data = text.encode()
    ends = [*sorted(cut for cut in cuts if cut <= len(data)), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    expected = [line[: MAX_BYTES + 1] for line in data.split(b"\n") if line.strip(b" \t\r")]
    assert lines_of(*pieces) == expected


def test_a_line_without_an_end_is_one_when_nothing_more_comes() -> None:
    assert lines_of(b"a\nb") == [b"a", b"b"]
    assert lines_of(b"a\n") == [b"a"]
    assert lines_of() == []


def test_blank_lines_are_none() -> None:
    assert lines_of(b"\n \t\r\na\r\n\n") == [b"a\r"]


def test_of_a_line_that_is_too_long_no_more_is_kept_than_shows_it() -> None:
    cutter = LineCutter(MAX_BYTES)
    for _ in range(100):
        assert cutter.take(b"x" * 1000) == []
        assert len(cutter._begun) == MAX_BYTES + 1
    long, after = cutter.take(b"x\nok\n")
    assert (len(long), after) == (MAX_BYTES + 1, b"ok")
    assert lines_of(b"x" * MAX_BYTES + b"\n") == [b"x" * MAX_BYTES]


@pytest.mark.parametrize(
    ("line", "token"),
    [
        (b'{"token": "t"}', "t"),
        (b'{"metricName": "m"}', None),
        (b'{"token": "t", "metricName": "m"}', None),
        (b'{"token": 1}', None),
        (b'{"token"', None),
        (b'{"token": "\xff"}', None),
    ],
)
def test_a_greeting_is_a_token_and_nothing_else(line: bytes, token: str | None) -> None:
    assert read_greeting(line) == token


@pytest.mark.parametrize(
    ("line", "may_be"),
    [
        (b'{"metricName"', True),
        (b" \t{}", True),
        (b"GET / HTTP/1.1\r", False),
        (b'[{"metricName": "m"}]', False),
        (b"\x16\x03\x01{", False),
        (b"PUT {} HTTP/1.1", False),
    ],
)
def test_what_other_protocols_begin_with_is_no_object(line: bytes, may_be: bool) -> None:
    assert may_be_an_object(line) is may_be


def test_an_answer_is_a_line_of_json() -> None:
    answers = (
        Acknowledged(3),
        Paused(Pause.STORE, "the disk is full"),
        Closed(End.IDLE, "too quiet"),
        Closed(End.STOPPING, "bye", 5),
    )
    assert [msgspec.json.decode(line) for line in encode(answers).splitlines()] == [
        {"acknowledged": 3},
        {"paused": "store", "message": "the disk is full"},
        {"closed": "idle", "message": "too quiet"},
        {"closed": "stopping", "message": "bye", "retryAfterSecs": 5},
    ]


def test_refused_lines_are_told_in_their_order_by_their_place_on_the_connection() -> None:
    late = Refused(RefusalReason.TOO_OLD, "/timestamp", "old", {}, 7)
    bad = Refused(RefusalReason.MALFORMED, "/value", "bad", {}, 2)
    assert [(each.refused, each.reason) for each in refusals([late, bad], before=100)] == [
        (103, "malformed"),
        (108, "too_old"),
    ]
