"""Events in JSON: an object, an array of objects, NDJSON, or lines by themselves.

Owns how they are told apart in the bytes. Three ways lead to a draft. Many events that are written
alike are read as columns of bytes (``json_columns.py``, 0.2 us an event). Else the whole body is
decoded at once, with labels as raw bytes (0.7 us an event); if *anything* is wrong, each event is
taken alone (about 10 us an event). Leaves what an event may be to ``event_input.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from alertd.arrays import has_numpy
from alertd.errors import InvalidInput, Problem
from alertd.http import strict
from alertd.http.event_input import (
    DOUBTS,
    EventFields,
    NotPlain,
    OneByOne,
    SeriesLookup,
    TooManyEvents,
    are_plain,
    ids_are_valid,
    labels_of,
    name_of,
    to_columns,
)
from alertd.http.strict import Undecodable
from alertd.ingest.intake import Draft, alone
from alertd.limits import Limit
from alertd.model import RefusalReason

if TYPE_CHECKING:
    from alertd.http.json_columns import AlikeEvents

NDJSON: Final = "application/x-ndjson"

_ALIKE_FROM_BYTES: Final = 1 << 15
"""Bodies of so many bytes may be read as columns: for smaller ones that costs more."""

_SPACE = re.compile(r"[ \t\n\r]*")


class _RawEvent(EventFields, gc=False, kw_only=True, rename="camel", forbid_unknown_fields=True):
    labels: msgspec.Raw = msgspec.Raw(b"{}")


_decode_array = msgspec.json.Decoder(list[_RawEvent]).decode
_line_decoder = msgspec.json.Decoder(_RawEvent)
_decode_one = _line_decoder.decode
_decode_lines = _line_decoder.decode_lines


def decode_json(
    body: bytes, *, is_lines: bool, registry: SeriesLookup, received_us: int, max_events: int
) -> Draft:
    """Return the events in ``body``; with ``is_lines`` it holds one a line.

    Raises ``Undecodable`` and ``TooManyEvents``.
    """
    draft = _decode_fast(body, is_lines, registry, received_us, max_events)
    if draft is None:
        draft = _decode_slowly(body, is_lines, OneByOne(registry, received_us, max_events))
    return draft


def decode_each_line(
    lines: Sequence[bytes], *, registry: SeriesLookup, received_us: int, max_line_bytes: int
) -> Draft:
    """Return the events in ``lines``, one each; no line is blank or has a line break in it.

    A line that is no event, or longer than ``max_line_bytes``, is one of the refused, whatever the
    others are. Paths are relative to the event.
    """
    draft = None
    if max(map(len, lines)) <= max_line_bytes:
        draft = _decode_fast(b"\n".join(lines), True, registry, received_us, len(lines))
    if draft is None:
        events = OneByOne(registry, received_us, len(lines))
        events.draft.place = alone
        for line in lines:
            _take_line(line, events, max_line_bytes)
        draft = events.finish()
    draft.place = alone
    return draft


def _take_line(line: bytes, events: OneByOne, max_line_bytes: int) -> None:
    try:
        if len(line) > max_line_bytes:
            message = f"the line has more than {max_line_bytes} bytes (lines.max_line_bytes)"
            raise InvalidInput([Problem("", message, Limit.LINE)])
        value = strict.parse(strict.to_text(line, errors="surrogateescape"))
    except InvalidInput as error:
        shown = line.decode(errors="replace")
        events.refuse(RefusalReason.MALFORMED, error.problems, shown)
    else:
        events.take(value)


def _decode_fast(
    body: bytes, is_lines: bool, registry: SeriesLookup, received_us: int, max_events: int
) -> Draft | None:
    """Return the draft if all is well, else None."""
    is_single = False
    try:
        alike = _read_alike(body, is_lines, received_us)
        if alike is not None:
            return _alike_draft(alike, registry, max_events)
        if is_lines:
            events = _decode_lines(body)
            if len(events) != body.rstrip(b"\n").count(b"\n") + 1:
                return None  # Blank lines, or an event that is not one line.
        elif body.lstrip()[:1] == b"{":
            events, is_single = [_decode_one(body)], True
        else:
            events = _decode_array(body)
        if not events:
            return Draft()
        if len(events) > max_events:
            raise TooManyEvents(max_events)
        draft = to_columns(events, received_us)
        raw_labels = list(map(bytes, map(labels_of, events)))
        draft.series_ids = registry.lookup_all(list(map(name_of, events)), raw_labels)
    except TooManyEvents:
        raise
    except DOUBTS:
        return None
    if is_single:
        draft.place = alone
    return draft


def _read_alike(body: bytes, is_lines: bool, received_us: int) -> AlikeEvents | None:
    """Return the events if they are many, and all written alike."""
    if len(body) < _ALIKE_FROM_BYTES or not has_numpy():
        return None
    from alertd.http.json_columns import read_alike  # needs NumPy

    return read_alike(body, is_lines, received_us)


def _alike_draft(alike: AlikeEvents, registry: SeriesLookup, max_events: int) -> Draft:
    if len(alike.values) > max_events:
        raise TooManyEvents(max_events)
    if not (are_plain(alike.values) and ids_are_valid(alike.ids)):
        raise NotPlain
    draft = Draft(times_us=alike.times_us, values=alike.values, ids=alike.ids)
    labels = alike.labels
    draft.series_ids = registry.lookup_rows(alike.names, labels.data, labels.width, labels.texts)
    return draft


def _decode_slowly(body: bytes, is_lines: bool, events: OneByOne) -> Draft:
    # Bytes that are not UTF-8 become lone surrogates, which are refused where they stand.
    text = strict.to_text(body, errors="surrogateescape")
    if is_lines:
        _take_lines(text, events)
    elif text.lstrip()[:1] == "{":
        events.draft.place = alone
        events.take(_parse_single(text))
    else:
        for value in _elements(text):
            events.take(value)
    return events.finish()


def _take_lines(text: str, events: OneByOne) -> None:
    unreadable = 0
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            value = strict.parse(line)
        except Undecodable as error:
            events.refuse(RefusalReason.MALFORMED, error.problems, line)
            unreadable += 1
        else:
            events.take(value)
    if unreadable == events.seen:
        first = events.draft.problems[0].message
        raise Undecodable(f"no line is a JSON object; the first {first}")


def _parse_single(text: str) -> object:
    try:
        return strict.parse(text)
    except Undecodable as error:
        if "\n{" not in text.strip():
            raise
        (problem,) = error.problems
        hint = f"for one event a line send 'Content-Type: {NDJSON}'"
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
