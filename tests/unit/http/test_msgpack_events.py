from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.errors import InvalidInput
from alertd.http.decode import EventDecoder, MediaType
from alertd.http.event_input import TooManyEvents
from alertd.http.strict import Undecodable
from alertd.ingest.intake import Draft
from alertd.ingest.series import SeriesRegistry

RECEIVED_US = 1_751_295_600_000_000
MAX_EVENTS = 100


def decode(
    body: bytes,
    media_type: MediaType = MediaType.MSGPACK,
    registry: SeriesRegistry | None = None,
) -> Draft:
    registry = SeriesRegistry() if registry is None else registry
    return EventDecoder(registry, max_events=MAX_EVENTS).decode(body, media_type, RECEIVED_US)


def columns_of(draft: Draft) -> tuple[object, ...]:
    return draft.series_ids, draft.times_us, draft.values, draft.ids


FIELDS = st.fixed_dictionaries(
    {"metricName": st.sampled_from(["m", "n", "", "two words", 5])},
    optional={
        "timestamp": st.sampled_from(
            [1_751_295_600, 1_751_295_600.25, "2025-06-30T15:00:00.5Z", "noon", None, True]
        ),
        "value": st.one_of(
            st.floats(-1e9, 1e9), st.integers(-5, 2**64 - 1), st.just("1"), st.none()
        ),
        "labels": st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "é", 1])),
        "id": st.sampled_from(["one", "two", "", 7]),
        "valu": st.just(1),
    },
)


@given(st.lists(st.one_of(FIELDS, st.just([]), st.none()), max_size=5))
def test_events_mean_the_same_in_msgpack_as_in_json(events: list[Any]) -> None:
    packed = decode(msgpack.packb(events))
    written = decode(json.dumps(events).encode(), MediaType.JSON)
    assert columns_of(packed) == columns_of(written)
    assert packed.problems == written.problems
    assert packed.refused == written.refused


def test_one_event_needs_no_array_and_its_paths_no_index() -> None:
    assert len(decode(msgpack.packb({"metricName": "m"})).series_ids) == 1
    draft = decode(msgpack.packb({"metricName": "m", "value": "x"}))
    assert [problem.path for problem in draft.problems] == ["/value"]


BAD_ELEMENTS = {
    "nan": (msgpack.packb({"metricName": "m", "value": float("nan")}), "/value", "finite"),
    "infinite": (msgpack.packb({"metricName": "m", "value": float("-inf")}), "/value", "finite"),
    "a time of msgpack's own": (
        msgpack.packb({"metricName": "m", "timestamp": msgpack.Timestamp(1, 2)}),
        "/timestamp",
        "must be a number or a string",
    ),
    "an extension": (
        msgpack.packb({"metricName": "m", "labels": msgpack.ExtType(5, b"x")}),
        "/labels",
        "must be an object, not a string",
    ),
    "binary": (msgpack.packb({"metricName": b"m"}), "/metricName", "a string, not binary data"),
    "a number for a key": (b"\x81\x05\x01", "", "not a readable map"),
    "binary for a key": (msgpack.packb({b"metricName": "m"}), "", "a key is not a string"),
    "not UTF-8": (b"\x81\xaametricName\xa1\xff", "/metricName", "not UTF-8"),
    "an array inside": (msgpack.packb({"metricName": "m", "labels": [[]]}), "", "not a readable"),
    "nested": (b"\x82\xaametricName\xa1m" + b"\xa1a\x81" * 500 + b"\xa1a\xc0", "/a", "unknown"),
    "a number": (b"\x05", "", "must be an object, not a number"),
}


@pytest.mark.parametrize(
    ("element", "path", "says"), BAD_ELEMENTS.values(), ids=BAD_ELEMENTS.keys()
)
def test_a_bad_element_is_named_and_its_neighbours_are_kept(
    element: bytes, path: str, says: str
) -> None:
    good = msgpack.packb({"metricName": "m", "value": 2})
    draft = decode(b"\x93" + good + element + good)
    assert list(draft.values) == [2, 2]
    assert draft.indexes == [0, 2]
    assert [problem.path for problem in draft.problems] == [f"/1{path}"]
    assert says in draft.problems[0].message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x05",
        b"[]",
        b"\x92\x80",
        b"\x92\x80\xc1",
        b"\x91\x80\x80",
        b"\xdd\xff\xff\xff\xff\x80",
        b"\x91" * 100_000,
        b"\x91" + b"\x81\xa1a" * 2_000 + b"\xc0",
        b"\x81\xa1a",
        b"\x85",
    ],
)
def test_what_is_not_msgpack_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(body)


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    try:
        draft = decode(body)
    except InvalidInput:
        return
    taken = draft.series_ids, draft.times_us, draft.values
    assert len({len(column) for column in taken}) == 1


def test_a_request_of_too_many_events_is_refused_whole() -> None:
    events = [{"metricName": "m"}] * (MAX_EVENTS + 1)
    for body in (msgpack.packb(events), msgpack.packb([*events, None])):
        with pytest.raises(TooManyEvents):
            decode(body)
