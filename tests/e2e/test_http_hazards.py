"""What a client can do to the HTTP server over a raw socket, and what it must not achieve.

Most drive a real daemon on a real port and then check that it still answers and holds no more
file descriptors than before; the last ones look at a server inside this process.
"""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import structlog
import trio
import trio.testing
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from alertd.errors import AlertdError
from alertd.http.express import Express
from alertd.http.hardening import HardenedQuart
from alertd.http.penalty import Penalty
from alertd.http.server import _Clients, serve
from alertd.metrics import Metrics
from tests.e2e.daemon import Daemon
from tests.e2e.hazard_server import Limits, make_app, open_site

MAX_BODY_BYTES = 1_000_000
MAX_CONNECTIONS = 20
KEEP_ALIVE_S = 1.0
SEND_TIMEOUT_S = 1.0
GRACE_S = 1.0
SOON_S = 10.0
"""Longer than anything takes that does not hang, also on a busy machine."""

LONG_RULE = json.dumps(
    {"name": "long", "type": "SIMPLE_COUNT", "metricName": "none", "threshold": 1,
     "windowDurationSecs": 1, "description": "x" * 10_000}
)  # fmt: skip
"""A rule that makes ``GET /api/alerts`` a large reply."""
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED_POST = (
    b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@dataclass
class Server:
    """A running daemon, seen from below HTTP."""

    daemon: Daemon
    port: int
    fds_at_rest: int = 0

    def connect(self) -> socket.socket:
        """Return a new connection, for the caller to close."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SOON_S)

    def ask(self, request: bytes) -> bytes:
        """Return what a client reads that sends ``request`` and waits for the connection's end."""
        with self.connect() as client:
            client.sendall(request)
            return read_to_end(client)

    def status_of(self, method: str, path: str, body: str | None = None) -> int:
        """Return the status of a normal request on its own connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            with connection.getresponse() as response:
                response.read()
                return response.status
        finally:
            connection.close()

    def fds(self) -> int:
        """Return how many descriptors are open but for the store's: it opens readers as needed."""
        process = psutil.Process(self.daemon.pid)
        of_store = [file for file in process.open_files() if ".db" in Path(file.path).name]
        return process.num_fds() - len(of_store)

    def clients(self) -> int:
        sockets = psutil.Process(self.daemon.pid).net_connections("tcp")
        return sum(bool(each.raddr) for each in sockets)

    def is_at_rest(self) -> bool:
        return self.fds() <= self.fds_at_rest

    def stop_and_time(self) -> float:
        """Send SIGTERM; return the seconds until the process has ended, which must be clean."""
        seconds = self.daemon.stop()
        assert self.daemon.exit_code == 0
        return seconds


@contextmanager
def start_server(directory: Path, **limits: float) -> Iterator[Server]:
    """Run a daemon with these fields of ``[server]`` and no work of its own in the background."""
    lines = [f"{name} = {value}" for name, value in limits.items()]
    server_table = '[server]\nbind = "127.0.0.1:0"\nallowed_hosts = ["a"]\n' + "\n".join(lines)
    engine_table = "\n[engine]\nsnapshot_interval_secs = 3600\n"
    with Daemon(directory, server_table + engine_table, minimal="") as daemon:
        server = Server(daemon, int(daemon.url.rpartition(":")[2]))
        # What is opened lazily is opened now.
        assert server.status_of("POST", "/api/alerts", LONG_RULE) == 201
        assert server.status_of("POST", "/api/events", event().decode()) == 202
        assert server.status_of("GET", "/api/history") == 200
        with server.connect() as client:
            client.sendall(HEALTH)
            assert read_status(client) == 200
            assert eventually(lambda: server.clients() == 1), "those before it have gone"
            server.fds_at_rest = server.fds() - 1
        yield server


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with short limits, for every test that leaves it running."""
    with start_server(
        tmp_path_factory.mktemp("shared"),
        max_connections=MAX_CONNECTIONS,
        max_body_bytes=MAX_BODY_BYTES,
        keep_alive_timeout_secs=KEEP_ALIVE_S,
        send_timeout_secs=SEND_TIMEOUT_S,
        shutdown_grace_secs=GRACE_S,
    ) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """The shared server, which must be as well after the test as it was before."""
    yield shared_server
    assert shared_server.daemon.alive, "the server has ended"
    assert shared_server.status_of("GET", "/healthz") == 200
    assert shared_server.status_of("POST", "/api/events", event().decode()) == 202
    assert eventually(shared_server.is_at_rest), "a descriptor has leaked"


@pytest.fixture
def hasty_server(tmp_path: Path) -> Iterator[Server]:
    """A server to shut down that is patient with clients until then, and not for long after."""
    with start_server(tmp_path, shutdown_grace_secs=GRACE_S) as server:
        yield server


@pytest.fixture
def patient_server(tmp_path: Path) -> Iterator[Server]:
    """A server to shut down whose grace time no test can wait for."""
    with start_server(tmp_path, shutdown_grace_secs=SOON_S) as server:
        yield server


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for ``condition``, for as long as anything takes that does not hang."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def read_to_end(client: socket.socket) -> bytes:
    """Return what comes until the server closes; raise TimeoutError when it does not."""
    received = b""
    with suppress(ConnectionResetError):
        while data := client.recv(65536):
            received += data
    return received


def read_status(client: socket.socket) -> int:
    """Read the next reply of a connection that stays open; return its status."""
    with HTTPResponse(client) as response:
        response.begin()
        response.read()
        return response.status


@contextmanager
def stop_reading(server: Server) -> Iterator[None]:
    """Be a client that asks for more than the sockets' buffers hold, and reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /api/alerts HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        assert eventually(lambda: not server.is_at_rest())
        yield


def event() -> bytes:
    """Return a body that ``POST /api/events`` accepts."""
    return json.dumps({"metricName": "m", "timestamp": time.time(), "value": 1}).encode()


# Whole connections that have ended a server before, and some that should not either.


def http2(*frames: Frame) -> bytes:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    return preface + b"".join(frame.serialize() for frame in (SettingsFrame(0), *frames))


def http2_headers(*headers: tuple[bytes, bytes], more: bool = False) -> HeadersFrame:
    flags = ["END_HEADERS"] if more else ["END_HEADERS", "END_STREAM"]
    return HeadersFrame(1, data=Encoder().encode(list(headers)), flags=flags)


def http2_request(method: bytes, path: bytes, *, more: bool = False) -> HeadersFrame:
    return http2_headers(
        (b":method", method),
        (b":path", path),
        (b":scheme", b"http"),
        (b":authority", b"a"),
        more=more,
    )


WEBSOCKET_UPGRADE = (
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ATTACKS: dict[str, tuple[bytes, bytes]] = {
    # name: what is sent at first, what is sent after an answer
    "websocket_upgrade_and_a_byte": (WEBSOCKET_UPGRADE + b"\x00", b""),
    "websocket_upgrade_in_small_letters": (WEBSOCKET_UPGRADE.replace(b"GET", b"get"), b""),
    "websocket_upgrade_without_a_key": (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\x00",
    ),
    "http2_data_after_an_early_answer": (
        http2(http2_request(b"POST", b"/nowhere", more=True)),
        DataFrame(1, data=b"late").serialize(),
    ),
    "http2_path_not_ascii": (http2(http2_request(b"GET", b"/\xff\xfe")), b""),
    "http2_method_not_ascii": (http2(http2_request(b"G\xc3\x89T", b"/healthz")), b""),
    "http2_plain_connect": (
        http2(http2_headers((b":method", b"CONNECT"), (b":authority", b"a:1"))),
        DataFrame(1, data=b"x").serialize(),
    ),
    "http2_upgrade_with_bad_settings": (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: !\r\n\r\n",
        b"\x00",
    ),
    "tls_client_hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, b""),
    "path_not_ascii": (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "method_not_ascii": (b"G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", b""),
    "host_is_no_host": (b"GET /healthz HTTP/1.1\r\nHost: [::1\r\n\r\n", b""),
    "bad_chunk_size": (CHUNKED_POST + b"zz\r\n", b"zz"),
    "endless_header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, b""),
    "bad_target_with_a_body_in_many_pieces": (
        b"POST http://[::1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 10_000,
        b"",
    ),
    "unknown_path_with_a_body": (
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + b"x" * 900_000,
        b"",
    ),
    "body_cut_short": (
        b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
        b"",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_bytes_of_a_client_end_the_server(server: Server, attack: str) -> None:
    first, then = ATTACKS[attack]
    with server.connect() as client:
        client.settimeout(0.2)
        for part in (first, then):
            with suppress(TimeoutError, ConnectionError):
                client.sendall(part)
                read_to_end(client)


def test_no_connection_outlives_its_last_request(server: Server) -> None:
    with ExitStack() as clients:
        for first, _ in ATTACKS.values():
            client = clients.enter_context(server.connect())
            with suppress(ConnectionError):
                client.sendall(first)
        assert eventually(lambda: not server.is_at_rest())
        assert eventually(server.is_at_rest)


def test_a_client_that_leaves_at_once_leaves_nothing_behind(server: Server) -> None:
    for _ in range(50):
        with server.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.sendall(HEALTH)


def test_http2_is_refused_by_name(server: Server) -> None:
    reply = server.ask(http2(http2_request(b"GET", b"/healthz")))
    assert reply.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")


def test_an_offer_of_http2_is_answered_in_http1(server: Server) -> None:
    reply = server.ask(
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    )
    assert reply.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", [b"GET", b"get", b"Get"])
def test_a_websocket_is_refused_and_closed(server: Server, method: bytes) -> None:
    reply = server.ask(WEBSOCKET_UPGRADE.replace(b"GET", method))
    assert reply.startswith(b"HTTP/1.1 403 ")
    assert b"alertd speaks no WebSocket" in reply


def test_connection_close_closes_after_the_reply(server: Server) -> None:
    begun = time.monotonic()
    reply = server.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - begun < KEEP_ALIVE_S


def test_a_kept_alive_connection_serves_again_and_closes_when_idle(server: Server) -> None:
    with server.connect() as client:
        for _ in range(3):
            client.sendall(HEALTH)
            assert read_status(client) == 200
            time.sleep(KEEP_ALIVE_S / 2)
        idle_since = time.monotonic()
        assert read_to_end(client) == b""
        assert time.monotonic() - idle_since < SOON_S / 2


@pytest.mark.parametrize("start", [b"", b"GET /healthz HTTP/1.1\r\n"], ids=["silent", "headers"])
def test_a_slow_start_ends_at_the_keep_alive_timeout(server: Server, start: bytes) -> None:
    begun = time.monotonic()
    with server.connect() as client:
        client.sendall(start)
        client.settimeout(0.1)
        with suppress(ConnectionError):
            while time.monotonic() - begun < SOON_S:
                with suppress(TimeoutError):
                    assert client.recv(1) == b""
                    break
                client.sendall(b"X: y\r\n" if start else b"")
    assert KEEP_ALIVE_S * 0.8 < time.monotonic() - begun < SOON_S


def test_a_slow_body_gets_408(server: Server) -> None:
    with server.connect() as client:
        client.sendall(CHUNKED_POST)
        client.settimeout(0.1)
        reply = b""
        begun = time.monotonic()
        while not reply and time.monotonic() - begun < SOON_S:
            client.sendall(b"1\r\nx\r\n")
            with suppress(TimeoutError):
                reply = client.recv(65536)
        assert reply.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_stops_reading_is_let_go(server: Server) -> None:
    with stop_reading(server):
        assert eventually(server.is_at_rest)


def test_one_connection_too_many_is_told_503_and_closed(server: Server) -> None:
    with ExitStack() as clients:
        for _ in range(MAX_CONNECTIONS):
            client = clients.enter_context(server.connect())
            client.sendall(HEALTH)
            assert read_status(client) == 200
        reply = server.ask(HEALTH)
    assert reply.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in reply
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert eventually(server.is_at_rest)


def test_running_out_of_descriptors_only_delays_a_client(server: Server) -> None:
    pid = server.daemon.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    allowed = psutil.Process(pid).num_fds() + 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (allowed, before[1]))
    try:
        with ExitStack() as clients:
            waiting = [clients.enter_context(server.connect()) for _ in range(5)]
            for client in waiting:
                client.sendall(HEALTH)
            for client in waiting:  # each is accepted when one before it has closed
                assert read_status(client) == 200
                client.close()
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("declared", [True, False], ids=["content_length", "chunked"])
def test_a_body_over_the_limit_gets_413(server: Server, declared: bool) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1)
    if declared:
        head = b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        request = head + body
    else:
        request = CHUNKED_POST + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    with server.connect() as client:
        client.sendall(request)
        assert read_status(client) == 413


def test_a_413_is_not_lost_to_a_client_that_is_still_sending(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /api/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
        for _ in range(10):
            client.sendall(b"x" * 10_000)
            time.sleep(0.01)
        assert read_to_end(client).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("target", [b"http://[::1", b"?a=b", b"*", b"http://host", b"a:b"])
def test_a_target_without_a_path_gets_400(server: Server, target: bytes) -> None:
    reply = server.ask(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % target)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in reply


def test_an_absolute_target_is_served(server: Server) -> None:
    reply = server.ask(b"GET http://a/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 200 ")


def test_replies_do_not_name_the_server_software(server: Server) -> None:
    reply = server.ask(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"\nserver:" not in reply.lower()


def test_shutdown_closes_idle_connections_at_once(patient_server: Server) -> None:
    with patient_server.connect(), patient_server.connect() as kept_alive:
        kept_alive.sendall(HEALTH)
        assert read_status(kept_alive) == 200
        assert patient_server.stop_and_time() < SOON_S


def test_shutdown_lets_a_request_in_progress_finish(patient_server: Server) -> None:
    body = event()
    with patient_server.connect() as client:
        client.sendall(CHUNKED_POST + b"%x\r\n" % len(body) + body[:1])
        time.sleep(0.1)
        begun = time.monotonic()
        patient_server.daemon.signal(signal.SIGTERM)
        assert eventually(lambda: refuses_connections(patient_server))
        client.sendall(body[1:] + b"\r\n0\r\n\r\n")
        assert read_to_end(client).startswith(b"HTTP/1.1 202 ")
    assert patient_server.daemon.wait_for_end() == 0
    assert time.monotonic() - begun < SOON_S


def refuses_connections(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return True
    return False


def test_shutdown_does_not_wait_for_a_body_beyond_the_grace_time(hasty_server: Server) -> None:
    with hasty_server.connect() as client:
        client.sendall(CHUNKED_POST)
        time.sleep(0.1)
        assert GRACE_S * 0.8 < hasty_server.stop_and_time() < GRACE_S + 2


def test_shutdown_does_not_wait_for_a_reader_beyond_the_grace_time(hasty_server: Server) -> None:
    with stop_reading(hasty_server):
        time.sleep(0.5)
        assert GRACE_S * 0.8 < hasty_server.stop_and_time() < GRACE_S + 2


class FailsOnce:
    """An express lane with a defect that the first request comes upon."""

    def __init__(self) -> None:
        self._has_failed = False

    def recognise(self, data: bytes) -> None:
        if not self._has_failed:
            self._has_failed = True
            raise ValueError("a defect")


async def start_here(
    nursery: trio.Nursery, limits: Limits, metrics: Metrics, express: Express | None = None
) -> int:
    """Serve in this process, in ``nursery``; return the port."""

    async def run(task_status: trio.TaskStatus[list[str]]) -> None:
        site, never = open_site(limits, partial(make_app, metrics), express), trio.Event()
        await serve(site, limits, metrics=metrics, shutdown=never, task_status=task_status)

    bound: list[str] = await nursery.start(run)
    return int(bound[0].rpartition(":")[2])


async def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``, for as long as anything takes that does not hang."""
    with trio.fail_after(SOON_S):
        while not condition():  # a metric has no event to wait for
            await trio.sleep(0.01)


async def test_what_clients_do_is_counted_and_logged() -> None:
    metrics = Metrics()

    def value(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"alertd_{name}")

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            express = cast("Express", FailsOnce())
            port = await start_here(nursery, Limits(max_connections=1), metrics, express)
            async with await trio.open_tcp_stream("127.0.0.1", port) as attacker:
                await attacker.send_all(HEALTH)
                await until(lambda: value("http_connection_errors_total") == 1)
            await until(lambda: value("http_connections") == 0)
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                await client.send_all(HEALTH)
                await client.receive_some()
                assert value("http_connections") == 1
                async with await trio.open_tcp_stream("127.0.0.1", port) as refused:
                    assert (await refused.receive_some()).startswith(b"HTTP/1.1 503 ")
            nursery.cancel_scope.cancel()
    assert value("http_connections_refused_total") == 1
    assert value("http_connections") == 0
    warnings = [line["event"] for line in logs if line["log_level"] == "warning"]
    assert warnings == ["connection_failed", "connections_refused"]


async def test_a_connection_accepted_at_the_last_moment_is_closed_at_once() -> None:
    limits, metrics = Limits(), Metrics()
    clients = _Clients(
        open_site(limits, partial(make_app, metrics)), None, Penalty(), limits, metrics
    )
    ours, theirs = trio.socket.socketpair()
    await clients.drain()
    async with trio.SocketStream(ours), trio.SocketStream(theirs) as stream:
        with trio.fail_after(1):
            await clients.serve(stream)


async def replies_to(request: bytes, clients: int) -> list[bytes]:
    """Return what each of so many clients reads that send ``request``; nothing may be logged."""
    replies: list[bytes] = []

    async def ask(port: int) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as client:
            await client.send_all(request)
            replies.append(b"".join([part async for part in client]))

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            port = await start_here(nursery, Limits(), Metrics())
            async with trio.open_nursery() as asking:
                for _ in range(clients):
                    asking.start_soon(ask, port)
            nursery.cancel_scope.cancel()
    assert not logs
    return replies


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_of_two_replies_to_a_bad_body_one_is_sent_and_whole(method: bytes) -> None:
    """The application says 404 while the protocol says that the body is none."""
    request = method + b" /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    for reply in await replies_to(request, 80):
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 404"}, reply
        declared = re.search(rb"content-length: (\d+)", head)
        assert declared is not None
        assert len(body) == (0 if method == b"HEAD" else int(declared[1]))


async def test_bytes_behind_a_request_for_a_websocket_do_not_hinder_its_refusal() -> None:
    for reply in await replies_to(WEBSOCKET_UPGRADE + b"\x00", 20):
        assert reply.startswith(b"HTTP/1.1 403 ")
        refusal = json.loads(reply.partition(b"\r\n\r\n")[2])
        assert refusal["detail"] == "alertd speaks no WebSocket"


async def test_no_second_reply_is_begun_for_a_client_that_has_gone_before_the_first() -> None:
    limits, metrics = Limits(), Metrics()
    site = open_site(limits, partial(make_app, metrics))
    clients = _Clients(site, None, Penalty(), limits, metrics)
    ours, theirs = trio.socket.socketpair()
    theirs.shutdown(socket.SHUT_RD)  # so it is the reply that finds out, not the next request
    with structlog.testing.capture_logs() as logs:
        async with trio.SocketStream(ours) as stream, trio.SocketStream(theirs) as client:
            await client.send_all(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
            with trio.fail_after(SOON_S):
                await clients.serve(stream)
    assert not logs
    assert not metrics.registry.get_sample_value("alertd_http_connection_errors_total")


async def test_no_client_delays_a_server_that_is_cancelled() -> None:
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            port = await start_here(nursery, Limits(), Metrics())
            client = await trio.open_tcp_stream("127.0.0.1", port)
            await client.send_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
            await trio.sleep(0.3)  # until the server has filled the buffers between them
            nursery.cancel_scope.cancel()
    await client.aclose()


async def test_a_refused_request_ends_however_much_body_is_queued(
    autojump_clock: trio.testing.MockClock,
) -> None:
    to_app, from_server = trio.open_memory_channel[Any](1)  # as hypercorn's, which holds ten
    await to_app.send({"type": "http.request", "body": b"x", "more_body": True})
    statuses = []

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))
        if message["type"] == "http.response.body":
            await to_app.send({"type": "http.disconnect"})

    scope: Any = {"type": "http", "path": "http://[::1"}
    with trio.fail_after(SOON_S):
        await HardenedQuart(__name__)(scope, from_server.receive, send)
    assert statuses == [400, None]


async def listen(bind: str) -> None:
    metrics = Metrics()
    shutdown = trio.Event()
    shutdown.set()
    limits = Limits(bind=bind)
    site = open_site(limits, partial(make_app, metrics))
    await serve(site, limits, metrics=metrics, shutdown=shutdown)


async def test_an_address_in_use_is_named_with_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        bind = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(AlertdError, match=rf"cannot listen on {bind}: .*another port"):
            await listen(bind)


async def test_an_address_of_another_machine_is_named_with_a_remedy() -> None:
    with pytest.raises(AlertdError, match=r"cannot listen on 192\.0\.2\.1:9470: .*`ip address`"):
        await listen("192.0.2.1:9470")


@pytest.mark.parametrize("bind", ["9470", "127.0.0.1", "127.0.0.1:http", "a/b:1", ":1", "[::1:1"])
async def test_what_is_no_address_is_named_with_an_example(bind: str) -> None:
    with pytest.raises(AlertdError, match=r"cannot listen on '.*for example 127\.0\.0\.1:9470"):
        await listen(bind)
