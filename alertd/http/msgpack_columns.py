"""Events in columns: the cheapest way in, for senders that have many.

    {"series": [[metricName, {labels}], ...], "seriesIndex": [...], "timestamp": [...],
     "value": [...], "id": [...]}

Owns this form. ``seriesIndex`` (u32) says where in ``series`` an event's series stands,
``timestamp`` (i64) is in microseconds since the epoch, ``value`` is f64; each is a msgpack array
or ``bin`` of little-endian numbers. ``id`` (strings or nil) may be left out. All columns have one
length.

What is wrong with one event is said at ``/value/17``, with one series at ``/series/3`` for the
first of its events; the others go on. Columns that do not fit each other are no events at all.

Cost: about 0.02 us an event of 5,000, three times that of 1,000. A sender's table of series is the
same in request after request, so its bytes are remembered with what they stand for, at most
``_REMEMBERED_BYTES`` of them.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress
from math import isfinite
from typing import Final, Literal

import msgspec
from msgspec import Struct

from alertd.arrays import are_finite, picked
from alertd.errors import InvalidInput, Overloaded, Problem
from alertd.http.event_input import ID_REMEDY, SeriesLookup, TooManyEvents, ids_are_valid
from alertd.http.strict import Undecodable
from alertd.ingest.intake import Draft, in_columns
from alertd.ingest.remembered import Remembered
from alertd.limits import Limit
from alertd.model import RefusalReason

_REMEMBERED_BYTES: Final = 32 << 20
_WIDTH: Final = {"I": 4, "q": 8, "d": 8}

_Column = memoryview | list[int]


class Columns(Struct, rename="camel", forbid_unknown_fields=True):
    """Many events, column by column. All columns but ``series`` have one length."""

    series: msgspec.Raw
    """An array of ``[metricName, {labels}]``."""
    series_index: _Column
    """Where in ``series`` each event's series stands: an array, or ``bin`` of little-endian u32."""
    timestamp: _Column
    """Microseconds since the epoch: an array, or ``bin`` of little-endian i64."""
    value: memoryview | list[float]
    """Finite numbers: an array, or ``bin`` of little-endian f64."""
    id: list[str | None] | None = None
    """The senders' ids, null for an event without one."""


_decode_columns = msgspec.msgpack.Decoder(Columns).decode
_decode_table = msgspec.msgpack.Decoder(list[tuple[str, dict[str, str]]]).decode


class _Table(Struct, frozen=True):
    """What the entries of a series table stand for."""

    numbers: array[int]
    """Series numbers, typecode ``I``; 0 for an entry that is refused."""
    refusals: dict[int, tuple[RefusalReason, list[Problem]]]


