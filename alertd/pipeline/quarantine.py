"""What becomes of events that are refused: counted, and kept for inspection.

Owns the way from a refusal to the store: a buffer that is written out once a second, so that
bad input costs good input nothing but the making of an excerpt. The buffer is bounded, and what
comes in a second beyond it is counted only; so is what the store would not take. Leaves the
table and its bounds to ``store/quarantine.py``.

Invariant: every refused event is in ``events_rejected``, and in exactly one of
``events_quarantined`` and ``quarantine_dropped`` once it has left the buffer.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Final, Protocol

import structlog
import trio

from alertd.errors import StoreUnavailable
from alertd.metrics import Metrics
from alertd.model import Refused
from alertd.store.quarantine import RefusedEvent

WRITE_EVERY_S: Final = 1.0
MAX_EVENTS_PER_WRITE: Final = 1000
MAX_EXCERPT_BYTES: Final = 2048
MAX_MESSAGE_CHARS: Final = 500

_encode = json.JSONEncoder(ensure_ascii=False).encode

log = structlog.get_logger(__name__)


class RefusedEvents(Protocol):
    """Where refused events are kept: ``alertd.store.quarantine.QuarantineTable``."""

    async def add(self, events: Sequence[RefusedEvent]) -> int:
        """Add ``events`` and return how many are kept now. Raises ``StoreUnavailable``."""
        ...

    async def count(self) -> int:
        """Return how many are kept."""
        ...


class Quarantine:
    """Takes refused events at once and writes them down later. ``run`` it while it is used."""

    def __init__(self, table: RefusedEvents, metrics: Metrics) -> None:
        self._table = table
        self._metrics = metrics
        self._buffer: list[RefusedEvent] = []

    def put(self, refused: Sequence[Refused], received_us: int) -> None:
        """Count ``refused`` and keep what there is room for. Neither waits nor fails."""
        for reason, count in Counter(event.reason for event in refused).items():
            self._metrics.events_rejected.labels(reason.value).inc(count)
        room = MAX_EVENTS_PER_WRITE - len(self._buffer)
        self._buffer += [
            RefusedEvent(
                received_us=received_us,
                reason=event.reason,
                path=event.path,
                message=event.message[:MAX_MESSAGE_CHARS],
                event=excerpt(event.event),
            )
            for event in refused[:room]
        ]
        self._metrics.quarantine_dropped.inc(max(0, len(refused) - room))

    async def run(self) -> None:
        """Write the buffer out every ``WRITE_EVERY_S`` until cancelled."""
        with contextlib.suppress(StoreUnavailable):  # the next write sets the gauge
            self._metrics.quarantine_events.set(await self._table.count())
        while True:
            await trio.sleep(WRITE_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write the buffer out now. What the store does not take is logged and counted."""
        events, self._buffer = self._buffer, []
        if not events:
            return
        try:
            kept = await self._table.add(events)
        except StoreUnavailable as error:
            self._metrics.quarantine_dropped.inc(len(events))
            log.warning("refused events not kept", count=len(events), error=str(error))
            return
        self._metrics.events_quarantined.inc(len(events))
        self._metrics.quarantine_events.set(kept)


def excerpt(event: object) -> str:
    """Return the beginning of ``event`` as JSON: at most ``MAX_EXCERPT_BYTES`` as UTF-8.

    One that is cut ends with an ellipsis.
    """
    if isinstance(event, str):
        event = event[: MAX_EXCERPT_BYTES + 1]
    try:
        text = _encode(event)
        encoded = text.encode()
    except UnicodeEncodeError:
        text = json.dumps(event)  # lone surrogates, which UTF-8 has not, as escapes
        encoded = text.encode()
    except RecursionError:
        return "…"
    if len(encoded) <= MAX_EXCERPT_BYTES:
        return text
    return encoded[: MAX_EXCERPT_BYTES - len("…".encode())].decode(errors="ignore") + "…"
