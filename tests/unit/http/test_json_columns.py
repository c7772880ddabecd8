"""A body read as columns of bytes says what it says when it is read as objects."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="bodies are read as columns with NumPy")

from alertd.http import json_columns  # noqa: E402
from alertd.http.json_columns import read_alike  # noqa: E402
from alertd.http.number_columns import LONGEST_NUMBER, floats_in, lengths_of  # noqa: E402
from tests.unit.http.alike import RECEIVED_US, outcomes_are_the_same  # noqa: E402

KEYS = ("metricName", "timestamp", "value", "labels")


def is_read(body: bytes, *, is_lines: bool = False) -> bool:
    return read_alike(body, is_lines, RECEIVED_US) is not None


def event(number: int = 0, **other: Any) -> dict[str, Any]:
    fields = {
        "metricName": "cpu_usage",
        "timestamp": f"2025-06-30T15:{number % 60:02d}:07.{number * 7919 % 1_000_000:06d}Z",
        "value": number * 1.25,
        "labels": {"host": f"web-{number}", "region": "eu-west-1"},
    }
    return fields | other


def written(events: list[dict[str, Any]], **how: Any) -> bytes:
    return json.dumps(events, **how).encode()


EVENTS = [event(number) for number in range(40)]


@pytest.mark.parametrize("order", list(permutations(KEYS)))
def test_members_may_stand_in_any_order(order: tuple[str, ...]) -> None:
    events = [{key: each[key] for key in order} for each in EVENTS]
    for how in ({}, {"separators": (",", ":")}, {"indent": 2}):
        body = written(events, **how)
        outcomes_are_the_same(body)
        assert is_read(body)
    lines = b"\n".join(json.dumps(each).encode() for each in events)
    for body in (lines, lines + b"\n", lines + b"\n\n"):
        outcomes_are_the_same(body, is_lines=True)
        assert is_read(body, is_lines=True)


@pytest.mark.parametrize("missing", ["timestamp", "value", "labels", "metricName"])
def test_members_may_be_left_out_by_all(missing: str) -> None:
    events = [{key: each[key] for key in KEYS if key != missing} for each in EVENTS]
    outcomes_are_the_same(written(events))
    assert is_read(written(events)) == (missing != "metricName")
    assert not is_read(written([*EVENTS, *events]))
    outcomes_are_the_same(written([*EVENTS, *events]))


def test_metrics_and_labels_may_be_of_any_length_and_differ() -> None:
    names = ["cpu", "memory_used_bytes", "größe", "b"]
    sets = [{}, {"host": "a"}, {"host": "b" * 200, "zone": "ß"}, {"a": "1", "b": "2", "c": "3"}]
    events = [
        event(number, metricName=names[number % 4], labels=sets[number % 3]) for number in range(50)
    ]
    body = written(events, ensure_ascii=False)
    assert is_read(body)
    outcomes_are_the_same(body)
    outcomes_are_the_same(written(events))  # with escapes


def test_what_was_read_stays_when_another_body_is_read_in_the_same_memory() -> None:
    first, second = (written([event(number) for number in numbers]) for numbers in ((5, 6), (7, 8)))
    was_read = read_alike(first, False, RECEIVED_US)
    assert read_alike(second, False, RECEIVED_US) != was_read
    assert read_alike(first, False, RECEIVED_US) == was_read


def test_what_stood_behind_a_shorter_body_is_not_read() -> None:
    source = random.Random(4)  # noqa: S311 - the same order in every run
    bodies = [written([event(number) for number in range(count)]) for count in range(2, 60)]
    alone = [read_alike(body, False, RECEIVED_US) for body in bodies]
    order = source.sample(range(len(bodies)), len(bodies))
    assert [read_alike(bodies[place], False, RECEIVED_US) for place in order] == [
        alone[place] for place in order
    ]


def test_memory_is_kept_for_bodies_of_a_common_size_only() -> None:
    body = written([event(number) for number in range(10_000)])
    assert len(body) > json_columns._READ_IN_BYTES
    assert is_read(body)
    assert len(json_columns._read_in) <= json_columns._READ_IN_BYTES
    outcomes_are_the_same(body)


def test_a_metric_that_differs_where_nobody_looked_is_seen() -> None:
    for place in range(40):
        events = [event(number, metricName="cpu") for number in range(40)]
        events[place] = event(place, metricName="mem")
        outcomes_are_the_same(written(events))


def test_numbers_may_be_written_in_any_way_where_something_else_tells_their_end() -> None:
    values = [1e300, -5e-324, 7, 0.1, -0.0, 123456789.123456789, 1e22, -3]
    events = [event(number, value=values[number % 8]) for number in range(40)]
    for body in (written(events), written(events).replace(b"e+", b"E+").replace(b"0.1", b"0.1 ")):
        assert is_read(body)
        outcomes_are_the_same(body)


SPELLINGS: dict[str, Callable[[int], object]] = {
    "microseconds": lambda number: f"2025-06-30T15:00:{number % 60:02d}.{number * 7919:06d}Z",
    "milliseconds": lambda number: f"2025-06-30T15:00:{number % 60:02d}.{number * 19:03d}Z",
    "seconds": lambda number: f"2025-06-30T15:{number:02d}:00Z",
    "epoch": lambda number: 1_751_295_600 + number,
    "epoch with a fraction": lambda number: 1_751_295_600 + number / 8,
    "epoch to the microsecond": lambda number: float(f"1751295600.{number * 7919:06d}"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_times_may_be_written_as_most_senders_do(spelling: str) -> None:
    events = [event(number, timestamp=SPELLINGS[spelling](number)) for number in range(40)]
    body = written(events)
    assert is_read(body)
    outcomes_are_the_same(body)
    outcomes_are_the_same(body.replace(b"175129", b"17512956000"))  # milliseconds, maybe
    outcomes_are_the_same(body.replace(b'"timestamp"', b'"timestamp": 5, "timestamp"'))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("make", "is_column"),
    [
        (lambda number: f"{number:032x}", (True, True)),
        (lambda number: f"größe {number:03}", (True, True)),
        (lambda number: f"event {number}", (True, False)),
        (lambda number: "x" * (200 + number % 2), (True, False)),
        (lambda number: None if number == 7 else "an id", (False, False)),
        (lambda number: "" if number == 7 else "an id", (True, False)),
        (lambda number: "\0" if number == 7 else "i", (False, False)),
        (lambda number: '"' if number == 7 else "id", (False, False)),
        (lambda number: number, (False, False)),
        (lambda number: "x" * 500, (True, True)),
    ],
)
def test_ids_are_read_where_no_other_member_stands_in_the_way(
    make: Callable[[int], object], is_column: tuple[bool, bool], first: bool
) -> None:
    """Behind the labels, whose end nobody knows, all have to be of one length."""
    events = [
        {"id": make(number), **event(number)} if first else event(number, id=make(number))
        for number in range(40)
    ]
    body = written(events, ensure_ascii=False)
    assert is_read(body) == is_column[0 if first else 1]
    outcomes_are_the_same(body)


def test_metrics_that_stand_beside_what_has_any_length_have_one_length() -> None:
    for names, is_column in ((["cpu_a", "cpu_b"], True), (["cpu", "cpu_b"], False)):
        events = [{"labels": {"host": f"web-{n}"}, "metricName": names[n % 2]} for n in range(40)]
        body = written(events)
        assert is_read(body) == is_column
        outcomes_are_the_same(body)


@pytest.mark.parametrize(
    "timestamp",
    ["2025-06-30T15:00:00Z", "2025-06-30T17:00:00.5+02:00", "2025-06-30 15:00:00.123Z", "noon",
     "2025-06-30T24:00:00.000000Z", "2025-06-30T23:59:60.000000Z", "2025-02-30T15:00:00.000000Z",
     "2025-06-30T15:00:00.00000zZ", "2025-06-30T15:00:00.000000z", 1751295600.5, None, ""],
)  # fmt: skip
@pytest.mark.parametrize("first", [0, 1, 39])
def test_times_may_be_written_otherwise(timestamp: object, first: int) -> None:
    for step in (1, 50):  # from there on all, or one
        events = list(EVENTS)
        events[first::step] = [event(timestamp=timestamp)] * len(events[first::step])
        outcomes_are_the_same(written(events))


WRONG: list[Callable[[bytes], bytes]] = [
    lambda body: body[:-1],
    lambda body: body + b"]",
    lambda body: body + b"\0",
    lambda body: body.replace(b"web-7", b"web-7\0"),
    lambda body: body.replace(b"web-7", b'we\\"b'),
    lambda body: body.replace(b"web-7", b"we{b"),
    lambda body: body.replace(b"web-7", b"we}b"),
    lambda body: body.replace(b"web-7", b"\xff"),
    lambda body: body.replace(b"web-7", b"a\nb"),
    lambda body: body.replace(b'"web-7"', b"7"),
    lambda body: body.replace(b'"web-7"', b'{"a": "b"}'),
    lambda body: body.replace(b'"host": "web-7", ', b""),
    lambda body: body.replace(b'{"host": "web-7", "region": "eu-west-1"}', b"null"),
    lambda body: body.replace(b'{"host": "web-7", "region": "eu-west-1"}', b"{}, "),
    lambda body: body.replace(b'"web-7", "region": "eu-west-1"}', b'"7"}, "value": 2'),
    lambda body: body.replace(b'"cpu_usage"', b'"cpu\\u005fusage"', 3),
    lambda body: body.replace(b'"cpu_usage"', b'"cpu\0"', 3),
    lambda body: body.replace(b'"cpu_usage"', b'""', 1),
    lambda body: body.replace(b'"cpu_usage"', b'""'),
    lambda body: body.replace(b'"cpu_usage"', b'"a", "b"', 1),
    lambda body: body.replace(b'"cpu_usage"', b"5", 1),
    lambda body: body.replace(b"8.75", b""),
    lambda body: body.replace(b"8.75", b"1e3"),
    lambda body: body.replace(b"8.75", b"18446744073709551616"),
    lambda body: body.replace(b"8.75", b"9" * 30),
    lambda body: body.replace(b"8.75", b"1.7976931348623157"),
    lambda body: body.replace(b"8.75", b"true"),
    lambda body: body.replace(b"}, {", b"} {", 1),
    lambda body: body.replace(b"}, {", b"},, {", 1),
    lambda body: body.replace(b"}, {", b"},\n{", 1),
    lambda body: body.replace(b"}, {", b"}\n, {"),
    lambda body: body.replace(b"}, {", b", {", 1),
    lambda body: body.replace(b'"value"', b'"id"'),
    lambda body: body.replace(b'"value"', b'"Value"', 1),
    lambda body: body.replace(b'"value"', b'"timestamp"'),
    lambda body: body.replace(b'"value":', b'"value";'),
    lambda body: body.replace(b'"region": ', b'"region"\n: ', 1),
    lambda body: body.replace(b'"region": ', b'"region"\n: '),
    lambda body: body.replace(b'"value": ', b'"value":\n'),
    lambda body: b"[ " + body[1:-1] + b" ] \n",
    lambda body: b"\xef\xbb\xbf" + body,
    lambda body: body[1:-1],
    lambda body: b"[" + body + b"]",
    lambda body: b"[" + body[2:],
]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("events", [EVENTS, EVENTS[7:], EVENTS[:8]])
def test_what_is_wrong_is_told_as_ever(
    wrong: Callable[[bytes], bytes], events: list[dict[str, Any]]
) -> None:
    body = written(events)
    assert is_read(body)
    assert wrong(body) != body
    outcomes_are_the_same(wrong(body))
    lines = body[1:-1].replace(b"}, {", b"}\n{")
    assert is_read(lines, is_lines=True)
    outcomes_are_the_same(wrong(lines), is_lines=True)


FAMILIES = [
    EVENTS,
    [event(number, id=f"{number:032x}") for number in range(40)],
    [{"id": f"event {number}", **event(number)} for number in range(40)],
    *(
        [event(number, timestamp=spell(number)) for number in range(40)]
        for spell in SPELLINGS.values()
    ),
]


@given(st.randoms(use_true_random=False), st.integers(0, 4), st.booleans())
def test_bodies_that_are_nearly_right_are_read_alike(
    chance: random.Random, edits: int, is_lines: bool
) -> None:
    events = chance.sample(chance.choice(FAMILIES), 6)
    separators = chance.choice([(",", ":"), (", ", ": ")])
    texts = [json.dumps(each, separators=separators).encode() for each in events]
    body = b"\n".join(texts) if is_lines else b"[" + b",".join(texts) + b"]"
    for _ in range(edits):
        at = chance.randrange(len(body))
        length = chance.choice([0, 1, 1, 2, 30])
        other = chance.randrange(len(body))
        new = chance.choice(
            [b"", b'"', b"{", b"}", b",", b"0", b".", b"-", b"e", b" ", b"\\", b"\0", b"\xff",
             body[other : other + chance.choice([1, 5, 80])]]
        )  # fmt: skip
        body = body[:at] + new + body[at + length :]
    outcomes_are_the_same(body, is_lines=is_lines)


NUMBERS = st.one_of(
    st.from_regex(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", fullmatch=True),
    st.from_regex(r"[-0-9.]{1,6}", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e4, 1e4).map(lambda value: f"{value:.3f}"),
    st.sampled_from(["-0", "0", "-0.0", "0.", ".0", "-", "00", "-01", "9007199254740993",
                     "999999999999999", "0.00000000000001", "123456789.123456", "4.35"]),
).filter(lambda text: len(text) <= LONGEST_NUMBER)  # fmt: skip


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_numbers_are_what_msgspec_reads_or_none(texts: list[str]) -> None:
    expected: list[float] | None = None
    with suppress(msgspec.DecodeError):
        expected = [msgspec.json.decode(text, type=float) for text in texts]
    found = numbers(texts)
    if expected is None:
        assert found is None
    else:
        assert struct.pack(f"{len(texts)}d", *found or ()) == struct.pack(
            f"{len(texts)}d", *expected
        )
    if not any("e" in text for text in texts):
        columns = rows_of(texts)[:, 1:].T
        assert lengths_of(columns[::-1]).tolist() == list(map(len, texts))


def rows_of(texts: list[str]) -> Any:
    longest = max(map(len, texts))
    return np.array([list(text.rjust(longest + 1).encode()) for text in texts], np.uint8)


def numbers(texts: list[str]) -> list[float] | None:
    found = floats_in(rows_of(texts), np.array(list(map(len, texts))))
    return None if found is None else found.tolist()


def test_short_numbers_are_rounded_as_they_should_be() -> None:
    chance = random.Random(1)  # noqa: S311 - a test, no secret
    texts = [
        f"{chance.choice(['', '-'])}{chance.randrange(10 ** chance.randrange(1, 10))}"
        f".{chance.randrange(10**5)}"
        for _ in range(20_000)
    ]
    assert numbers(texts) == list(map(float, texts))
    assert math.copysign(1, (numbers(["-0"]) or [-1])[0]) == 1


@pytest.mark.parametrize("decimals", range(14))
def test_numbers_with_as_many_digits_behind_the_point_are_rounded_as_they_should_be(
    decimals: int,
) -> None:
    chance = random.Random(decimals)  # noqa: S311 - a test, no secret
    most = max(1, 14 - decimals - (decimals > 0))
    for digits in range(1, most + 4):  # the longest are not read by their digits
        texts = [f"{chance.randrange(10**digits)}" for _ in range(300)]
        if decimals:
            texts = [f"{text}.{chance.randrange(10**decimals):0{decimals}}" for text in texts]
        assert numbers(texts) == list(map(float, texts))


ODD = ("07.50", "00.50", "7.5", "7.", ".50", "-7.50", "7:50", "7.5e", " 7.50", "7.500", "750",
       "7.5.", "/.50", ":.50")  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", [0, 1, 9])
def test_a_number_of_another_form_is_read_as_msgspec_does(odd: str, place: int) -> None:
    texts = [f"{number}.25" for number in range(5, 15)]
    texts[place] = odd
    expected = None
    with suppress(msgspec.DecodeError):
        expected = [msgspec.json.decode(text, type=float) for text in texts]
    assert numbers(texts) == expected


def test_texts_of_very_different_lengths_do_not_cost_their_product() -> None:
    events = [event(number, labels={}) for number in range(59)]
    assert is_read(written(events))
    events[3] = event(labels={"note": "x" * 490})
    assert not is_read(written([{"metricName": "a", "labels": {}}] * 40 + [
        {"metricName": "a", "labels": {"note": "x" * 490}}]))  # fmt: skip
    outcomes_are_the_same(written(events))
