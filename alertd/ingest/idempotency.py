"""Requests that are sent twice and done once: the header ``Idempotency-Key``.

Owns what a key and a body are known by, and the order in which requests with one key are looked
at. A request that was accepted leaves its digests and its answer in the store, in the
transaction of its events, so the two are there together or not at all, whenever the process
ends. What was not accepted is not remembered: sent again, it is judged again. Leaves rows and
pruning to ``store/requests.py``.

Invariant: at most one request of a key is under way. The next one waits until that one's commit
is over, even if its client has gone meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final, Protocol

import trio
from msgspec import Struct

from alertd.errors import InvalidInput, Problem

DIGEST_BYTES: Final = 16
MAX_KEY_CHARS: Final = 200


class RequestId(Struct, frozen=True):
    """What a request with a key is known by: 128 bits each, so that two never meet by chance."""

    key_digest: bytes
    body_digest: bytes


class KeyedRequest(Struct, frozen=True):
    """A request whose answer is to be stored with its events."""

    id: RequestId
    answer: Callable[[int], bytes]
    """Returns the body of the answer for a number of duplicates, which the commit finds out."""


class AnsweredRequest(Struct, frozen=True):
    """A request that was accepted, and the body of its answer."""

    id: RequestId
    received_us: int
    answer: bytes


class AnsweredRequests(Protocol):
    """Where answers are stored: ``alertd.store.requests.RequestTable``."""

    async def find(self, key_digest: bytes, *, since_us: int) -> AnsweredRequest | None:
        """Return the request of that key received after ``since_us``, None if there is none."""
        ...


class RequestKeys:
    """Answers each request with a key once, and its repetitions as it answered the first."""

    def __init__(
        self,
        answered: AnsweredRequests,
        now_us: Callable[[], int],
        *,
        horizon_us: int,
        on_repeat: Callable[[], None],
    ) -> None:
        self._answered = answered
        self._now_us = now_us
        self._horizon_us = horizon_us
        self._on_repeat = on_repeat
        self._under_way: dict[bytes, trio.Event] = {}

    async def answer_once(
        self, request: RequestId, accept: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return the answer that ``request`` was given before, else what ``accept`` returns.

        ``accept`` is not cancelled, or a client that gives up and tries again could overtake its
        own commit. What it raises is raised, and forgotten. Raises ``InvalidInput`` if the key
        belongs to another body, and ``StoreUnavailable``. Costs one read of the database.
        """
        while (other := self._under_way.get(request.key_digest)) is not None:
            await other.wait()
        over = self._under_way[request.key_digest] = trio.Event()
        try:
            since_us = self._now_us() - self._horizon_us
            earlier = await self._answered.find(request.key_digest, since_us=since_us)
            if earlier is None:
                # The last moment for a cancellation: behind it the key is held for the commit.
                await trio.lowlevel.checkpoint_if_cancelled()
                with trio.CancelScope(shield=True):
                    answer = await accept()
                return answer  # noqa: RET504  # for mypy a scope can swallow what is raised
        finally:
            del self._under_way[request.key_digest]
            over.set()
        if earlier.id.body_digest != request.body_digest:
            text = (
                "the Idempotency-Key was used for another request before; send each new request "
                "with a key of its own"
            )
            raise InvalidInput([Problem("", text)])
        self._on_repeat()
        return earlier.answer


def identify(key: str, *parts: bytes) -> RequestId:
    """Return what a request is known by; ``parts`` is all that makes its body what it is."""
    body = blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        body.update(len(part).to_bytes(8, "little"))
        body.update(part)
    key_digest = blake2b(key.encode(), digest_size=DIGEST_BYTES).digest()
    return RequestId(key_digest, body.digest())
