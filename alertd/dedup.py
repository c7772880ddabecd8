"""Which event ids have been accepted before.

Owns the memory of senders' idempotency keys: two accepted events of one metric with the same id
within the dedup horizon are one event. Digests are kept in slices of time, so that forgetting
is dropping a whole slice. The index is bounded in time and in number; at the bound the oldest
slice goes first, and ``forgotten_early`` says how many ids went before their time.

Invariant: an id is remembered only once its event is durable. Survives restarts in the
snapshot, and by replay of the log behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b

SLICES = 24
"""Parts that the horizon is divided into: an id lives for 1 to 1 + 1/24 horizons."""

DIGEST_BYTES = 16


class DedupIndex:
    """A set of (metric, id) that forgets what is older than its horizon."""

    def __init__(self, horizon_us: int, *, max_ids: int) -> None:
        self._slice_us = max(1, horizon_us // SLICES)
        self._max_ids = max_ids
        self._slices: dict[int, set[bytes]] = {}
        self._count = 0
        self.forgotten_early = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, digest: bytes) -> bool:
        return any(digest in digests for digests in self._slices.values())

    def add(self, digests: Iterable[bytes], received_us: int) -> None:
        """Remember ``digests`` as received at ``received_us``, which never decreases."""
        number = received_us // self._slice_us
        newest = self._slices.setdefault(number, set())
        before = len(newest)
        newest.update(digests)
        self._count += len(newest) - before
        for old in [key for key in self._slices if key < number - SLICES]:
            self._count -= len(self._slices.pop(old))
        while self._count > self._max_ids and len(self._slices) > 1:
            lost = len(self._slices.pop(min(self._slices)))
            self._count -= lost
            self.forgotten_early += lost

    def dump(self) -> Iterator[object]:
        """Yield the index as plain data, a slice at a time."""
        for number, digests in sorted(self._slices.items()):
            yield ("ids", number, b"".join(sorted(digests)))

    def load_slice(self, number: int, joined: bytes) -> None:
        """Take one slice that ``dump`` yielded."""
        digests = {
            joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)
        }
        self._slices[number] = digests
        self._count += len(digests)


def digest_of(metric_name: str, event_id: str) -> bytes:
    """Return what stands for an event's id: 128 bits, so that two never meet by chance."""
    text = f"{metric_name}\x00{event_id}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()
