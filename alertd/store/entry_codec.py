"""The bytes of one entry of the event log.

Owns the format of ``event_log.body``: the header of ``envelope.py`` with the number of events,
then for a batch its columns one after the other (event times i64, values f64, series numbers u32;
little-endian) and, where any event has one, the ids as a msgpack array; for a change of the rules
the ``RuleChange`` as JSON. In a long batch times that are within an hour of each other are u32,
behind the least of them, and low numbers of series u16; flags say so. That is 14 bytes an event
instead of 20, in the log, the WAL and the checkpoints.

Invariant: what decodes is what was encoded: a damaged body raises, it never yields other events.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias

import msgpack
import msgspec

from alertd.arrays import LONG, bounds, shifted
from alertd.model import EventBatch
from alertd.rules import RuleChange
from alertd.store.envelope import BadEntry, Part, seal, unseal

VERSION: Final = 1

_HAS_IDS: Final = 1
_CLOSE_TIMES: Final = 2
_LOW_SERIES: Final = 4
_FLAGS: Final = _HAS_IDS | _CLOSE_TIMES | _LOW_SERIES
_BASE: Final = struct.Struct("<q")
_VALUE_BYTES: Final = 8
_BIG_ENDIAN: Final = sys.byteorder == "big"

Choose: TypeAlias = "Callable[[array[int], array[int]], Sequence[int]]"

_encode_change = msgspec.json.Encoder().encode
_decode_change = msgspec.json.Decoder(RuleChange).decode


def check_batch(batch: EventBatch) -> None:
    """Raise ``ValueError`` if ``batch`` could not be encoded. Constant time."""
    count = len(batch.series_ids)
    if count == 0:
        raise ValueError("a batch must hold an event")
    if not count == len(batch.times_us) == len(batch.values):
        raise ValueError("the columns of a batch must have one length")
    if batch.ids is not None and len(batch.ids) != count:
        raise ValueError("a batch must have an id, or None, for each event")
    codes = (batch.series_ids.typecode, batch.times_us.typecode, batch.values.typecode)
    if codes != ("I", "q", "d"):
        raise ValueError(f"the columns of a batch must be arrays of I, q and d, not {codes}")


def encode_batch(batch: EventBatch) -> bytes:
    """Return the body for ``batch``, which ``check_batch`` passed. No Python loop."""
    times, series_ids = batch.times_us, batch.series_ids
    columns: list[Part] = []
    flags = 0
    if len(batch) >= LONG:
        least_us, greatest_us = bounds(times)
        if greatest_us - least_us < 1 << 32:
            flags |= _CLOSE_TIMES
            columns.append(_BASE.pack(least_us))
            times = shifted(times, -least_us, "I")
        if bounds(series_ids)[1] < 1 << 16:
            flags |= _LOW_SERIES
            series_ids = shifted(series_ids, 0, "H")
    columns += [_little_endian(column) for column in (times, batch.values, series_ids)]
    if batch.ids is not None:
        flags |= _HAS_IDS
        # surrogatepass: no id that a sender got past us may fail its neighbours' commit.
        columns.append(msgpack.packb(batch.ids, unicode_errors="surrogatepass"))
    return seal(VERSION, flags, len(batch), columns)


def decode_batch(body: bytes, received_us: int) -> EventBatch:
    """Return the batch that ``body`` holds. Raises ``BadEntry``."""
    return _with_ids(*_decode_columns(body, received_us))


def decode_chosen(body: bytes, received_us: int, choose: Choose) -> EventBatch | None:
    """Return the events of ``body`` at the places that ``choose`` picks, None if it picks none.

    ``choose`` gets the columns of series numbers and of event times and returns places in
    ascending order. The ids are decoded only if it picks any. Raises ``BadEntry``.
    """
    batch, packed_ids = _decode_columns(body, received_us)
    places = choose(batch.series_ids, batch.times_us)
    if not places:
        return None
    batch = _with_ids(batch, packed_ids)
    return batch if len(places) == len(batch) else batch.select(places)


def encode_change(change: RuleChange) -> bytes:
    """Return the body for ``change``."""
    return seal(VERSION, 0, 0, [_encode_change(change)])


def decode_change(body: bytes) -> RuleChange:
    """Return the change that ``body`` holds. Raises ``BadEntry``."""
    _, _, content = unseal(body, VERSION)
    try:
        return _decode_change(content)
    except msgspec.MsgspecError as error:
        raise BadEntry(str(error)) from error


def _decode_columns(body: bytes, received_us: int) -> tuple[EventBatch, memoryview | None]:
    """Return the batch without its ids, and the ids as they were packed, if there are any."""
    count, flags, view = unseal(body, VERSION)
    times_at = _BASE.size if flags & _CLOSE_TIMES else 0
    values_at = times_at + count * (4 if flags & _CLOSE_TIMES else 8)
    series_at = values_at + count * _VALUE_BYTES
    ids_at = series_at + count * (2 if flags & _LOW_SERIES else 4)
    if flags & ~_FLAGS:
        raise BadEntry(f"flags {flags:#x} are unknown; a later alertd wrote it")
    if len(view) < ids_at or (len(view) > ids_at) != bool(flags & _HAS_IDS):
        raise BadEntry(f"{count} events do not take {len(body)} bytes")
    times, series_ids = view[times_at:values_at], view[series_at:ids_at]
    if flags & _CLOSE_TIMES:
        (least_us,) = _BASE.unpack_from(view)
        times_us = shifted(_integers("I", times), least_us, "q")
    else:
        times_us = _integers("q", times)
    batch = EventBatch(
        received_us=received_us,
        series_ids=(
            shifted(_integers("H", series_ids), 0, "I")
            if flags & _LOW_SERIES
            else _integers("I", series_ids)
        ),
        times_us=times_us,
        values=_floats(view[values_at:series_at]),
    )
    return batch, view[ids_at:] if flags & _HAS_IDS else None


def _with_ids(batch: EventBatch, packed: memoryview | None) -> EventBatch:
    if packed is None:
        return batch
    return msgspec.structs.replace(batch, ids=_decode_ids(packed, len(batch)))


def _decode_ids(packed: memoryview, count: int) -> tuple[str | None, ...]:
    try:
        ids: list[str | None] = msgpack.unpackb(packed, unicode_errors="surrogatepass")
    except (ValueError, msgpack.UnpackException) as error:
        raise BadEntry(f"the ids do not decode: {error}") from error
    if len(ids) != count:
        raise BadEntry(f"{len(ids)} ids for {count} events")
    return tuple(ids)


def _little_endian(column: array[int] | array[float]) -> Part:
    if _BIG_ENDIAN:
        column = column[:]
        column.byteswap()
    return column


def _integers(typecode: Literal["H", "I", "q"], view: memoryview) -> array[int]:
    column = array(typecode)
    column.frombytes(view)
    if _BIG_ENDIAN:
        column.byteswap()
    return column


def _floats(view: memoryview) -> array[float]:
    column = array("d")
    column.frombytes(view)
    if _BIG_ENDIAN:
        column.byteswap()
    return column
