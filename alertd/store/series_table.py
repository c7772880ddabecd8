"""Finding series by metric and labels, and what has been stored of each.

Owns reading the table ``series`` for people. Its totals are of folded events (``segments.py``);
those that were folded just now and those in the log are added here, in the same read transaction,
so every event counts once wherever it is and after it has gone. Leaves writing to those who append
and fold.

Cost: a walk over the series of one metric (about 1 µs each, 3 µs where the labels may match), and
for totals one over the entries of the log (about 50 ns an event, 150 where it is one of those).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import apsw
import msgspec
from msgspec import Struct

from alertd.model import Series
from alertd.store.entry_codec import decode_chosen
from alertd.store.envelope import BadEntry
from alertd.store.event_reads import Wanted
from alertd.store.failures import corrupt
from alertd.store.readers import Readers
from alertd.store.segments import ALL, folded_position, uncounted_blocks

CHUNK_SERIES: Final = 20_000
"""So many series are looked at in one read transaction, some 20 ms."""

SELECT_SERIES: Final = "SELECT id, metric_name, labels FROM series"
_FROM_US: Final = -(2**63)
_UNTIL_US: Final = 2**63 - 1

_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


class SeriesFilter(Struct, frozen=True, kw_only=True):
    """Which series are meant: those for which everything holds that is given."""

    metric_name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Each label has this value; a label that a series lacks is the empty string."""

    def admits(self, labels: Iterable[tuple[str, str]]) -> bool:
        """Return whether a series of the right metric with these labels is meant."""
        if not self.labels:
            return True
        present = dict(labels)
        return all(present.get(name, "") == value for name, value in self.labels)


class Totals(Struct):
    """How many events there are of a series, and the least and the greatest of their times."""

    count: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def add(self, count: int, first_us: int, last_us: int) -> None:
        """Add events whose times are between ``first_us`` and ``last_us``."""
        self.count += count
        self.first_us = first_us if self.first_us is None else min(first_us, self.first_us)
        self.last_us = last_us if self.last_us is None else max(last_us, self.last_us)


class SeriesChunk(NamedTuple):
    """Series that are meant."""

    found: list[Series]
    through: int | None
    """The number behind which to go on; None if there are no more."""


class SeriesFinder:
    """Finds the series that a query is about, and their names again."""

    def __init__(self, readers: Readers, path: str) -> None:
        self._readers = readers
        self._path = path

    async def numbers(self, wanted: SeriesFilter) -> list[int]:
        """Return the numbers of all series that are meant, ascending."""
        numbers: list[int] = []
        after: int | None = -1
        while after is not None:
            find = partial(find_series, self._path, wanted, after)
            found, after = await self._readers.run("find series", find)
            numbers += [series.id for series in found]
        return numbers

    async def named(self, numbers: Collection[int]) -> dict[int, Series]:
        """Return the series of these numbers, by number."""
        if not numbers:
            return {}
        return await self._readers.run(
            "read the series", partial(_read_series, self._path, numbers)
        )


def find_series(
    path: str,
    wanted: SeriesFilter,
    after: int,
    connection: apsw.Connection,
    limit: int | None = None,
) -> SeriesChunk:
    """Return the series behind number ``after``, by number, up to ``limit`` of them.

    Looks at ``CHUNK_SERIES`` at most. Raises ``StoreCorrupt`` for one that does not decode.
    """
    members = [_member(*label) for label in wanted.labels if label[1]]
    has_members = " AND ".join(["instr(labels, ?)"] * len(members)) or "TRUE"
    source, of_metric = "", []
    if wanted.metric_name is not None:
        source, of_metric = (
            "INDEXED BY series_by_metric WHERE metric_name = ?",
            [wanted.metric_name],
        )
    rows = connection.execute(
        f"SELECT id, metric_name, iif({has_members}, labels, NULL) FROM series {source} "  # noqa: S608  # constants
        f"{'AND' if source else 'WHERE'} id > ? ORDER BY id LIMIT ?",
        (*members, *of_metric, after, CHUNK_SERIES),
    ).fetchall()
    found: list[Series] = []
    for series in decoded(path, (row for row in rows if row[2] is not None)):
        if not wanted.admits(series.labels):
            continue
        if len(found) == limit:
            return SeriesChunk(found, found[-1].id)
        found.append(series)
    through = int(rows[-1][0]) if len(rows) == CHUNK_SERIES else None  # type: ignore[arg-type]
    return SeriesChunk(found, through)


def read_metric_names(connection: apsw.Connection) -> list[str]:
    """Return the names of all metrics, sorted. Cost: a walk over an index of all series."""
    names = connection.execute("SELECT DISTINCT metric_name FROM series ORDER BY metric_name")
    return [name for (name,) in names]


def _member(name: str, value: str) -> str:
    """Return how a label stands in the column ``labels``, as ``event_log.py`` encoded it.

    What has it may have it as a part of something else; what does not, does not have the label.
    """
    return msgspec.json.encode({name: value}).decode()[1:-1]


def _read_series(
    path: str, numbers: Collection[int], connection: apsw.Connection
) -> dict[int, Series]:
    rows = connection.execute(
        f"{SELECT_SERIES} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608  # a constant
        (msgspec.json.encode(list(numbers)).decode(),),
    )
    return {series.id: series for series in decoded(path, rows)}


def read_totals(
    path: str, numbers: Collection[int], connection: apsw.Connection
) -> dict[int, Totals]:
    """Return the totals of the series of these numbers. Raises ``StoreCorrupt``."""
    totals = {
        number: Totals(count, first_us, last_us)
        for number, count, first_us, last_us in connection.execute(
            "SELECT id, event_count, first_us, last_us FROM series "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(list(numbers)).decode(),),
        )
    }
    for block in uncounted_blocks(ALL, connection):
        from alertd.store.segment_reads import totals_of  # needs NumPy

        for number, count, first_us, last_us in totals_of(block, path):
            if number in totals:
                totals[number].add(count, first_us, last_us)
    wanted = Wanted.of(numbers, _FROM_US, _UNTIL_US)
    for position, body in connection.execute(
        "SELECT position, body FROM event_log WHERE kind = 'events' AND position > ?",
        (folded_position(connection),),
    ):
        try:
            batch = decode_chosen(body, 0, wanted.places)
        except BadEntry as error:
            raise corrupt(path, f"event_log entry {position}: {error}") from error
        if batch is not None:
            for number, time_us in zip(batch.series_ids, batch.times_us, strict=True):
                totals[number].add(1, time_us, time_us)
    return totals


# Any: a row as SQLite gives it; the tables are STRICT, so each column has its type.
def decoded(path: str, rows: Iterable[Sequence[Any]]) -> Iterator[Series]:
    """Yield what rows of ``SELECT_SERIES`` stand for. Raises ``StoreCorrupt``."""
    for number, metric_name, labels in rows:
        try:
            pairs = sorted(_decode_labels(labels).items())
        except msgspec.MsgspecError as error:
            raise corrupt(path, f"series {number}: {error}") from error
        yield Series(number, metric_name, tuple(pairs))