class ColumnDecoder:
    """Decodes columns, and remembers the tables of series that it has seen."""

    def __init__(self, registry: SeriesLookup, *, max_events: int) -> None:
        self._registry = registry
        self._max_events = max_events
        self._tables = Remembered[_Table](_REMEMBERED_BYTES)

    def decode(self, body: bytes) -> Draft:
        """Return the events in ``body``. Raises ``Undecodable`` and ``TooManyEvents``."""
        try:
            columns = _decode_columns(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Undecodable(f"is not a map of columns: {error}") from error
        indexes = _numbers("I", "seriesIndex", columns.series_index)
        draft = Draft(
            times_us=_numbers("q", "timestamp", columns.timestamp),
            values=_floats(columns.value),
            ids=columns.id,
            place=in_columns,
        )
        _check_lengths(indexes, draft)
        if len(indexes) > self._max_events:
            raise TooManyEvents(self._max_events)
        table = self._table(bytes(columns.series))
        if not table.refusals and are_finite(draft.values) and ids_are_valid(draft.ids):
            with suppress(IndexError):
                draft.series_ids = picked(table.numbers, indexes)
                return draft
        return _without_bad_events(draft, indexes, table)

    def _table(self, raw: bytes) -> _Table:
        table = self._tables.get(raw)
        if table is None:
            table = self._read_table(raw)
            if not table.refusals:  # a refused series may find room later
                self._tables.put(raw, table, 4 * len(table.numbers))
        return table

    def _read_table(self, raw: bytes) -> _Table:
        try:
            entries = _decode_table(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Undecodable(
                f"/series must be an array of [metricName, {{labels}}]: {error}"
            ) from error
        if len(entries) > self._max_events:
            raise TooManyEvents(self._max_events)
        numbers, refusals = array("I"), {}
        for place, (metric_name, labels) in enumerate(entries):
            number = 0
            try:
                number = self._registry.resolve(metric_name, labels)
            except InvalidInput as error:
                refusals[place] = (RefusalReason.MALFORMED, _in_table(error.problems, place))
            except Overloaded as error:
                problem = Problem(f"/series/{place}", str(error), error.limit)
                refusals[place] = (RefusalReason.SERIES_LIMIT, [problem])
            numbers.append(number)
        return _Table(numbers, refusals)


def _in_table(problems: Sequence[Problem], place: int) -> list[Problem]:
    """Return what is wrong with an entry of the table with its place there.

    Which of its parts is wrong goes into the words: ``metricName must be …``.
    """
    return [
        problem._replace(path=f"/series/{place}", message=f"{problem.path[1:]} {problem.message}")
        for problem in problems
    ]


def _numbers(typecode: Literal["I", "q"], name: str, column: _Column) -> array[int]:
    try:
        if isinstance(column, memoryview):
            return _from_bytes(array(typecode), name, column)
        return array(typecode, column)
    except (OverflowError, ValueError) as error:
        raise Undecodable(f"/{name}: {error}") from error


def _floats(column: memoryview | list[float]) -> array[float]:
    if isinstance(column, memoryview):
        return _from_bytes(array("d"), "value", column)
    return array("d", column)


def _from_bytes(column: array, name: str, data: memoryview) -> array:  # type: ignore[type-arg]
    # of int or float, as it came
    width = _WIDTH[column.typecode]
    if len(data) % width:
        raise Undecodable(f"/{name}: {len(data)} bytes are no whole number of {width}-byte numbers")
    column.frombytes(data)
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _check_lengths(indexes: array[int], draft: Draft) -> None:
    lengths = {
        "seriesIndex": len(indexes),
        "timestamp": len(draft.times_us),
        "value": len(draft.values),
    }
    if draft.ids is not None:
        lengths["id"] = len(draft.ids)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise Undecodable(f"the columns differ in length: {found}")


def _without_bad_events(sent: Draft, indexes: array[int], table: _Table) -> Draft:
    """Return a draft with the good events of ``sent``, and the others refused."""
    draft = Draft(indexes=[], ids=None if sent.ids is None else [], place=sent.place)
    named: set[int] = set()
    for place, index in enumerate(indexes):
        given = None if sent.ids is None else sent.ids[place]
        value, time_us = sent.values[place], sent.times_us[place]
        problems = []
        if index >= len(table.numbers):
            text = f"is {index}, and /series has {len(table.numbers)} entries"
            problems.append(Problem("/seriesIndex", text))
        if not isfinite(value):
            problems.append(Problem("/value", "must be a finite number"))
        if not ids_are_valid([given]):
            problems.append(Problem("/id", ID_REMEDY, Limit.EVENT_ID))
        if problems or index in table.refusals:
            event = {"seriesIndex": index, "timestamp": time_us, "value": repr(value), "id": given}
            if problems:
                draft.refuse(RefusalReason.MALFORMED, problems, event, place)
            else:
                reason, of_series = table.refusals[index]
                draft.refuse_placed(reason, of_series, event, place, say=index not in named)
                named.add(index)
            continue
        assert draft.indexes is not None
        draft.indexes.append(place)
        draft.series_ids.append(table.numbers[index])
        draft.times_us.append(time_us)
        draft.values.append(value)
        if draft.ids is not None:
            draft.ids.append(given)
    return draft
