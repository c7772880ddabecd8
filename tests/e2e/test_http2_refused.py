"""HTTP/2 is refused, in whichever way it is tried, and whatever is sent of it costs nothing.

A real client's frames (those of ``h2``) and floods of frames that have hurt HTTP/2 servers: rapid
reset (CVE-2023-44487), CONTINUATION without an end (CVE-2024-27316), settings and pings that want
answers, headers that inflate, windows that stay closed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import h2.config
import h2.connection
import psutil
import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.e2e.daemon import Daemon
from tests.e2e.test_http_hazards import SOON_S, Server, event, eventually, start_server
from tests.e2e.test_tls import Files, connected, read_to_end

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = [
    (":method", "POST"), (":path", "/api/events"), (":scheme", "http"), (":authority", "a"),
]  # fmt: skip
FLOOD_BYTES = 1 << 20
GROWTH_BYTES = 16 << 20
REFUSAL = b"HTTP/1.1 505 HTTP Version Not Supported\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("http2")
    with start_server(folder, keep_alive_timeout_secs=1, send_timeout_secs=1) as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The server is after each test as it was before."""
    if "server" not in request.fixturenames:
        yield
        return
    server: Server = request.getfixturevalue("server")
    process = psutil.Process(server.daemon.pid)
    before = process.memory_info().rss
    yield
    assert server.status_of("POST", "/api/events", event().decode()) == 202
    assert eventually(server.is_at_rest), "a descriptor has leaked"
    assert process.memory_info().rss < before + GROWTH_BYTES
    assert not [line for line in server.daemon.lines if line["event"] == "connection_failed"]


def frames(*of: Frame) -> bytes:
    return b"".join(frame.serialize() for frame in of)


def settings(**pairs: int) -> bytes:
    return frames(SettingsFrame(0, settings={int(key[1:]): value for key, value in pairs.items()}))


def headers(stream: int, *, flags: tuple[str, ...] = ("END_HEADERS",)) -> HeadersFrame:
    return HeadersFrame(stream, data=Encoder().encode(HEADERS), flags=flags)


def rapid_reset(number: int) -> bytes:
    stream = 2 * number + 1
    return frames(headers(stream), RstStreamFrame(stream, error_code=8))


FLOODS: dict[str, Callable[[int], bytes]] = {
    "rapid reset": rapid_reset,
    "headers without an end": lambda number: (
        frames(ContinuationFrame(1, data=b"\x00" * 16_000))
        if number
        else frames(headers(1, flags=()))
    ),
    "settings": lambda _: settings(_1=4096, _4=2**31 - 1),
    "pings": lambda _: frames(PingFrame(0, opaque_data=b"12345678")),
    "headers that inflate": lambda number: frames(
        HeadersFrame(2 * number + 1, data=b"\xbe" * 16_000, flags=["END_HEADERS"])
    ),
    "empty data": lambda number: frames(DataFrame(1)) if number else frames(headers(1)),
    "priorities": lambda number: frames(PriorityFrame(2 * number + 1, depends_on=0)),
    "windows": lambda number: frames(WindowUpdateFrame(number % 100, window_increment=2**31 - 1)),
    "streams": lambda number: frames(headers(2 * number + 1)),
}


def h2_request() -> bytes:
    """Return what a client of ``h2`` sends that knows beforehand that the server speaks it."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [*HEADERS, ("content-type", "application/json")])
    client.send_data(1, event(), end_stream=True)
    return client.data_to_send()


def speak(client: socket.socket, *pieces: bytes) -> bytes:
    """Send ``pieces`` for as long as they are taken; return all that is answered until the end."""
    with suppress(ConnectionError, TimeoutError):
        for piece in pieces:
            client.sendall(piece)
    return read_to_end(client)


def test_a_real_client_that_knows_beforehand_is_told_what_is_spoken(server: Server) -> None:
    with server.connect() as client:
        reply = speak(client, h2_request())
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(REFUSAL[:-2])
    assert b"connection: close" in head
    assert b"HTTP/1.1; with curl: --http1.1" in body


@pytest.mark.parametrize("cut", range(1, len(PREFACE), 5))
def test_a_preface_in_pieces_is_refused_as_well(server: Server, cut: int) -> None:
    with server.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(PREFACE[:cut])
        time.sleep(0.02)
        reply = speak(client, PREFACE[cut:] + settings())
    assert reply.startswith((REFUSAL, b"HTTP/1.1 400 ")), reply
    assert reply.count(b"HTTP/1.1 ") == 1


def test_a_preface_after_a_request_is_refused_and_the_request_answered(server: Server) -> None:
    with server.connect() as client:
        reply = speak(client, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", h2_request())
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert reply.count(REFUSAL) == 1


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_frames_is_refused_once_and_let_go_soon(server: Server, flood: str) -> None:
    make = FLOODS[flood]
    size, pieces = 0, [PREFACE, settings()]
    while size < FLOOD_BYTES:
        pieces.append(b"".join(make(len(pieces) * 100 + each - 200) for each in range(100)))
        size += len(pieces[-1])
    began_s = time.monotonic()
    with server.connect() as client:
        reply = speak(client, *pieces)
    assert reply.count(b"HTTP/1.1 ") == reply.count(REFUSAL) <= 1, "a reset may overtake it"
    assert time.monotonic() - began_s < SOON_S


@pytest.mark.parametrize(
    "token", [b"AAMAAABkAAQAAP__", b"", b"!", b"A" * 8000], ids=["right", "empty", "bad", "long"]
)
@pytest.mark.parametrize("method", [b"GET /healthz", b"POST /api/events"], ids=["get", "post"])
def test_an_upgrade_is_not_taken_up(server: Server, method: bytes, token: bytes) -> None:
    body = event() if method.startswith(b"POST") else b""
    request = (
        b"%b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (method, token, len(body), body)
    with server.connect() as client:
        reply = speak(client, request, h2_request())
    assert b"101" not in reply.partition(b"\r\n")[0]
    assert reply.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 202 "))
    assert reply.count(REFUSAL) == 1, "what follows is HTTP/2 all the same"


@pytest.mark.parametrize("offered", [("h2",), ("h2", "http/1.1"), ()], ids=str)
def test_over_tls_it_is_not_agreed_on_and_not_spoken(
    tmp_path: Path, offered: tuple[str, ...]
) -> None:
    files = Files(tmp_path)
    with Daemon(files.folder, files.config(), minimal="") as daemon:
        process = psutil.Process(daemon.pid)
        descriptors = 0
        for flood in ("pings", "rapid reset", "headers without an end"):
            pieces = [h2_request(), *(FLOODS[flood](number) for number in range(200))]
            with suppress(ssl.SSLError), connected(daemon, files.trusting(alpn=offered)) as client:
                assert client.selected_alpn_protocol() in (None, "http/1.1")
                reply = speak(client, *pieces)
                assert reply.count(b"HTTP/1.1 ") == reply.count(REFUSAL) <= 1
            if not descriptors:  # what is opened lazily is open now
                time.sleep(1.5)
                descriptors = process.num_fds()
        assert eventually(lambda: process.num_fds() <= descriptors)
        assert not [line for line in daemon.lines if line["event"] == "connection_failed"]
