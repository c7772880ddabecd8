"""A webhook receiver as they are: slow at times, failing at times, and with a good memory."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.receivers import Answer, HttpReceiver, Received

Body = dict[str, Any]
GOOD, FAILING, LOST = Answer(), Answer(status=503), Answer(drop=True)


class FlakyReceiver(HttpReceiver):
    """Takes most of what comes, after a moment; remembers each key and what came under it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        """How often what came under a key was answered with success."""
        self.heard: Counter[str] = Counter()
        """How often it was not refused."""
        self.seen: dict[str, Body] = {}
        """The first body that came under a key, but for when it was sent."""
        self.changed: list[tuple[Body, Body]] = []
        """That body, where another came under the same key, and the other."""
        self._random = random.Random(seed)  # noqa: S311  # a test
        self._lock = threading.Lock()

    def take(self, request: Received) -> Answer:
        """Remember ``request`` and answer it, in one of the ways that a receiver has."""
        body = json.loads(request.body)
        del body["sentAt"]
        key = request.headers["idempotency-key"]
        with self._lock:
            before = self.seen.setdefault(key, body)
            if before != body:
                self.changed.append((before, body))
            delay_s = self._random.choice((0, 0, 0.002, 0.02))
            answer = self._random.choices((GOOD, FAILING, LOST), (20, 2, 1))[0]
        time.sleep(delay_s)
        with self._lock:
            self.taken[key] += answer is GOOD
            self.heard[key] += answer is not FAILING
        return answer


@contextmanager
def flaky_receiver(seed: int) -> Iterator[FlakyReceiver]:
    """Run one."""
    receiver = FlakyReceiver(seed)
    try:
        yield receiver
    finally:
        receiver.close()
