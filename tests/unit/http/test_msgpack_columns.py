from __future__ import annotations

import math
from array import array
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
from alertd.model import RefusalReason

NOW_US = 1_751_295_600_000_000
MAX_EVENTS = 100
TABLE = [["cpu", {"host": "a"}], ["cpu", {"host": "b"}], ["mem", {}]]


def decoder(registry: SeriesRegistry | None = None) -> EventDecoder:
    registry = SeriesRegistry() if registry is None else registry
    return EventDecoder(registry, max_events=MAX_EVENTS)


def decode(body: bytes) -> Draft:
    return decoder().decode(body, MediaType.MSGPACK, NOW_US)


def columns(**changed: Any) -> dict[str, Any]:
    """Return four events as plain arrays; a column that is changed to None is left out."""
    sent = {
        "series": TABLE,
        "seriesIndex": [0, 1, 2, 0],
        "timestamp": [NOW_US - 3, NOW_US - 2, NOW_US - 1, NOW_US],
        "value": [1.5, 2, -3.25, 4],
    } | changed
    return {name: column for name, column in sent.items() if column is not None}


def as_bytes(typecode: str, numbers: list[Any]) -> bytes:
    return array(typecode, numbers).tobytes()


def test_events_in_columns_are_the_events_of_their_rows() -> None:
    registry = SeriesRegistry()
    plain = columns(id=["x", None, "y", "z"])
    packed = plain | {
        "seriesIndex": as_bytes("I", plain["seriesIndex"]),
        "timestamp": as_bytes("q", plain["timestamp"]),
        "value": as_bytes("d", plain["value"]),
    }
    rows = [
        {
            "metricName": TABLE[index][0],
            "labels": TABLE[index][1],
            "timestamp": time_us / 1e6,
            "value": value,
        }
        | ({} if given is None else {"id": given})
        for index, time_us, value, given in zip(
            *(plain[name] for name in ("seriesIndex", "timestamp", "value", "id")), strict=True
        )
    ]
    drafts = [
        decoder(registry).decode(msgpack.packb(form), MediaType.MSGPACK, NOW_US)
        for form in (plain, packed, rows)
    ]
    for draft in drafts:
        assert list(draft.series_ids) == [0, 1, 2, 0]
        assert list(draft.times_us) == plain["timestamp"]
        assert list(draft.values) == plain["value"]
        assert draft.ids == plain["id"]
        assert not draft.refused


def test_the_order_of_the_columns_does_not_matter() -> None:
    draft = decode(msgpack.packb(dict(reversed(columns().items()))))
    assert len(draft.series_ids) == 4


def test_a_bad_event_is_named_in_its_column_and_the_others_are_kept() -> None:
    body = columns(
        value=[1, math.nan, 3, math.inf], seriesIndex=[0, 1, 7, 2], id=["", "b", "c", "d" * 201]
    )
    draft = decode(msgpack.packb(body))
    assert [problem.path for problem in draft.problems] == [
        "/id/0",
        "/value/1",
        "/seriesIndex/2",
        "/value/3",
        "/id/3",
    ]
    assert draft.rejected == 4
    good = decode(msgpack.packb(columns(value=[1, math.nan, 3, 4])))
    assert (list(good.series_ids), list(good.values)) == ([0, 2, 0], [1, 3, 4])
    assert good.indexes == [0, 2, 3]


def test_a_bad_series_is_named_once_and_costs_its_own_events() -> None:
    table = [["two words", {}], ["cpu", {"a": "x" * 1001}], ["mem", {}]]
    draft = decode(msgpack.packb(columns(series=table)))
    assert [problem.path for problem in draft.problems] == ["/series/0", "/series/1"]
    words = [problem.message for problem in draft.problems]
    assert words[0].startswith("metricName must be")
    assert words[1].startswith("labels/a has 1001 characters")
    assert draft.rejected == 3
    assert list(draft.values) == [-3.25]


