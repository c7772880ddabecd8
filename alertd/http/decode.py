"""The body of ``POST /api/events`` to a draft of events.

Owns the forms in which events arrive (a JSON object, a JSON array, NDJSON), what each field may
be, and how one bad event is set aside without its neighbours. Leaves label sets to the series
registry and the judgement of times to the intake.

Two ways lead to a draft. The fast one decodes the whole body at once and keeps labels as raw
bytes (about 1.5 us an event); if *anything* is wrong, the slow one takes each event alone and
reports its mistakes, up to ten (about 10 us an event). Both accept the same events.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from alertd.errors import InvalidInput, Overloaded, Problem
from alertd.http import strict
from alertd.http.strict import Undecodable
from alertd.http.timestamp import instant_us, instants_us
from alertd.intake import Draft
from alertd.model import RefusalReason

MAX_ID_CHARS: Final = 200
MAX_PROBLEMS: Final = 10
"""Mistakes reported of one event. Wording each of a million would hold up all other requests."""

_SPACE = re.compile(r"[ \t\n\r]*")


class MediaType(StrEnum):
    """The content types that are taken."""

    JSON = "application/json"
    NDJSON = "application/x-ndjson"


class TooManyEvents(InvalidInput):
    """The request holds more events than one request may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            [
                Problem(
                    "",
                    f"the request has more than {limit} events; send them in several requests or "
                    "raise server.max_events_per_request",
                )
            ]
        )


class SeriesLookup(Protocol):
    """What names series: ``alertd.series.SeriesRegistry``."""

    def lookup(self, metric_name: str, raw_labels: bytes) -> int:
        """Return the series that a JSON object of labels belongs to. Raises ``InvalidInput``."""
        ...

    def lookup_all(self, metric_names: Sequence[str], raw_labels: Sequence[bytes]) -> array[int]:
        """Return ``lookup`` of each event; raises as it does."""
        ...

    def resolve(self, metric_name: str, labels: Mapping[str, str]) -> int:
        """Return the series of a label set. Raises ``InvalidInput`` and ``Overloaded``."""
        ...


