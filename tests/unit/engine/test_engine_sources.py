"""Lists in two columns: what is added to one is found in it, and what is gone makes room."""

from __future__ import annotations

import random

from alertd.engine.sources import EMPTY, Sources


def test_an_empty_list_holds_nothing() -> None:
    assert Sources().take(EMPTY) == []


def test_each_list_holds_what_was_added_to_it_and_is_gone_when_it_was_taken() -> None:
    source = random.Random(1)  # noqa: S311 - the same lists in every run
    sources = Sources()
    places, expected = [EMPTY] * 20, [list[int]() for _ in range(20)]
    for series_id in range(2_000):
        number = source.randrange(20)
        if source.random() < 0.02:
            assert sources.take(places[number]) == expected[number][::-1]
            places[number], expected[number] = EMPTY, []
        places[number] = sources.add(series_id, places[number])
        expected[number].append(series_id)
    assert [list(sources.of(place)) for place in places] == [each[::-1] for each in expected]


def test_the_room_of_lists_that_are_gone_is_used_again() -> None:
    sources = Sources()
    most = 0
    for series_id in range(1_000):
        one, other = sources.add(series_id, EMPTY), sources.add(series_id, EMPTY)
        one = sources.add(series_id + 1, one)
        most = max(most, one, other)
        sources.take(one)
        sources.take(other)
    assert most <= 3
