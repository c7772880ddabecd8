"""The bytes of a block: what goes in comes out, bit for bit, or a damage is named."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alertd.store.block_codec import Block
from alertd.store.block_encoder import Columns, EncodedValues, encode_block, encode_values
from alertd.store.columns import integers, pack, unpack
from alertd.store.envelope import BadEntry
from alertd.store.runs import Floats, Integers, Runs
from alertd.store.value_codec import RAW, decode_values

I64 = st.integers(-(1 << 63), (1 << 63) - 1)
AWKWARD = (
    *(0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e300),
    *(0.1, 0.2, 0.1 + 0.2, 51.846000000000004, 1 / 3, 1e-9, 123456.789, -0.001, 1e15, 1e22),
    *(float(2**53), float(2**53 + 2), float(2**62), float(2**63), -float(2**62)),
)
FLOATS = st.one_of(
    st.sampled_from(AWKWARD),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-10_000, 10_000, places=3).map(float),
)
IDS = st.sampled_from((None, "", "a", "ä😀", "\ud800", "x" * 300))


class Run(NamedTuple):
    """Events of one series, in the order of the log; the columns have one length, at least 1."""

    series_id: int
    ordinals: Integers
    """Ascending."""
    times_us: Integers
    """In any order."""
    values: Floats
    ids: Sequence[str | None] | None
    """None where no event has one."""

    def __len__(self) -> int:
        return len(self.ordinals)


def run_of(block: Block, number: int) -> Run:
    """Return the run with that number, from 0, out of the columns of ``block``."""
    part = slice(block.runs.starts[number], block.runs.ends[number])
    return Run(
        series_id=int(block.series_ids[number]),
        ordinals=block.ordinals[part],
        times_us=block.times_us[part],
        values=block.values[part],
        ids=None if block.ids is None else block.ids[part],
    )


def encoded(runs: Sequence[Run]) -> bytes:
    """Return the block that has these runs."""
    ids = None
    if any(run.ids is not None for run in runs):
        ids = [each for run in runs for each in run.ids or [None] * len(run)]
    return encode_block(
        Columns(
            series_ids=np.array([run.series_id for run in runs]),
            counts=np.array([len(run) for run in runs]),
            ordinals=np.concatenate([run.ordinals for run in runs]),
            times_us=np.concatenate([run.times_us for run in runs]),
            values=np.concatenate([run.values for run in runs]),
            ids=ids,
        )
    )


def encoded_values(*runs: Sequence[float]) -> EncodedValues:
    starts = [0, *accumulate(map(len, runs))][:-1]
    return encode_values(np.concatenate([np.array(run) for run in runs]), np.array(starts))


def same_bits(one: Integers | Floats, other: Integers | Floats) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """Some runs whose ordinals interleave in any way, at any times."""
    result = []
    for series_id in sorted(draw(st.sets(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=6))):
        size = draw(st.integers(1, 12))
        steps = draw(st.lists(st.integers(1, 1 << 20), min_size=size, max_size=size))
        times = st.one_of(I64, st.integers(0, 10), st.just(0))
        result.append(
            Run(
                series_id=series_id,
                ordinals=np.cumsum(steps),
                times_us=np.array(draw(st.lists(times, min_size=size, max_size=size)), np.int64),
                values=np.array(draw(st.lists(FLOATS, min_size=size, max_size=size))),
                ids=draw(st.none() | st.lists(IDS, min_size=size, max_size=size)),
            )
        )
    return result


@given(runs())
def test_a_block_decodes_to_the_runs_that_it_was_made_of(original: list[Run]) -> None:
    block = Block(encoded(original))
    assert list(block.series_ids) == [run.series_id for run in original]
    assert list(block.runs.counts) == [len(run) for run in original]
    has_ids = any(run.ids is not None for run in original)
    for number, run in enumerate(original):
        decoded = run_of(block, number)
        assert same_bits(decoded.ordinals, run.ordinals)
        assert same_bits(decoded.times_us, run.times_us)
        assert same_bits(decoded.values, run.values)
        if has_ids:
            assert decoded.ids == (run.ids or [None] * len(run))
        else:
            assert decoded.ids is None


@given(st.lists(st.lists(FLOATS, min_size=1, max_size=30), min_size=1, max_size=5))
@example([[0.0, -0.0]])
@example([[1.5, -0.0, 2.5], [-0.0]])
@example([[float(2**62), 1.0]])
@example([[-float(2**62), float(2**62)]])
@example([[-float(2**62 - 512), float(2**62 - 512)]])
@example([[5e-324] * 3, [1.0]])
@example([[1e-9, 1e300], [0.5, 0.25]])
@example([list(AWKWARD)])
@example([[value] for value in AWKWARD])
def test_values_decode_to_the_same_bits(runs: list[list[float]]) -> None:
    found = encoded_values(*runs)
    decoded = decode_values(Runs(np.array(list(map(len, runs)))), *found)
    assert same_bits(decoded, np.concatenate([np.array(run) for run in runs]))


@given(st.integers(0, 6), st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=50))
def test_decimal_fractions_need_no_corrections(decimals: int, digits: list[int]) -> None:
    found = encoded_values([number / 10**decimals for number in digits])
    assert found.decimals[0] <= decimals
    assert not found.corrections.any()


def test_what_a_sender_computed_is_decimal_but_for_the_last_place() -> None:
    found = encoded_values([51.846000000000004, 44.508, 30.88300000000001, 0.3])
    assert found.decimals[0] == 3
    assert found.corrections.any()


def test_values_that_are_no_decimal_fractions_are_raw() -> None:
    choose = random.Random(1)  # noqa: S311 - not a secret
    noise = [choose.gauss(0, 1) for _ in range(9)]
    # In the second run the exception is not among those that are looked at first.
    found = encoded_values(noise, [1.0, 1.0, 1 / 3, *[1.0] * 9], [1.0, 1.5])
    assert list(found.decimals) == [RAW, RAW, 1]


def test_one_value_of_more_digits_than_those_looked_at_makes_the_whole_run_scaled_finer() -> None:
    found = encoded_values([1.0, 1.125, *[1.0] * 9], [2.0] * 20)
    assert list(found.decimals) == [3, 0]


@given(st.lists(st.one_of(I64, st.integers(-300, 300), st.just(0)), min_size=1, max_size=50))
@example([-1])
@example([-1, -1 << 63, (1 << 63) - 1])
@example([0])
@example([127, -128])
def test_a_column_unpacks_to_itself(numbers: list[int]) -> None:
    column = array("q", numbers)
    assert unpack(pack(column), len(column)).tolist() == numbers


def test_small_integers_pay_for_their_low_planes_only() -> None:
    planes = pack(array("q", [choice % 100 for choice in range(5000)]))
    assert [bool(plane) for plane in planes] == [False, True]
    assert pack(array("q", [0] * 5000)) == []


def test_numbers_that_overflow_come_back_when_their_differences_are_added() -> None:
    numbers = [0, (1 << 63) - 1, -(1 << 63), 5]
    steps = integers([b - a for a, b in pairwise(numbers)])
    assert list(integers(list(accumulate(steps, initial=numbers[0])))) == numbers


def regular(series: int, events: int, *, ids: Sequence[str | None] | None = None) -> list[Run]:
    """Return what agents leave that report every series once in ten seconds, in turn."""
    return [
        Run(
            series_id=number,
            ordinals=np.arange(number, number + series * events, series),
            times_us=np.arange(10**15, 10**15 + events * 10_000_000, 10_000_000),
            values=np.array([(number + place) % 7 / 10 for place in range(events)]),
            ids=ids,
        )
        for number in range(series)
    ]


def test_regular_traffic_costs_next_to_nothing() -> None:
    assert len(encoded(regular(series=10, events=800))) < 8000 * 0.1


def damaged(body: bytes, choose: random.Random) -> bytes:
    place = choose.randrange(len(body))
    if choose.random() < 0.5:
        return body[:place]
    changed = bytearray(body)
    changed[place] ^= 1 << choose.randrange(8)
    return bytes(changed)


def test_every_damage_is_noticed() -> None:
    body = encoded(regular(series=3, events=4, ids=("a", None, "ü", "")))
    choose = random.Random(5)  # noqa: S311 - not a secret
    for _ in range(2000):
        with pytest.raises(BadEntry):
            Block(damaged(body, choose))


def test_a_column_that_is_not_what_its_block_says_is_noticed() -> None:
    with pytest.raises(BadEntry, match="plane"):
        unpack(pack(array("q", range(1000))), 999)
    with pytest.raises(BadEntry, match="planes"):
        unpack([b""] * 10, 1)
