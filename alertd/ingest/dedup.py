"""Which event ids have been accepted before.

Owns the memory of senders' idempotency keys: two accepted events of one metric with the same id
within the dedup horizon are one event. Digests are kept in slices of time and of limited size,
so that forgetting is dropping a whole slice. The index is bounded in time and in number; at the
bound the oldest slice goes first, and ``add`` says how many ids went before their time.

Invariant: an id is remembered only once its event is durable. Survives restarts in the
snapshot, and by replay of the log behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from alertd.model import EventBatch, Series

SLICES = 24
"""Parts that the horizon is divided into: an id lives for 1 to 1 + 1/24 horizons. The bound on
ids is divided into as many, for a slice in which more come than that."""

DIGEST_BYTES = 16

PIECE_IDS = 4096
"""Ids that are dumped at a time: a slice can be large."""


@dataclass(slots=True)
class _Slice:
    number: int
    """The time of receipt, in slices since the epoch."""
    digests: list[bytes] = field(default_factory=list)


class DedupIndex:
    """A set of (metric, id) that forgets what is older than its horizon."""

    def __init__(self, horizon_us: int, *, max_ids: int) -> None:
        self._slice_us = max(1, horizon_us // SLICES)
        self._slice_ids = max(1, max_ids // SLICES)
        self._max_ids = max_ids
        self._known: set[bytes] = set()
        self._slices: deque[_Slice] = deque()  # the oldest first; each id is in one of them

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def add(self, digests: Iterable[bytes], received_us: int) -> int:
        """Remember ``digests`` as received at ``received_us``, which never decreases.

        Returns how many ids were forgotten before their time because of the bound.
        """
        number = received_us // self._slice_us
        for digest in digests:
            self._put(digest, number)
        while self._slices and self._slices[0].number < number - SLICES:
            self._forget_oldest()
        forgotten_early = 0
        while len(self._known) > self._max_ids:
            forgotten_early += self._forget_oldest()
        return forgotten_early

    def dump(self) -> Iterator[object]:
        """Yield the index as plain data, ``PIECE_IDS`` at a time, the oldest first.

        A piece has the end of its slice, not its number: the horizon may be another one when
        it is loaded. The index may be added to meanwhile.
        """
        for part in tuple(self._slices):
            for start in range(0, len(part.digests), PIECE_IDS):
                piece = b"".join(part.digests[start : start + PIECE_IDS])
                yield ("ids", (part.number + 1) * self._slice_us - 1, piece)

    def load_piece(self, received_us: int, joined: bytes) -> None:
        """Take one piece that ``dump`` yielded, in the same order."""
        number = received_us // self._slice_us
        for start in range(0, len(joined), DIGEST_BYTES):
            self._put(joined[start : start + DIGEST_BYTES], number)

    def remember(self, batch: EventBatch, series_of: Callable[[int], Series]) -> int:
        """Remember the ids of a batch that is durable; return as ``add`` does."""
        if batch.ids is None:
            return 0
        digests = digests_of(batch, series_of)
        return self.add([digest for digest in digests if digest is not None], batch.received_us)

    def _put(self, digest: bytes, number: int) -> None:
        if digest in self._known:
            return
        self._known.add(digest)
        newest = self._slices[-1] if self._slices else None
        if newest is None or newest.number != number or len(newest.digests) >= self._slice_ids:
            newest = _Slice(number)
            self._slices.append(newest)
        newest.digests.append(digest)

    def _forget_oldest(self) -> int:
        """Drop the oldest slice, and return how many ids it had."""
        digests = self._slices.popleft().digests
        self._known.difference_update(digests)
        return len(digests)


def digest_of(metric_name: str, event_id: str) -> bytes:
    """Return what stands for an event's id: 128 bits, so that two never meet by chance."""
    text = f"{metric_name}\x00{event_id}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def digests_of(batch: EventBatch, series_of: Callable[[int], Series]) -> list[bytes | None]:
    """Return the digest of each event's id, None for an event without one."""
    if batch.ids is None:
        return [None] * len(batch)
    return [
        None if event_id is None else digest_of(series_of(series_id).metric_name, event_id)
        for series_id, event_id in zip(batch.series_ids, batch.ids, strict=True)
    ]
