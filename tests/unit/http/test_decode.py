from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.http.decode import EventDecoder, MediaType
from alertd.http.event_input import MAX_PROBLEMS, TooManyEvents
from alertd.http.strict import Undecodable
from alertd.ingest.intake import Draft
from alertd.ingest.series import SeriesRegistry

RECEIVED_US = 1_751_295_600_000_000
MAX_EVENTS = 5000


def decode(
    body: bytes, media_type: MediaType = MediaType.JSON, registry: SeriesRegistry | None = None
) -> Draft:
    registry = SeriesRegistry() if registry is None else registry
    return EventDecoder(registry, max_events=MAX_EVENTS).decode(body, media_type, RECEIVED_US)


BAD_EVENTS: list[tuple[bytes, str, str]] = [
    (b'{"value": 1}', "/metricName", "is required"),
    (b'{"metricName": 5}', "/metricName", "must be a string, not a number"),
    (b'{"metricName": ""}', "/metricName", "1 to 200 characters"),
    (b'{"metricName": "two words"}', "/metricName", "without spaces"),
    (b'{"metricName": "m", "value": "1"}', "/value", "must be a number, not a string"),
    (b'{"metricName": "m", "value": true}', "/value", "must be a number, not true"),
    (b'{"metricName": "m", "value": null}', "/value", "must be a number, not null"),
    (b'{"metricName": "m", "value": NaN}', "/value", "finite"),
    (b'{"metricName": "m", "value": -Infinity}', "/value", "finite"),
    (b'{"metricName": "m", "value": 1e999}', "/value", "finite"),
    (b'{"metricName": "m", "value": 18446744073709551616}', "/value", "1.8446744073709552e+19"),
    (b'{"metricName": "m", "value": -9223372036854775809}', "/value", "as a float"),
    (b'{"metricName": "m", "value": ' + b"9" * 5000 + b"}", "/value", "finite"),
    (b'{"metricName": "m", "timestamp": 1751295600123}', "/timestamp", "1751295600.123"),
    (b'{"metricName": "m", "timestamp": true}', "/timestamp", "must be a number or a string"),
    (b'{"metricName": "m", "timestamp": "noon"}', "/timestamp", "RFC 3339"),
    (b'{"metricName": "m", "valu": 1}', "/valu", "did you mean 'value'?"),
    (b'{"metricName": "m", "metric_name": "n"}', "/metric_name", "did you mean 'metricName'?"),
    (b'{"metricName": "m", "id": 5}', "/id", "must be a string"),
    (b'{"metricName": "m", "id": ""}', "/id", "1 to 200"),
    (b'{"metricName": "m", "id": "' + b"x" * 201 + b'"}', "/id", "1 to 200"),
    (b'{"metricName": "m", "id": "\\ud800"}', "/id", "lone surrogate"),
    (b'{"metricName": "\xff"}', "/metricName", "not UTF-8"),
    (b'{"metricName": "m", "labels": []}', "/labels", "must be an object, not an array"),
    (b'{"metricName": "m", "labels": null}', "/labels", "must be an object, not null"),
    (b'{"metricName": "m", "labels": {"a/b": 1}}', "/labels/a~1b", "must be a string"),
    (b'{"metricName": "m", "labels": {"a": "\\udfff"}}', "/labels/a", "lone surrogate"),
    (b'{"metricName": "m", "labels": {"a": "\xc3"}}', "/labels/a", "not UTF-8"),
    (b'{"metricName": "m", "labels": {"\\ud800": "a"}}', "/labels/\\ud800", "lone surrogate"),
    (
        b'{"metricName": "m", "labels": ' + b"[" * 300 + b"]" * 300 + b"}",
        "/labels",
        "must be an object",
    ),
    (b"5", "", "must be an object, not a number"),
    (b"null", "", "must be an object, not null"),
    (b"[]", "", "must be an object, not an array"),
]


@pytest.mark.parametrize(("event", "path", "says"), BAD_EVENTS)
def test_one_bad_event_among_a_thousand_is_named_and_its_neighbours_are_kept(
    event: bytes, path: str, says: str
) -> None:
    good = [json.dumps({"metricName": "m", "value": n}).encode() for n in range(1000)]
    good[17] = event
    for body, media_type in (
        (b"[" + b", ".join(good) + b"]", MediaType.JSON),
        (b"\n".join(good), MediaType.NDJSON),
    ):
        draft = decode(body, media_type)
        assert list(draft.values) == [float(n) for n in range(1000) if n != 17]
        assert draft.indexes == [n for n in range(1000) if n != 17]
        assert draft.rejected == 1
        (problem,) = draft.problems
        assert problem.path == f"/17{path}"
        assert says in problem.message


def test_a_bare_event_has_paths_without_an_index() -> None:
    draft = decode(b'{"metricName": "m", "value": "x"}')
    assert draft.place("/value", 0) == "/value"
    assert [problem.path for problem in draft.problems] == ["/value"]


def test_every_mistake_of_an_event_is_reported() -> None:
    draft = decode(b'[{"value": "1", "timestamp": [], "id": 5, "labels": {"a": 1}, "x": 0}]')
    paths = [problem.path for problem in draft.problems]
    assert sorted(paths) == [
        "/0/id",
        "/0/labels/a",
        "/0/metricName",
        "/0/timestamp",
        "/0/value",
        "/0/x",
    ]
    assert draft.rejected == 1


