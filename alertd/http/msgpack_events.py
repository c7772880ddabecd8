"""Events in msgpack: an array of maps with the fields of an event, or one such map.

Owns how the maps are found in the bytes. As with JSON, a body without any mistake is decoded at
once (about 2 us an event); in any other the array is cut into its elements, without building
what is in them, and each is taken alone. Leaves the columnar form to ``msgpack_columns.py``.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from math import isfinite
from typing import Final

import msgpack
import msgspec

from alertd.errors import Problem
from alertd.http.event_input import (
    DOUBTS,
    Event,
    NotPlain,
    OneByOne,
    SeriesLookup,
    TooManyEvents,
    to_columns,
)
from alertd.http.strict import Undecodable
from alertd.ingest.intake import Draft, alone
from alertd.model import RefusalReason

_MAX_ELEMENTS: Final = 1_000
"""Of a map inside an event: no event has so many fields or labels, and each takes memory."""

_decode_members = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.msgpack.Decoder(list[Event]).decode
_decode_one = msgspec.msgpack.Decoder(Event).decode


def is_map(body: bytes) -> bool:
    """Return whether ``body`` begins as a map does."""
    return body[:1] in _MAP_STARTS


_SMALL_MAP_STARTS: Final = range(0x80, 0x90)
_MAP_STARTS: Final = frozenset(bytes([first]) for first in (*_SMALL_MAP_STARTS, 0xDE, 0xDF))
_COLUMN_NAMES: Final = ("series", "seriesIndex")
_COLUMN_FIRST: Final = tuple(map(msgspec.msgpack.encode, _COLUMN_NAMES))


def is_columnar(body: bytes) -> bool:
    """Return whether ``body`` is a map of columns rather than of an event's fields."""
    if not is_map(body):
        return False
    if body.startswith(_COLUMN_FIRST, 1) and body[0] in _SMALL_MAP_STARTS:
        return True  # as nearly all are; to look for the key elsewhere is to walk over the body
    try:
        return not _decode_members(body).keys().isdisjoint(_COLUMN_NAMES)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def decode_maps(body: bytes, *, registry: SeriesLookup, received_us: int, max_events: int) -> Draft:
    """Return the events in ``body``. Raises ``Undecodable`` and ``TooManyEvents``."""
    is_single = is_map(body)
    try:
        events = [_decode_one(body)] if is_single else _decode_array(body)
        if len(events) > max_events:
            raise TooManyEvents(max_events)
        draft = _to_draft(events, registry, received_us) if events else Draft()
    except TooManyEvents:
        raise
    except DOUBTS:
        return _decode_slowly(body, is_single, OneByOne(registry, received_us, max_events))
    if is_single:
        draft.place = alone
    return draft


def _to_draft(events: list[Event], registry: SeriesLookup, received_us: int) -> Draft:
    if not all(isfinite(event.value) for event in events):  # msgpack can say NaN
        raise NotPlain
    draft = to_columns(events, received_us)
    draft.series_ids = array(
        "I", [registry.resolve(event.metric_name, event.labels) for event in events]
    )
    return draft


def _decode_slowly(body: bytes, is_single: bool, events: OneByOne) -> Draft:
    if is_single:
        events.draft.place = alone
    for piece in [body] if is_single else _pieces(body):
        try:
            value = _unpack(piece)
        except (ValueError, RecursionError, msgpack.UnpackException) as error:
            problem = Problem("", f"is not a readable map: {str(error) or type(error).__name__}")
            if is_single:
                raise Undecodable(problem.message) from error
            events.refuse(RefusalReason.MALFORMED, [problem], f"{len(piece)} bytes of msgpack")
        else:
            events.take(value)
    return events.finish()


def _pieces(body: bytes) -> Iterator[bytes]:
    """Yield the bytes of each element of an array. Raises ``Undecodable``."""
    cutter = msgpack.Unpacker(max_buffer_size=len(body) or 1)
    cutter.feed(body)
    try:
        count = cutter.read_array_header()
    except (ValueError, msgpack.UnpackException) as error:
        raise Undecodable(
            "must be msgpack: an array of events, one event (a map), or columns"
        ) from error
    for number in range(count):
        start = cutter.tell()
        try:
            cutter.skip()
        except (ValueError, RecursionError, msgpack.UnpackException) as error:
            reason = "ends in it" if isinstance(error, msgpack.OutOfData) else "cannot be read"
            raise Undecodable(
                f"is not valid msgpack: of {count} events, number {number} {reason}"
            ) from error
        yield body[start : cutter.tell()]
    if cutter.tell() < len(body):
        raise Undecodable(
            f"is not valid msgpack: {len(body) - cutter.tell()} bytes follow the array"
        )


def _unpack(piece: bytes) -> object:
    """Return one element as plain data; bytes that are not UTF-8 become lone surrogates."""
    return msgpack.unpackb(
        piece,
        unicode_errors="surrogateescape",
        max_array_len=0,
        max_map_len=_MAX_ELEMENTS,
        object_hook=_with_text_keys,
        ext_hook=lambda code, _: f"(msgpack extension {code})",
    )


def _with_text_keys(members: dict[object, object]) -> dict[object, object]:
    if not all(isinstance(name, str) for name in members):
        raise ValueError("a key is not a string")
    return members
