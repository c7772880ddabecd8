"""The body of ``POST /api/events`` to a draft of events.

Owns the encodings in which events arrive, and which of them a body is in. One bad event is set
aside without its neighbours in every encoding. Leaves each encoding to a module of its own, and
what an event may be to ``event_input.py``.
"""

from __future__ import annotations

from enum import StrEnum

from alertd.http import json_events
from alertd.http.event_input import SeriesLookup
from alertd.http.json_events import decode_json
from alertd.http.msgpack_columns import ColumnDecoder
from alertd.http.msgpack_events import decode_maps, is_columnar
from alertd.ingest.intake import Draft


class MediaType(StrEnum):
    """The content types that are taken."""

    JSON = "application/json"
    NDJSON = json_events.NDJSON
    MSGPACK = "application/msgpack"


class EventDecoder:
    """Turns bodies into drafts, with series named by ``registry``."""

    def __init__(self, registry: SeriesLookup, *, max_events: int) -> None:
        self._registry = registry
        self._max_events = max_events
        self._columns = ColumnDecoder(registry, max_events=max_events)

    def decode(self, body: bytes, media_type: MediaType, received_us: int) -> Draft:
        """Return the events in ``body``, those that are refused among the draft's problems.

        An event without a timestamp gets ``received_us``. Raises ``Undecodable`` when no event
        can be made out at all, and ``TooManyEvents``.
        """
        if media_type is MediaType.MSGPACK:
            if is_columnar(body):
                return self._columns.decode(body)
            return decode_maps(
                body,
                registry=self._registry,
                received_us=received_us,
                max_events=self._max_events,
            )
        return decode_json(
            body,
            is_lines=media_type is MediaType.NDJSON,
            registry=self._registry,
            received_us=received_us,
            max_events=self._max_events,
        )
