"""The bytes of a log entry."""

from __future__ import annotations

import random
from array import array

import pytest

from alertd.arrays import LONG
from alertd.model import EventBatch
from alertd.store.entry_codec import (
    check_batch,
    decode_batch,
    decode_change,
    encode_batch,
    encode_change,
)
from alertd.store.envelope import HEADER_BYTES, BadEntry, seal
from tests.unit.store.store_samples import START_US, batch, change, record

IDS = ("a", None, "ä😀", "\ud800")


@pytest.mark.parametrize("ids", [None, IDS])
def test_a_batch_decodes_to_itself(ids: tuple[str | None, ...] | None) -> None:
    original = batch(4, ids=ids)
    assert decode_batch(encode_batch(original), original.received_us) == original


SECOND_US = 1_000_000


@pytest.mark.parametrize("first_us", [0, START_US, -(1 << 63)])
@pytest.mark.parametrize("span_us", [0, 5 * SECOND_US, (1 << 32) - 1, 1 << 32, 86_400 * SECOND_US])
@pytest.mark.parametrize("greatest_series", [0, 0xFFFF, 1 << 16, 0xFFFF_FFFF])
@pytest.mark.parametrize("ids", [None, IDS])
def test_a_long_batch_decodes_to_itself(
    first_us: int, span_us: int, greatest_series: int, ids: tuple[str | None, ...] | None
) -> None:
    source = random.Random(1)  # noqa: S311 - a test, no secret
    count = 4 * LONG
    original = EventBatch(
        received_us=START_US,
        series_ids=array("I", (source.randint(0, greatest_series) for _ in range(count))),
        times_us=array("q", (first_us + source.randint(0, span_us) for _ in range(count))),
        values=array("d", (source.random() for _ in range(count))),
        ids=None if ids is None else ids * LONG,
    )
    original.series_ids[7] = greatest_series
    original.times_us[5], original.times_us[9] = first_us, first_us + span_us
    body = encode_batch(original)
    assert decode_batch(body, START_US) == original
    if ids is None:
        time_bytes, series_bytes = 8 - 4 * (span_us < 1 << 32), 4 - 2 * (greatest_series < 1 << 16)
        expected = HEADER_BYTES + count * (time_bytes + 8 + series_bytes)
        assert len(body) - expected in (0, 8)


def test_what_was_written_before_columns_were_narrow_decodes() -> None:
    original = batch(4 * LONG)
    columns = (original.times_us, original.values, original.series_ids)
    body = seal(1, 0, len(original), columns)
    assert len(encode_batch(original)) < len(body)
    assert decode_batch(body, original.received_us) == original


def test_what_a_later_alertd_wrote_is_refused() -> None:
    with pytest.raises(BadEntry, match="later"):
        decode_batch(seal(1, 8, 0, []), 0)


def test_a_change_of_the_rules_decodes_to_itself() -> None:
    original = change(record("one"), record("two", for_secs=0.000001), deleted=("x",))
    assert decode_change(encode_change(original)) == original


@pytest.mark.parametrize("ids", [None, IDS])
def test_every_flipped_bit_of_a_batch_is_noticed(ids: tuple[str | None, ...] | None) -> None:
    body = bytearray(encode_batch(batch(4, ids=ids)))
    for bit in range(len(body) * 8):
        body[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadEntry):
            decode_batch(bytes(body), 0)
        body[bit // 8] ^= 1 << bit % 8


def test_every_cut_is_noticed() -> None:
    body = encode_batch(batch(4, ids=IDS))
    for size in range(len(body)):
        with pytest.raises(BadEntry):
            decode_batch(body[:size], 0)


def test_a_flipped_bit_of_a_change_is_noticed() -> None:
    body = bytearray(encode_change(change(record())))
    for bit in random.Random(1).sample(range(len(body) * 8), 500):  # noqa: S311 - not a secret
        body[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadEntry):
            decode_change(bytes(body))
        body[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize(
    "wrong",
    [
        batch(0),
        batch(3, ids=("a",)),
        EventBatch(0, batch(2).series_ids, batch(3).times_us, batch(3).values),
        EventBatch(0, batch(3).times_us, batch(3).times_us, batch(3).values),
    ],
)
def test_a_batch_that_cannot_be_encoded_is_refused_beforehand(wrong: EventBatch) -> None:
    with pytest.raises(ValueError, match="batch"):
        check_batch(wrong)
