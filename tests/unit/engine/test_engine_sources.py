"""Lists of series: what was added is listed, in its order, and one number is no list."""

from __future__ import annotations

from alertd.engine.sources import Sources, listed, with_source


def test_nothing_is_listed_of_an_empty_list() -> None:
    assert list(listed(None)) == []


def test_what_was_added_is_listed_in_its_order() -> None:
    sources: Sources = None
    for count, series_id in enumerate((0, 7, 3, 4_294_967_295), start=1):
        sources = with_source(sources, series_id)
        assert list(listed(sources)) == [0, 7, 3, 4_294_967_295][:count]


def test_a_single_series_takes_no_more_than_the_number_that_it_has() -> None:
    series_id = int("1234567")
    assert with_source(None, series_id) is series_id
