"""Pages of stored events are what a sorted filter over the whole log would give, cut in pieces."""

from __future__ import annotations

import random
from array import array
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec
import pytest

from alertd.errors import InvalidInput
from alertd.model import EventBatch, Series
from alertd.store import cursor, event_pages, series_table
from alertd.store.event_pages import EventQuery, SeriesQuery, SeriesTotals, StoredEvent
from alertd.store.failures import StoreCorrupt
from alertd.store.history import Page
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import START_US

LABEL_SETS = (
    (("host", "a"),),
    (("host", "b"),),
    (("host", "a"), ("zone", "1")),
    (("a.b", 'quo"te'),),
    (),
)
ALL_SERIES = [
    Series(number, metric, labels)
    for number, (metric, labels) in enumerate(
        (metric, labels) for metric in ("cpu", "errors") for labels in LABEL_SETS
    )
]


class Kept(NamedTuple):
    """An event with its place in the order that pages are to have."""

    time_us: int
    position: int
    place: int
    event: StoredEvent


async def append(store: Store, bodies: list[EventBatch]) -> list[Kept]:
    first = await store.events.append(bodies, [])
    return [
        Kept(
            body.times_us[place],
            position,
            place,
            StoredEvent(
                series=ALL_SERIES[body.series_ids[place]],
                time_us=body.times_us[place],
                value=body.values[place],
                id=None if body.ids is None else body.ids[place],
                received_us=body.received_us,
            ),
        )
        for position, body in enumerate(bodies, start=first)
        for place in range(len(body))
    ]


def random_bodies(choose: random.Random, *, around_us: int, number: int = 5) -> list[EventBatch]:
    """Return batches of shuffled and repeated times, most of them near ``around_us``."""
    bodies = []
    for _ in range(number):
        size = choose.choice((1, 2, 30))
        center = choose.choice((around_us, around_us, choose.randrange(1000)))
        ids = tuple(choose.choice((None, "a", "é")) for _ in range(size))
        bodies.append(
            EventBatch(
                received_us=START_US + around_us,
                series_ids=array("I", choose.choices(range(len(ALL_SERIES)), k=size)),
                times_us=array("q", [center + choose.randrange(12) for _ in range(size)]),
                values=array("d", [choose.random() for _ in range(size)]),
                ids=ids if any(ids) else None,
            )
        )
    return bodies


def means(query: EventQuery, kept: Kept) -> bool:
    series, labels = kept.event.series, dict(kept.event.series.labels)
    return (
        query.metric_name in (None, series.metric_name)
        and all(labels.get(name, "") == value for name, value in query.labels)
        and (query.from_us is None or kept.time_us >= query.from_us)
        and (query.to_us is None or kept.time_us < query.to_us)
    )


def in_order(query: EventQuery, log: list[Kept]) -> list[StoredEvent]:
    return [kept.event for kept in sorted(log) if means(query, kept)]


def random_query(choose: random.Random) -> EventQuery:
    from_us, to_us = choose.choice(((None, None), (300, 600), (0, 10_000), (700, 700), (None, 500)))
    return EventQuery(
        metric_name=choose.choice((None, "cpu", "errors", "none")),
        labels=choose.choice(
            (
                (),
                (("host", "a"),),
                (("host", "a"), ("zone", "")),
                (("host", "a"), ("host", "b")),
                (("a.b", 'quo"te'),),
                (("none", ""),),
            )
        ),
        from_us=from_us,
        to_us=to_us,
        limit=choose.choice((1, 2, 7, 1000)),
    )


