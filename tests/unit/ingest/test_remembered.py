"""What is remembered is found for its own bytes only, and never more than there is room for."""

from __future__ import annotations

import random

from alertd.ingest.remembered import Remembered


def test_bytes_stand_for_what_was_put_last_for_just_these() -> None:
    source = random.Random(7)  # noqa: S311 - a test, no secret
    known = Remembered[int](1 << 20)
    put: dict[tuple[bytes, object], int] = {}
    found = 0
    for number in range(5_000):
        raw = bytes(source.choices(b"ab", k=source.choice([0, 1, 3, 62, 63, 200])))
        kind = source.choice([None, "a", ("a", 2)])
        if source.random() < 0.5:
            put[raw, kind] = number
            known.put(raw, number, 8, kind)
            assert known.get(raw, kind) == number
        else:
            value = known.get(raw, kind)
            assert value in (None, put.get((raw, kind)))
            found += value is not None
    assert found > 100


def test_one_byte_that_nobody_looked_at_makes_another_string() -> None:
    known = Remembered[str](1 << 20)
    first, second = b"a" * 100, b"a" * 50 + b"b" + b"a" * 49
    known.put(first, "first", 5)
    assert known.get(second) is None
    known.put(second, "second", 6)
    assert known.get(second) == "second"
    assert known.get(first) is None


def test_at_the_bound_all_are_forgotten() -> None:
    known = Remembered[int](6_000)  # one takes 500 bytes besides
    for number in range(9):
        known.put(b"%d" % number * 50, number, 50)
    assert known.get(b"8" * 50) == 8
    for _ in range(50):  # in place of itself it takes no more room
        known.put(b"8" * 50, 8, 50)
    assert known.get(b"0" * 50) == 0
    known.put(b"9" * 500, 9, 50)
    assert known.get(b"9" * 500) == 9
    assert all(known.get(b"%d" % number * 50) is None for number in range(9))


def test_what_is_larger_than_the_bound_is_not_remembered_and_has_nothing_forgotten() -> None:
    known = Remembered[int](6_000)
    known.put(b"a" * 50, 1, 50)
    known.put(b"b" * 5_000, 2, 5_000)
    assert known.get(b"b" * 5_000) is None
    assert known.get(b"a" * 50) == 1