class _EventFields(Struct, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    metric_name: str
    timestamp: str | int | float | None = None
    value: float = 1.0
    id: str | None = None


class _RawEvent(_EventFields, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    labels: msgspec.Raw = msgspec.Raw(b"{}")


class _Event(_EventFields, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    labels: dict[str, str] = msgspec.field(default_factory=dict)


_name_of, _labels_of = attrgetter("metric_name"), attrgetter("labels")
_timestamp_of, _value_of, _id_of = attrgetter("timestamp"), attrgetter("value"), attrgetter("id")

_decode_array = msgspec.json.Decoder(list[_RawEvent]).decode
_line_decoder = msgspec.json.Decoder(_RawEvent)
_decode_one = _line_decoder.decode
_decode_lines = _line_decoder.decode_lines


def decode_events(
    body: bytes,
    media_type: MediaType,
    *,
    registry: SeriesLookup,
    received_us: int,
    max_events: int,
) -> Draft:
    """Return the events in ``body``, those that are refused among the draft's problems.

    An event without a timestamp gets ``received_us``. Raises ``Undecodable`` when no event can
    be made out at all, and ``TooManyEvents``.
    """
    draft = _decode_fast(body, media_type, registry, received_us, max_events)
    if draft is None:
        draft = _SlowDecoder(registry, received_us, max_events).decode(body, media_type)
    return draft


def _decode_fast(
    body: bytes, media_type: MediaType, registry: SeriesLookup, received_us: int, max_events: int
) -> Draft | None:
    """Return the draft if all is well, else None."""
    is_single = False
    try:
        if media_type is MediaType.NDJSON:
            events = _decode_lines(body)
            if len(events) != body.rstrip(b"\n").count(b"\n") + 1:
                return None  # Blank lines, or an event that is not one line.
        elif body.lstrip()[:1] == b"{":
            events, is_single = [_decode_one(body)], True
        else:
            events = _decode_array(body)
        if len(events) > max_events:
            raise TooManyEvents(max_events)
        draft = _to_columns(events, registry, received_us)
    except TooManyEvents:
        raise
    except (
        # What the slow way will word: msgspec's, timestamps', and the registry's refusals.
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
        ValueError,
        InvalidInput,
        Overloaded,
    ):
        return None
    draft.is_single = is_single
    return draft


def _to_columns(events: Sequence[_RawEvent], registry: SeriesLookup, received_us: int) -> Draft:
    """Return well-formed events as columns; raises for anything that the slow way must look at."""
    if not events:
        return Draft()
    values = array("d", list(map(_value_of, events)))
    # msgspec reads a whole number beyond 64 bits as a float: only the slow way can tell.
    if max(values) >= strict.FLOAT_FROM or min(values) <= -strict.FLOAT_FROM:
        raise ValueError("a value may be a whole number beyond 64 bits")
    ids = list(map(_id_of, events))
    has_ids = ids.count(None) < len(ids)
    if has_ids and not all(given is None or 0 < len(given) <= MAX_ID_CHARS for given in ids):
        raise ValueError("an id is too long or empty")
    times_us = instants_us(list(map(_timestamp_of, events)), received_us)
    raw_labels = list(map(bytes, map(_labels_of, events)))
    series_ids = registry.lookup_all(list(map(_name_of, events)), raw_labels)
    return Draft(series_ids, times_us, values, ids if has_ids else None)


class _SlowDecoder:
    """Takes events one by one into a draft, and says what is wrong with those it refuses."""

    def __init__(self, registry: SeriesLookup, received_us: int, max_events: int) -> None:
        self._registry = registry
        self._received_us = received_us
        self._max_events = max_events
        self._indexes: list[int] = []
        self._draft = Draft(indexes=self._indexes)
        self._ids: list[str | None] = []
        self._seen = 0

    def decode(self, body: bytes, media_type: MediaType) -> Draft:
        """Return the draft. Raises ``Undecodable`` and ``TooManyEvents``."""
        # Bytes that are not UTF-8 become lone surrogates, which are refused where they stand.
        text = strict.to_text(body, errors="surrogateescape")
        if media_type is MediaType.NDJSON:
            self._take_lines(text)
        elif text.lstrip()[:1] == "{":
            self._draft.is_single = True
            self._take(_parse_single(text))
        else:
            for value in _elements(text):
                self._take(value)
        if any(given is not None for given in self._ids):
            self._draft.ids = self._ids
        return self._draft

    def _take_lines(self, text: str) -> None:
        unreadable = 0
        for line in text.split("\n"):
            if not line.strip():
                continue
            try:
                value = strict.parse(line)
            except Undecodable as error:
                self._refuse(RefusalReason.MALFORMED, error.problems, line)
                unreadable += 1
            else:
                self._take(value)
        if unreadable == self._seen:
            raise Undecodable(f"no line is a JSON object; the first {self._draft.problems[0][1]}")

    def _take(self, value: object) -> None:
        try:
            event = _to_event(value)
            time_us = self._check(event)
            series_id = self._registry.resolve(event.metric_name, event.labels)
        except InvalidInput as error:
            self._refuse(RefusalReason.MALFORMED, error.problems, value)
            return
        except Overloaded as error:
            # No room for a new series: it must not keep events of known series out.
            self._refuse(RefusalReason.SERIES_LIMIT, [Problem("/labels", str(error))], value)
            return
        draft = self._draft
        draft.series_ids.append(series_id)
        draft.times_us.append(time_us)
        draft.values.append(event.value)
        self._ids.append(event.id)
        self._indexes.append(self._seen)
        self._count()

    def _check(self, event: _Event) -> int:
        """Return the event's time. Raises ``InvalidInput``."""
        problems = []
        if event.id is not None and not 0 < len(event.id) <= MAX_ID_CHARS:
            problems.append(Problem("/id", f"must have 1 to {MAX_ID_CHARS} characters"))
        time_us = self._received_us
        if event.timestamp is not None:
            try:
                time_us = instant_us(event.timestamp)
            except ValueError as error:
                problems.append(Problem("/timestamp", str(error)))
        if problems:
            raise InvalidInput(problems)
        return time_us

    def _refuse(self, reason: RefusalReason, problems: Sequence[Problem], event: object) -> None:
        self._draft.refuse(reason, problems, event, self._seen)
        self._count()

    def _count(self) -> None:
        self._seen += 1
        if self._seen > self._max_events:
            raise TooManyEvents(self._max_events)


def _to_event(value: object) -> _Event:
    """Return parsed JSON as an event: by msgspec if it is sure to be right, else strictly."""
    try:
        event = msgspec.convert(value, _Event)
        msgspec.json.encode(event)  # which fails on what is not UTF-8
    except (msgspec.ValidationError, UnicodeEncodeError):
        return strict.to_struct(value, _Event, max_problems=MAX_PROBLEMS)
    is_plain = abs(event.value) < strict.FLOAT_FROM
    return event if is_plain else strict.to_struct(value, _Event, max_problems=MAX_PROBLEMS)


def _parse_single(text: str) -> object:
    try:
        return strict.parse(text)
    except Undecodable as error:
        if "\n{" not in text.strip():
            raise
        (problem,) = error.problems
        hint = f"for one event a line send 'Content-Type: {MediaType.NDJSON}'"
        raise Undecodable(f"{problem.message}; {hint}") from error


def _elements(text: str) -> Iterator[object]:
    """Yield the elements of the JSON array ``text`` one at a time. Raises ``Undecodable``."""
    scan: Callable[[str, int], tuple[object, int]] = strict.SCANNER.raw_decode

    def skip_space(at: int) -> int:
        match = _SPACE.match(text, at)
        return at if match is None else match.end()

    at = skip_space(0)
    if text[at] != "[":
        raise Undecodable("must be an event (a JSON object) or an array of events")
    at = skip_space(at + 1)
    if text[at : at + 1] == "]":
        return
    while True:
        try:
            value, at = scan(text, at)
        except (ValueError, RecursionError) as error:
            raise Undecodable(strict.why_not_json(error)) from error
        yield value
        at = skip_space(at)
        mark = text[at : at + 1]
        at = skip_space(at + 1)
        if mark == "]":
            break
        if mark != ",":
            raise Undecodable(f"is not valid JSON: expected ',' or ']' at character {at}")
    if at < len(text):
        raise Undecodable(f"is not valid JSON: more follows the array at character {at}")