@pytest.fixture(autouse=True, params=[False, True], ids=["usual", "tiny slices"])
def slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every law holds whatever the slices are that the store is read in."""
    if request.param:
        monkeypatch.setattr(event_pages, "FIRST_SLICE_US", 3)
        monkeypatch.setattr(event_pages, "SLICE_EVENTS", 8)
        monkeypatch.setattr(event_pages, "SLICE_PAGES", 2)
        monkeypatch.setattr(series_table, "CHUNK_SERIES", 3)


@pytest.mark.parametrize("seed", range(3))
async def test_all_pages_together_are_the_events_in_time_order(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)  # noqa: S311  # repeatable
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES)
        log: list[Kept] = []
        for number in range(20):
            log += await append(store, random_bodies(choose, around_us=number * 50))
        for _ in range(15):
            await store.folding.fold(choose.choice((0, 0, 40)))
            query = random_query(choose)
            shown: list[StoredEvent] = []
            goes_on: str | None = None
            for _ in range(len(log) + 1):
                page = await store.pages.events(msgspec.structs.replace(query, cursor=goes_on))
                shown += page.items
                goes_on = page.next_cursor
                if goes_on is None:
                    break
                assert len(page.items) == query.limit
            assert goes_on is None
            assert shown == in_order(query, log)


@pytest.mark.parametrize("seed", range(3))
async def test_events_that_come_between_two_pages_repeat_none_and_hide_none(
    tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311  # repeatable
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES)
        log = await append(store, random_bodies(choose, around_us=500, number=20))
        at_first = in_order(EventQuery(), log)
        shown: list[StoredEvent] = []
        goes_on: str | None = None
        for _ in range(1000):
            page = await store.pages.events(EventQuery(limit=9, cursor=goes_on))
            shown += page.items
            goes_on = page.next_cursor
            if goes_on is None:
                break
            if len(log) < 2000:
                around_us = choose.choice((0, 500, 1000))
                log += await append(store, random_bodies(choose, around_us=around_us, number=1))
        everything = in_order(EventQuery(), log)
        assert is_subsequence(at_first, shown)
        assert is_subsequence(shown, everything)


def is_subsequence(some: list[StoredEvent], everything: list[StoredEvent]) -> bool:
    rest = iter(everything)
    return all(event in rest for event in some)


@pytest.mark.parametrize(
    "text", ["", "x", "é", "MA", cursor.encode(1, 2, 3), cursor.encode(1, -1, 0, 1), "A" * 1000]
)
async def test_a_cursor_from_elsewhere_is_refused_by_name(tmp_path: Path, text: str) -> None:
    async with open_store(tmp_path / "a.db") as store:
        with pytest.raises(InvalidInput) as refusal:
            await store.pages.events(EventQuery(cursor=text))
        assert [problem.path for problem in refusal.value.problems] == ["/cursor"]


async def test_a_store_without_events_has_one_empty_page(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db") as store:
        assert await store.pages.events(EventQuery()) == Page((), None)
        assert await store.pages.series(SeriesQuery()) == Page((), None)


async def test_the_totals_of_a_series_are_exact_and_survive_a_restart(tmp_path: Path) -> None:
    choose = random.Random(7)  # noqa: S311  # repeatable
    log: list[Kept] = []
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES)
        for number in range(20):
            log += await append(store, random_bodies(choose, around_us=number * 50))
    async with open_store(tmp_path / "a.db") as store:
        totals: list[SeriesTotals] = []
        goes_on: str | None = None
        for _ in range(100):
            page = await store.pages.series(SeriesQuery(metric_name="cpu", limit=2, cursor=goes_on))
            totals += page.items
            goes_on = page.next_cursor
            if goes_on is None:
                break
    assert [item.series for item in totals] == ALL_SERIES[: len(LABEL_SETS)]
    for item in totals:
        times_us = [kept.time_us for kept in log if kept.event.series == item.series]
        assert item.totals.count == len(times_us)
        assert (item.totals.first_us, item.totals.last_us) == (min(times_us), max(times_us))


async def test_a_series_that_has_no_event_yet_is_listed_without_times(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES[:1])
        (item,) = (await store.pages.series(SeriesQuery())).items
        assert item.totals == series_table.Totals(0, None, None)


async def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    async with open_store(tmp_path / "a.db") as store:
        await store.events.append([], ALL_SERIES)
        choose = random.Random(1)  # noqa: S311  # repeatable
        await append(store, random_bodies(choose, around_us=500, number=3))

        def damage(connection: apsw.Connection) -> None:
            connection.execute("UPDATE event_log SET body = zeroblob(99) WHERE position = 2")

        await store.writer.run("damage an entry", damage)
        with pytest.raises(StoreCorrupt, match="entry 2"):
            await store.pages.events(EventQuery())
        with pytest.raises(StoreCorrupt, match="entry 2"):
            await store.pages.series(SeriesQuery())
