"""Series: what names them stays bounded, whatever senders write."""

from __future__ import annotations

import pytest

from alertd.errors import InvalidInput
from alertd.ingest import series
from alertd.ingest.series import SeriesRegistry
from alertd.limits import MAX_LABELS


def test_spellings_of_one_label_set_are_one_series() -> None:
    registry = SeriesRegistry()
    spellings = [b'{"a":"1","b":"2"}', b'{"b":"2","a":"1"}', b'{ "a": "\\u0031", "b": "2" }']
    assert {registry.lookup("m", spelling) for spelling in spellings} == {0}


def test_remembered_spellings_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "SPELLING_CACHE_BYTES", 1000)
    registry = SeriesRegistry()
    for spaces in range(100):
        registry.lookup("m", b"{%s}" % (b" " * spaces))
        assert sum(map(len, registry._spellings["m"])) <= 1000
    registry.lookup("m", b"{%s}" % (b" " * 5000))
    registry.lookup("m", b"{}")
    assert {name: list(known) for name, known in registry._spellings.items()} == {"m": [b"{}"]}


def test_remembered_spellings_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "SPELLING_CACHE_SIZE", 10)
    registry = SeriesRegistry()
    for number in range(100):
        registry.lookup(f"m{number % 3}", b'{"a":"%d"}' % number)
        assert sum(map(len, registry._spellings.values())) <= 10


def test_a_column_of_known_and_new_series_is_looked_up_as_one_by_one() -> None:
    registry = SeriesRegistry()
    names, labels = ["a", "b", "a", "a"], [b"{}", b"{}", b'{"x":"1"}', b"{}"]
    for _ in range(2):  # first all are new, then all are known
        assert list(registry.lookup_all(names, labels)) == [0, 1, 2, 0]
    assert list(registry.lookup_all([*names, "c"], [*labels, b"{}"])) == [0, 1, 2, 0, 3]
    with pytest.raises(InvalidInput):
        registry.lookup_all(["a", "a"], [b"{}", b'{"x":1}'])


def test_rows_of_labels_are_looked_up_as_the_labels_that_they_are() -> None:
    registry = SeriesRegistry()
    asked = 0

    def look_up(names: list[str], labels: list[bytes], width: int) -> list[int]:
        def texts() -> list[bytes]:
            nonlocal asked
            asked += 1
            return labels

        rows = b"".join(each.ljust(width, b"\0") for each in labels)
        return list(registry.lookup_rows(names, rows, width, texts))

    labels = [b'{"a":"1"}', b"{}", b'{"a":"1"}']
    for _ in range(3):
        found = look_up(["m"] * 3, labels, 9)
        assert found == list(registry.lookup_all(["m"] * 3, labels)) == [0, 1, 0]
    assert asked == 1
    assert look_up(["n"] * 3, labels, 9) == [2, 3, 2]
    assert look_up(["m", "n", "m"], labels, 9) == [0, 3, 0]
    with pytest.raises(InvalidInput):
        look_up(["m"] * 3, [*labels[:2], b'{"a":5  }'], 9)
    assert look_up(["m"] * 3, labels, 9) == [0, 1, 0]


def test_of_a_million_bad_labels_a_few_are_named() -> None:
    members = b",".join(b'"k%d":1' % number for number in range(10_000))
    with pytest.raises(InvalidInput) as refused:
        SeriesRegistry().lookup("m", b"{%s}" % members)
    assert len(refused.value.problems) == MAX_LABELS