def test_tables_that_look_alike_are_told_apart() -> None:
    registry = SeriesRegistry()
    taking = decoder(registry)
    for host in "abab":
        draft = taking.decode(
            msgpack.packb(columns(series=[["cpu", {"host": host}]], seriesIndex=[0] * 4)),
            MediaType.MSGPACK,
            NOW_US,
        )
        assert {registry.get(number).labels for number in draft.series_ids} == {(("host", host),)}


def test_a_series_beyond_the_bound_is_refused_and_may_come_again() -> None:
    registry = SeriesRegistry(max_series=2)
    body = msgpack.packb(columns())
    for _ in range(2):  # a table with a refused series is not remembered
        draft = decoder(registry).decode(body, MediaType.MSGPACK, NOW_US)
        assert len(draft.series_ids) == 3
        (refused,) = draft.refused
        assert refused.reason is RefusalReason.SERIES_LIMIT
        assert refused.path == "/series/2"


def test_a_table_that_comes_again_stands_for_the_same_series() -> None:
    registry = SeriesRegistry()
    one = decoder(registry)
    first, again = (
        one.decode(msgpack.packb(columns()), MediaType.MSGPACK, NOW_US) for _ in range(2)
    )
    assert first.series_ids == again.series_ids
    other = columns(series=TABLE[::-1])
    turned = one.decode(msgpack.packb(other), MediaType.MSGPACK, NOW_US)
    assert list(turned.series_ids) == [2, 1, 0, 2]
    assert len(registry) == 3


def test_columns_without_events_are_an_empty_request() -> None:
    draft = decode(msgpack.packb(columns(series=[], seriesIndex=[], timestamp=[], value=[])))
    assert len(draft.series_ids) == 0


BAD_COLUMNS = {
    "missing": (columns(value=None), "value"),
    "unknown": (columns(values=[]), "values"),
    "of another length": (columns(value=[1]), "value has 1"),
    "ids of another length": (columns(id=["a"]), "id has 1"),
    "not whole": (columns(timestamp=b"1234567"), "7 bytes are no whole number"),
    "negative": (columns(seriesIndex=[0, -1, 2, 0]), "seriesIndex"),
    "fractions": (columns(timestamp=[1.5, 2, 3, 4]), "timestamp"),
    "text": (columns(value=["1", 2, 3, 4]), "value"),
    "beyond 64 bits": (columns(timestamp=[2**63, 2, 3, 4]), "timestamp"),
    "a table of names": (columns(series=["cpu", "cpu", "cpu"]), "/series"),
    "labels that are numbers": (columns(series=[["cpu", {"a": 1}]]), "/series"),
}


@pytest.mark.parametrize(("sent", "says"), BAD_COLUMNS.values(), ids=BAD_COLUMNS.keys())
def test_columns_that_are_no_events_are_refused_whole(sent: dict[str, Any], says: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(msgpack.packb(sent))
    assert says in str(caught.value.problems[0].message)


def test_too_many_events_or_series_are_refused_whole() -> None:
    many = MAX_EVENTS + 1
    long = columns(seriesIndex=[0] * many, timestamp=[NOW_US] * many, value=[1.0] * many)
    for sent in (long, columns(series=[["cpu", {}]] * many)):
        with pytest.raises(TooManyEvents):
            decode(msgpack.packb(sent))


COLUMN = st.one_of(
    st.binary(max_size=24), st.lists(st.one_of(st.integers(), st.floats()), max_size=3)
)


@given(
    st.fixed_dictionaries(
        {"series": st.one_of(st.just(TABLE), COLUMN)}
        | dict.fromkeys(("seriesIndex", "timestamp", "value"), COLUMN)
    )
)
def test_any_columns_are_decoded_or_refused(sent: dict[str, Any]) -> None:
    try:
        draft = decode(msgpack.packb(sent))
    except (InvalidInput, OverflowError):  # msgpack itself packs no number beyond 64 bits
        return
    assert all(map(math.isfinite, draft.values))
    assert len(draft.series_ids) == len(draft.times_us) == len(draft.values)
