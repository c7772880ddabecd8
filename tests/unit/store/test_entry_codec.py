"""The bytes of a log entry."""

from __future__ import annotations

import random

import pytest

from alertd.model import EventBatch
from alertd.store.entry_codec import (
    check_batch,
    decode_batch,
    decode_change,
    encode_batch,
    encode_change,
)
from alertd.store.envelope import BadEntry
from tests.unit.store.store_samples import batch, change, record

IDS = ("a", None, "ä😀", "\ud800")


@pytest.mark.parametrize("ids", [None, IDS])
def test_a_batch_decodes_to_itself(ids: tuple[str | None, ...] | None) -> None:
    original = batch(4, ids=ids)
    assert decode_batch(encode_batch(original), original.received_us) == original


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
