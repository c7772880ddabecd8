"""What is nearly a request, over raw sockets, leaves a running daemon as it was."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final

import httpx
import psutil
import pytest

from alertd.http.routes import ROUTES
from tests.e2e.daemon import Daemon
from tests.e2e.test_http_hazards import ATTACKS, HEALTH, read_status
from tests.fuzz.inputs import BODIES, COMPRESSED, INPUTS, NASTY

SEED: Final = int(
    os.environ.get("ALERTD_FUZZ_SEED")
    or (20250630 if "CI" in os.environ else random.SystemRandom().randrange(1 << 32))
)
IN_EARNEST: Final = INPUTS > 5000
"""Then memory is compared from one search for cyclic garbage on, up to which it rises: what is
refused leaves some behind. In so few inputs as otherwise that does not matter."""
WARM_UP: Final = 8000 if IN_EARNEST else 1500
"""Inputs until everything that is opened or cached lazily is, and the heap has the holes that so
many leave: what is freed in between does not go back to the system."""
GROWTH: Final = 1.1
CLIENTS: Final = 16
SOON_S: Final = 20.0
IDLE_S: Final = 0.5
TRIES: Final = 5
"""On a busy machine a request may come later than its connection may be idle."""
MEDIA: Final = (b"application/json", b"application/x-ndjson", b"application/msgpack", b"text/plain")
ENCODINGS: Final = (b"identity", b"gzip", b"zstd", b"br")
QUERIES: Final = (b"", b"?limit=2", b"?atomic=true", b"?x=%00", b"?from=2025", b"?cursor=%ff")
HEADERS: Final = (
    *(b"", b"", b"Expect: 100-continue\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Idempotency-Key: k\r\n", b"Host: b\r\n", b"Authorization: Bearer \xff\r\n"),
)
CONFIG: Final = f"""
[server]
bind = "127.0.0.1:0"
allowed_hosts = ["a"]
keep_alive_timeout_secs = {IDLE_S}
send_timeout_secs = 0.5
max_body_bytes = 100000
[engine]
max_series = 1000
snapshot_interval_secs = 3600
[logging]
format = "json"
level = "info"
"""


def request(chance: random.Random) -> bytes:
    """Return a request with some things wrong, or bytes that are none."""
    if chance.random() < 0.1:
        return b"".join(chance.choice(list(ATTACKS.values())))
    route = chance.choice(ROUTES)
    path = route.path.replace("<", "").replace(">", "").encode()
    body = chance.choice(BODIES + COMPRESSED)
    query = chance.choice(QUERIES)
    length = chance.choice((len(body), len(body), len(body), len(body) + 9, 0, -1))
    data = (
        b"%b %b%b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\nContent-Encoding: %b\r\n"
        b"Content-Length: %d\r\n%b\r\n%b"
    ) % (
        route.method.encode(),
        path,
        query,
        chance.choice(MEDIA),
        chance.choice(ENCODINGS),
        length,
        chance.choice(HEADERS),
        body,
    )
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.choice(NASTY) + data[at + chance.randrange(9) :]
    return data


def send(port: int, data: bytes, chance: random.Random) -> None:
    """Send ``data`` in up to three pieces, read a little, and leave in one way or another."""
    with (
        contextlib.suppress(ConnectionError, TimeoutError),
        socket.create_connection(("127.0.0.1", port), timeout=SOON_S) as client,
    ):
        client.settimeout(0.02)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 2))))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            client.sendall(data[begin:end])
        if chance.random() < 0.3:
            client.shutdown(socket.SHUT_WR)
        if chance.random() < 0.5:
            client.recv(65536)


class State:
    """What must be as it was."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self._process, self._port = psutil.Process(daemon.pid), port

    def descriptors(self) -> int:
        """Return how many there are beside the store's, which opens readers when it needs them."""
        return sum("alertd.db" not in one for one in self.open())

    def open(self) -> list[str]:
        """Return what its descriptors are of."""
        found = []
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                found.append(os.readlink(link))
        return found

    def memory_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    def collections(self) -> int:
        """Return how often it has looked for cyclic garbage."""
        text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", trust_env=False).text
        (count,) = re.findall(r"alertd_garbage_collection_seconds_count (\d+)", text)
        return int(count)

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self._port), timeout=SOON_S) as client:
            client.sendall(HEALTH)
            return read_status(client) == 200

    def settle(self, descriptors: int) -> bool:
        """Return whether the descriptors are back to so many, waiting for it."""
        deadline = time.monotonic() + SOON_S
        while time.monotonic() < deadline:
            if self.descriptors() <= descriptors:
                return True
            time.sleep(0.05)
        return False


def test_a_daemon_is_as_it_was_after_nearly_right_requests(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  # to be run again
    try:
        with Daemon(tmp_path, CONFIG, minimal="") as daemon:
            port = int(daemon.url.rpartition(":")[2])
            state = State(daemon, port)
            send_and_compare(
                daemon, state, lambda: send(port, request(chance), chance), INPUTS // 5
            )
    except BaseException as error:
        error.add_note(f"ALERTD_FUZZ_SEED={SEED} ALERTD_FUZZ_INPUTS={INPUTS}")
        raise


def load_everything(daemon: Daemon) -> None:
    """Ask for all that is loaded when it is asked for first, and for all that fills a cache."""
    hosts = [{"metricName": "m", "labels": {"host": str(number)}} for number in range(500)]
    written_alike = [
        {"metricName": "m", "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{number:06}Z"}
        for number in range(1000)
    ]
    with httpx.Client(
        base_url=daemon.url,
        headers={"Host": "a", "Connection": "close"},  # which else may end just when it is used
        timeout=SOON_S,
        trust_env=False,
    ) as client:

        def get(path: str, encoding: str = "identity") -> None:
            for _ in range(TRIES):
                with contextlib.suppress(httpx.RemoteProtocolError):
                    answer = client.get(path, headers={"Accept-Encoding": encoding})
                    assert answer.status_code == 200
                    return
            pytest.fail(f"{path} was never answered")

        for events in (hosts, written_alike):
            assert client.post("/api/events", json=events).status_code == 202
        for path in ("/openapi.json", "/docs", "/metrics", "/api/status"):
            for encoding in ("identity", "gzip", "zstd"):
                get(path, encoding)
        get("/api/events?resolution=60")
        get("/api/series?limit=1000")
        with ThreadPoolExecutor(CLIENTS) as clients:  # for whom the store opens all its readers
            list(clients.map(get, ["/api/events?limit=1000"] * 4 * CLIENTS))


def warm_up(daemon: Daemon, state: State, send_one: Callable[[], None]) -> None:
    """Bring it to where its memory does not rise any more."""
    load_everything(daemon)
    enough = state.collections() + 2 * IN_EARNEST  # the time between two is a whole one
    for number in count():
        if number >= WARM_UP and number % 100 == 0 and state.collections() >= enough:
            break
        send_one()


def send_and_compare(
    daemon: Daemon, state: State, send_one: Callable[[], None], inputs: int
) -> None:
    """Have so many sent to a daemon that has had some, and hold it against what it was before."""
    warm_up(daemon, state, send_one)
    assert state.answers()
    time.sleep(IDLE_S * 3)
    descriptors, memory = state.descriptors(), state.memory_bytes()
    for number in range(inputs):
        send_one()
        if number % 500 == 0:
            assert state.answers()
    assert daemon.alive
    assert state.answers()
    assert state.settle(descriptors), f"a descriptor has leaked, of {state.open()}"
    assert state.memory_bytes() < memory * GROWTH