def test_of_an_event_with_a_hundred_thousand_mistakes_a_few_are_reported() -> None:
    members = ",".join(f'"field{number}":1' for number in range(100_000))
    draft = decode(f"{{{members}}}".encode())
    assert (draft.rejected, len(draft.problems)) == (1, MAX_PROBLEMS)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b"junk", "must be an event"),
        (b'"text"', "must be an event"),
        (b'[{"metricName": "m"}', "expected ',' or ']'"),
        (b'[{"metricName": "m"}] x', "more follows the array"),
        (b'[{"metricName": "m"},]', "not valid JSON"),
        (b"[", "not valid JSON"),
        (b'{"metricName": "m"', "not valid JSON"),
        (b'{"metricName": "m"}\n{"metricName": "m"}', "application/x-ndjson"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"labels": ' * 100_000, "nested too deeply"),
        ('[{"metricName": "m"}]'.encode("utf-16"), "UTF-16"),
        ('[{"metricName": "m"}]'.encode("utf-16-be"), "UTF-16"),
        ('[{"metricName": "m"}]'.encode("utf-32-le"), "UTF-16 or UTF-32"),
    ],
)
def test_what_is_no_json_is_refused_as_a_whole(body: bytes, says: str) -> None:
    with pytest.raises(Undecodable, match=says):
        decode(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"", "empty"), (b"\n \n", "empty"), (b"junk\nmore", "no line is a JSON object")],
)
def test_ndjson_without_a_readable_line_is_refused_as_a_whole(body: bytes, says: str) -> None:
    with pytest.raises(Undecodable, match=says):
        decode(body, MediaType.NDJSON)


def test_ndjson_skips_blank_lines_and_sets_a_torn_one_aside() -> None:
    body = b'{"metricName": "m", "value": 1}\r\n\n  \n{"metricNa\n{"metricName": "m", "value": 3}\n'
    draft = decode(body, MediaType.NDJSON)
    assert list(draft.values) == [1.0, 3.0]
    assert draft.indexes == [0, 2]
    assert [problem.path for problem in draft.problems] == ["/1"]


def test_ndjson_takes_one_event_a_line_and_no_other_layout() -> None:
    two_on_one_line = b'{"metricName": "m"} {"metricName": "m"}'
    one_on_two_lines = b'{"metricName":\n"m"}'
    for body in (two_on_one_line, one_on_two_lines):
        with pytest.raises(Undecodable):
            decode(body, MediaType.NDJSON)


def test_the_absent_has_its_default() -> None:
    registry = SeriesRegistry()
    draft = decode(
        b'[{"metricName": "m"}, {"metricName": "m", "timestamp": null}]', registry=registry
    )
    assert list(draft.times_us) == [RECEIVED_US, RECEIVED_US]
    assert list(draft.values) == [1.0, 1.0]
    assert draft.ids is None
    assert registry.get(draft.series_ids[0]).labels == ()
    assert len(decode(b"[]").values) == 0


def test_a_byte_order_mark_is_no_obstacle() -> None:
    assert len(decode('[{"metricName": "m"}]'.encode("utf-8-sig")).values) == 1


def test_a_large_float_is_a_value() -> None:
    draft = decode(b'[{"metricName": "m", "value": 1e300}, {"metricName": "m", "value": -2e19}]')
    assert list(draft.values) == [1e300, -2e19]
    assert not draft.problems


def test_too_many_events_are_refused_with_the_setting_to_raise() -> None:
    fine = b'{"metricName": "m"}'
    for event in (fine, b"0"):
        for body, media_type in (
            (b"[" + b",".join([event] * (MAX_EVENTS + 1)) + b"]", MediaType.JSON),
            (b"\n".join([event] * (MAX_EVENTS + 1)), MediaType.NDJSON),
        ):
            with pytest.raises(TooManyEvents, match=r"server\.max_events_per_request"):
                decode(body, media_type)
    assert len(decode(b"[" + b",".join([fine] * MAX_EVENTS) + b"]").values) == MAX_EVENTS


def test_a_full_registry_refuses_new_series_and_keeps_events_of_known_ones() -> None:
    registry = SeriesRegistry(max_series=1)
    draft = decode(
        b'[{"metricName": "a"}, {"metricName": "b"}, {"metricName": "a"}]', registry=registry
    )
    assert len(draft.values) == 2
    assert [problem.path for problem in draft.problems] == ["/1/labels"]


_label_text = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=5
)
_events = st.fixed_dictionaries(
    {"metricName": st.sampled_from(["m", "n"])},
    optional={
        "value": st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-99, 99)),
        "timestamp": st.one_of(
            st.none(),
            st.integers(-(10**11), 10**11),
            st.floats(-1e11, 1e11),
            st.just("2025-06-30T15:00:00.123456789+02:00"),
        ),
        "labels": st.dictionaries(_label_text, st.text(st.characters(codec="utf-8")), max_size=3),
        "id": st.one_of(st.none(), st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)),
    },
)


@given(st.lists(_events, min_size=1, max_size=5), st.booleans())
def test_events_are_the_same_whether_or_not_a_neighbour_is_bad(
    events: list[dict[str, Any]], ascii_only: bool
) -> None:
    registry = SeriesRegistry()
    lines = [json.dumps(event, ensure_ascii=ascii_only).encode() for event in events]
    alone = decode(b"[" + b",".join(lines) + b"]", registry=registry)
    with_bad = decode(b"[" + b",".join([*lines, b"0"]) + b"]", registry=registry)
    as_lines = decode(b"\n".join(lines), MediaType.NDJSON, registry=registry)
    assert not alone.problems
    assert len(with_bad.problems) == 1
    for other in (with_bad, as_lines):
        assert other.series_ids == alone.series_ids
        assert other.times_us == alone.times_us
        assert other.values == alone.values
        assert other.ids == alone.ids
