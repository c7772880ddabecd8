"""From a body of events to the bytes of their receipt, whichever way the request came.

Owns what a 202 means: everything ``accepted`` is durable. Decoding is ``decode.py``'s, admission
and durability are the intake's. Leaves reading the request and writing the reply to its callers:
``events.py`` behind the web framework and ``express.py`` in front of it.

With the header ``Idempotency-Key`` (1 to 200 printable ASCII characters) a request that was
answered 202 is answered with the same bytes again and stores nothing, for
``engine.dedup_horizon_secs``; another request under its key is 422. "The same" is the body, byte
for byte, with its content type and ``atomic``. Requests that were not accepted are not
remembered, so the key can be used again for a mended one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
from prometheus_client import Counter

from alertd.arrays import has_numpy, is_numpy_looked_for
from alertd.http import problem
from alertd.http.decode import EventDecoder, MediaType
from alertd.http.event_replies import EventReceipt
from alertd.http.gate import Caller
from alertd.http.services import Intake, RequestKeys, Services
from alertd.http.wire import MAX_ERRORS, encode, error_items
from alertd.ingest.idempotency import MAX_KEY_CHARS, identify
from alertd.ingest.intake import Answer, Receipt

KEY_HEADER: Final = "Idempotency-Key"
_MANY_EVENTS_BYTES: Final = 4_096
"""Some 30 events in JSON, 200 in columns. Fewer may need NumPy too, if they are very short or are
joined: those wait for it on the loop, once."""


class Acceptance:
    """Takes bodies of events in."""

    def __init__(
        self, intake: Intake, requests: RequestKeys, limits_reached: Counter, *, max_events: int
    ) -> None:
        self._intake = intake
        self._limits_reached = limits_reached
        self._requests = requests
        self._decoder = EventDecoder(intake.registry, max_events=max_events)

    async def accept(
        self,
        body: bytes,
        media_type: MediaType,
        caller: Caller,
        *,
        atomic: bool = False,
        key: str | None = None,
    ) -> bytes:
        """Store the events in ``body`` and return the receipt, JSON, once that is durable.

        They are charged to ``caller``, unless they were sent before under their key. Raises what
        ``EventDecoder.decode``, ``Intake.submit`` and ``RequestKeys.answer_once`` raise. A caller
        that is cancelled gives up the receipt only: what was handed in is stored.
        """
        if key is None:
            return await self._accept(body, media_type, caller, atomic=atomic)
        request_id = identify(key, media_type.value.encode(), b"atomic" if atomic else b"", body)
        answer = Answer(request_id, _encode_receipt)

        async def accept() -> bytes:
            return await self._accept(body, media_type, caller, atomic=atomic, answer=answer)

        return await self._requests.answer_once(request_id, accept)

    async def _accept(
        self,
        body: bytes,
        media_type: MediaType,
        caller: Caller,
        *,
        atomic: bool,
        answer: Answer | None = None,
    ) -> bytes:
        await prepare_for((body,))
        # From here to the intake nothing awaits, so receive times never decrease.
        received_us = self._intake.now_us()
        draft = self._decoder.decode(body, media_type, received_us)
        caller.charge(len(draft.series_ids) + draft.rejected)
        receipt = await self._intake.submit(draft, received_us, atomic=atomic, answer=answer)
        if receipt.problems:
            problem.count(problem.reached(receipt.problems), self._limits_reached)
        return _encode_receipt(receipt)


def acceptance_of(services: Services) -> Acceptance:
    """Return what takes events in."""
    max_events = services.limits.max_events_per_request
    return Acceptance(
        services.intake,
        services.requests,
        services.metrics.limits_reached,
        max_events=max_events,
    )


async def prepare_for(events: Sequence[bytes]) -> None:
    """Have NumPy loaded, beside the loop, if ``events``, as they came, are the first to need it.

    It takes 0.1 s, in which other requests are answered.
    """
    if not is_numpy_looked_for() and sum(map(len, events)) >= _MANY_EVENTS_BYTES:
        await trio.to_thread.run_sync(has_numpy)


def is_key(text: str) -> bool:
    """Return whether ``text`` can be an Idempotency-Key."""
    return 0 < len(text) <= MAX_KEY_CHARS and text.isascii() and text.isprintable()


def _encode_receipt(receipt: Receipt) -> bytes:
    return encode(
        EventReceipt(
            accepted=receipt.accepted,
            duplicates=receipt.duplicates,
            rejected=receipt.rejected,
            errors=error_items(receipt.problems),
            errors_truncated=len(receipt.problems) > MAX_ERRORS,
        )
    )
