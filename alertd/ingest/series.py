"""Series: which small number stands for which metric name and label set.

Owns the mapping in both directions and the one place where labels are parsed and made
canonical. An event's labels stay raw bytes on the hot path: ``(metric, raw bytes)`` is looked
up in a bounded cache, and only a spelling that is not there is parsed. Two spellings of one
label set (order, escapes, spaces) are one series.

Invariant: numbers are dense, start at 0 and never change their meaning; the store keeps them.
A new series is kept in ``unsaved`` until the store has it. Leaves persistence to the store.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from operator import getitem
from sys import intern

import msgspec

from alertd.errors import InvalidInput, Overloaded, Problem, pointer_token
from alertd.ingest.remembered import Remembered
from alertd.limits import (
    MAX_LABEL_NAME_CHARS,
    MAX_LABEL_VALUE_CHARS,
    MAX_LABELS,
    Limit,
)
from alertd.model import Labels, Series
from alertd.names import LABEL_NAME_REMEDY, METRIC_NAME_REMEDY, is_label_name, is_metric_name

DEFAULT_MAX_SERIES = 1_000_000
SPELLING_CACHE_SIZE = 200_000
"""Spellings remembered; at the bound all are forgotten, and each is parsed once more."""
SPELLING_CACHE_BYTES = 64 << 20
"""The same for the bytes of all spellings together: spaces can make one as long as a request."""
ROWS_CACHE_BYTES = 8 << 20
"""Of the labels of whole requests."""

_decode_labels = msgspec.json.Decoder(dict[str, str]).decode
_decode_any_labels = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class SeriesRegistry:
    """Every series that alertd has seen, by number and by name."""

    def __init__(self, *, max_series: int = DEFAULT_MAX_SERIES) -> None:
        self._max_series = max_series
        self._series: list[Series] = []
        self._by_name: dict[str, dict[Labels, int]] = {}
        self._spellings: dict[str, dict[bytes, int]] = {}  # by metric name and raw labels
        self._spelling_count = 0
        self._spelling_bytes = 0
        self._rows: Remembered[array[int]] = Remembered(ROWS_CACHE_BYTES)
        self._unsaved: list[Series] = []
        self.refused = 0
        """How often a new series was refused because there are as many as there may be. An event
        may be tried more than once; ``alertd_events_rejected_total`` counts events."""
        self.latest_refused: tuple[str, Labels] | None = None
        """The metric and the labels of the last of them."""

    def __len__(self) -> int:
        return len(self._series)

    def get(self, series_id: int) -> Series:
        """Return the series with that number. Raises ``IndexError`` for one never given out."""
        return self._series[series_id]

    def load(self, stored: Iterable[Series]) -> None:
        """Take what the store holds, in order of number, into an empty registry."""
        for series in stored:
            if series.id != len(self._series):
                raise ValueError(f"series {series.id} is stored out of order or twice")
            self._append(series.metric_name, series.labels)

    def lookup(self, metric_name: str, raw_labels: bytes) -> int:
        """Return the number of the series that an event names; ``raw_labels`` is a JSON object.

        A dict lookup for a known spelling. Raises ``InvalidInput`` with paths relative to the
        event (``/labels/host``), and ``Overloaded`` when the bound on series is reached.
        """
        number = self._spellings.get(metric_name, {}).get(raw_labels)
        if number is None:
            number = self.resolve(metric_name, _parse_labels(raw_labels))
            self._remember_spelling(metric_name, raw_labels, number)
        return number

    def lookup_all(self, metric_names: Sequence[str], raw_labels: Sequence[bytes]) -> array[int]:
        """Return ``lookup`` of each event, as a column; raises as it does."""
        by_labels = map(self._spellings.__getitem__, metric_names)
        try:
            numbers = list(map(getitem, by_labels, raw_labels))
        except KeyError:
            numbers = list(map(self.lookup, metric_names, raw_labels))
        return array("I", numbers)

    def lookup_rows(
        self,
        metric_names: Sequence[str],
        rows: bytes,
        width: int,
        texts: Callable[[], Sequence[bytes]],
    ) -> array[int]:
        """Return ``lookup_all`` of labels in rows of ``width`` bytes, as ``texts`` returns them.

        Where one metric's series come in the order of an earlier request that is seen at a glance.
        """
        name = metric_names[0]
        if metric_names.count(name) < len(metric_names):
            return self.lookup_all(metric_names, texts())
        numbers = self._rows.get(rows, (name, width))
        if numbers is None:
            numbers = self.lookup_all(metric_names, texts())
            self._rows.put(rows, numbers, 4 * len(numbers), (name, width))
        return numbers[:]

    def resolve(self, metric_name: str, labels: Mapping[str, str]) -> int:
        """Return the number of a series, giving it one if it is new. Raises as ``lookup``."""
        canonical = tuple(sorted(labels.items()))
        number = self._by_name.get(metric_name, {}).get(canonical)
        if number is not None:
            return number
        _check_names(metric_name, canonical)
        number = len(self._series)
        if number >= self._max_series:
            self.refused += 1
            self.latest_refused = metric_name, canonical
            raise Overloaded(
                f"the limit of {self._max_series} series is reached and {metric_name!r} with these "
                "labels is a new one; send fewer label combinations or raise engine.max_series",
                retry_after_s=60,
                limit=Limit.SERIES,
            )
        self._unsaved.append(self._append(metric_name, canonical))
        return number

    def _append(self, metric_name: str, labels: Labels) -> Series:
        """Take in the next series. Its names are kept once for all; their values are many."""
        metric_name = intern(metric_name)
        labels = tuple([(intern(name), value) for name, value in labels])
        series = Series(len(self._series), metric_name, labels)
        self._series.append(series)
        self._by_name.setdefault(metric_name, {})[labels] = series.id
        return series

    def _remember_spelling(self, metric_name: str, raw_labels: bytes, number: int) -> None:
        self._spelling_count += 1
        self._spelling_bytes += len(raw_labels)
        is_full = self._spelling_count > SPELLING_CACHE_SIZE
        if is_full or self._spelling_bytes > SPELLING_CACHE_BYTES:
            self._spellings.clear()
            self._spelling_count, self._spelling_bytes = 1, len(raw_labels)
        self._spellings.setdefault(metric_name, {})[raw_labels] = number

    def take_unsaved(self) -> list[Series]:
        """Return the series that the store does not have yet, and trust the caller to save them."""
        unsaved, self._unsaved = self._unsaved, []
        return unsaved

    def give_back(self, series: list[Series]) -> None:
        """Undo ``take_unsaved`` after a save that did not happen."""
        self._unsaved = series + self._unsaved


def _parse_labels(raw: bytes) -> dict[str, str]:
    """Return the label set that ``raw`` spells. Raises ``InvalidInput``, naming the label."""
    try:
        return _decode_labels(raw)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "is not readable: use valid UTF-8, without lone surrogates or deep nesting"
        raise InvalidInput([Problem("/labels", message)]) from error
    try:
        members = _decode_any_labels(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = 'must be an object of strings, like {"host": "web-1"}'
        raise InvalidInput([Problem("/labels", message)]) from error
    wrong = (name for name, value in members.items() if not bytes(value).startswith(b'"'))
    problems = [
        Problem(f"/labels/{_pointer(name)}", 'must be a string, like "1"')
        for name in islice(wrong, MAX_LABELS)
    ]
    raise InvalidInput(problems or [Problem("/labels", "must be an object of strings")])


def _check_names(metric_name: str, labels: Labels) -> None:
    problems = []
    if not is_metric_name(metric_name):
        problems.append(Problem("/metricName", METRIC_NAME_REMEDY, Limit.METRIC_NAME))
    if len(labels) > MAX_LABELS:
        problems.append(
            Problem(
                "/labels", f"has {len(labels)} labels; at most {MAX_LABELS} are taken", Limit.LABELS
            )
        )
    for name, value in labels[:MAX_LABELS]:
        if not is_label_name(name):
            text = f"a label's name {LABEL_NAME_REMEDY}"
            problems.append(Problem(f"/labels/{_pointer(name)}", text, Limit.LABEL_NAME))
        if len(value) > MAX_LABEL_VALUE_CHARS:
            text = f"has {len(value)} characters; at most {MAX_LABEL_VALUE_CHARS} are taken"
            problems.append(Problem(f"/labels/{_pointer(name)}", text, Limit.LABEL_VALUE))
    if problems:
        raise InvalidInput(problems)


def _pointer(name: str) -> str:
    """Return a name as it stands in a JSON pointer, shortened."""
    return pointer_token(name[:MAX_LABEL_NAME_CHARS])
