"""A real listener over in-memory parts: what is taken, acknowledged, refused, waited for, ended."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from structlog.testing import capture_logs

from alertd.access import Scope, Token, digest_of
from alertd.config.lines import LinesConfig
from alertd.config.server import ServerConfig
from alertd.errors import AlertdError, Overloaded, StoreUnavailable
from alertd.limits import Limit
from alertd.lines import connection
from alertd.lines.connection import MAX_BATCH_LINES, Door
from alertd.lines.listener import _Clients, serve_lines
from alertd.model import RefusalReason
from alertd.tls import Tls
from tests.unit.http.fakes import Site

Json = Any  # decoded JSON

SECRET = "s" * 32
INGEST = Token(name="web-1", scopes=frozenset({Scope.INGEST}), digest=digest_of(SECRET.encode()))
GREETING = {"token": SECRET}
SEND_TIMEOUT_S = 30.0
GRACE_S = 5.0


class Client:
    """One connection, from the side of who sends."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = b""

    async def send(self, *lines: Json) -> None:
        """Send lines, JSON or bytes as they are."""
        texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        await self.stream.send_all(b"".join(text + b"\n" for text in texts))

    async def answer(self) -> Json:
        """Return the next answer; None if the connection has ended."""
        while b"\n" not in self._rest:
            data = await self.stream.receive_some(65536)
            if not data:
                assert not self._rest
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    async def answers(self) -> list[Json]:
        """Return the answers up to the end."""
        found: list[Json] = []
        while (answer := await self.answer()) is not None:
            found.append(answer)
        return found

    async def until_acknowledged(self, position: int) -> list[Json]:
        """Return what is answered up to an acknowledgement of ``position``."""
        found: list[Json] = []
        while not found or found[-1] != {"acknowledged": position}:
            found.append(await self.answer())
        return found


class Running:
    """A listener with both sockets."""

    def __init__(self, site: Site, addresses: list[str], shutdown: trio.Event) -> None:
        self.site = site
        self.shutdown = shutdown
        self.path, tcp = addresses
        self.port = int(tcp.rpartition(":")[2])
        self._clients: list[Client] = []

    async def tcp(self) -> Client:
        self._clients.append(Client(await trio.open_tcp_stream("127.0.0.1", self.port)))
        return self._clients[-1]

    async def unix(self) -> Client:
        self._clients.append(Client(await trio.open_unix_socket(self.path)))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.stream.socket.close()

    def counted(self, name: str, **labels: str) -> float:
        return self.site.metrics.registry.get_sample_value(f"alertd_{name}", labels) or 0.0

    def stored(self) -> list[float]:
        return [value for batch in self.site.log.batches for value in batch.values]


def door_of(site: Site, config: LinesConfig) -> Door:
    return Door(
        site.services.intake,
        site.gate,
        site.penalty,
        site.metrics,
        config,
        send_timeout_s=SEND_TIMEOUT_S,
    )


@asynccontextmanager
async def running(
    folder: Path, site: Site, *, tls: Tls | None = None, **limits: Any
) -> AsyncIterator[Running]:
    shutdown = trio.Event()
    config = LinesConfig(bind="127.0.0.1:0", socket=str(folder / "lines.sock"), **limits)
    door = door_of(site, config)
    run = partial(serve_lines, config, door, tls=tls, grace_s=GRACE_S, shutdown=shutdown)
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(run)
        server = Running(site, addresses, shutdown)
        try:
            yield server
        finally:
            server.close()
            nursery.cancel_scope.cancel()


def event(value: Json = 1.0, **members: Json) -> Json:
    return {"metricName": "m", "value": value, **members}


def numbered(count: int) -> list[Json]:
    return [event(number) for number in range(1, count + 1)]


# ---- what is taken


@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_lines_are_stored_in_their_order_and_acknowledged_by_position(
    tmp_path: Path, way: str
) -> None:
    async with running(tmp_path, Site()) as server:
        client = await (server.tcp() if way == "tcp" else server.unix())
        await client.send(*numbered(3))
        await client.until_acknowledged(3)
        await client.send(*numbered(2))
        await client.until_acknowledged(5)
        assert server.stored() == [1, 2, 3, 1, 2]
        assert server.counted("lines_acknowledged_total") == 5


async def test_nothing_is_acknowledged_before_it_is_durable(tmp_path: Path) -> None:
    site = Site()
    site.log.gate = trio.Event()
    async with running(tmp_path, site) as server:
        client = await server.unix()
        await client.send(event())
        with trio.move_on_after(0.05):
            raise AssertionError(await client.answer())
        site.log.gate.set()
        assert await client.answer() == {"acknowledged": 1}


async def test_what_comes_while_a_batch_is_stored_is_one_batch(tmp_path: Path) -> None:
    site = Site()
    site.log.gate = trio.Event()
    async with running(tmp_path, site) as server:
        client = await server.unix()
        await client.send(event(0))
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(1, 100):
            await client.send(event(number))
        site.log.gate.set()
        await client.until_acknowledged(100)
        assert [len(batch) for batch in site.log.batches] == [1, 99]
        assert server.stored() == list(range(100))


async def test_a_batch_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        count = 3 * MAX_BATCH_LINES + 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, *[b'{"metricName":"m"}'] * count)
            await client.until_acknowledged(count)
        sizes = [len(batch) for batch in server.site.log.batches]
        assert (sum(sizes), max(sizes) <= MAX_BATCH_LINES) == (count, True)


async def test_a_line_may_come_in_pieces_and_the_last_without_its_end(tmp_path: Path) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        for piece in (
            b'{"metric',
            b'Name":"m","va',
            b'lue":7}',
            b"\r\n\n \n",
            b'{"metricName":"m"}',
        ):
            await client.stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        await client.stream.send_eof()
        assert await client.answers() == [{"acknowledged": 1}, {"acknowledged": 2}]
        assert server.stored() == [7, 1]


# ---- what is refused


async def test_a_bad_line_is_told_by_its_place_and_stops_no_other(tmp_path: Path) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        await client.send(event(1))
        await client.until_acknowledged(1)
        await client.send(
            event(2),
            b"nonsense",
            event("x"),
            event(3, timestamp="2019-01-01T00:00:00Z"),
            b"\xff\xfe{}",
            [event(4)],
            event(5),
        )
        *refused, _ = await client.until_acknowledged(8)
        assert [(each["refused"], each["reason"], each["path"]) for each in refused] == [
            (3, "malformed", ""),
            (4, "malformed", "/value"),
            (5, "too_old", "/timestamp"),
            (6, "malformed", ""),
            (7, "malformed", ""),
        ]
        assert all(each["message"] for each in refused)
        assert server.stored() == [1, 2, 5]
        await server.site.quarantine.flush()
        kept = server.site.quarantined.events
        assert [each.reason for each in kept].count(RefusalReason.MALFORMED) == 4
        assert server.counted("lines_closed_total", reason="left") == 0


async def test_a_batch_of_nothing_but_bad_lines_is_acknowledged_too(tmp_path: Path) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        await client.send({}, b"{")
        assert [next(iter(answer)) for answer in await client.until_acknowledged(2)] == [
            "refused",
            "refused",
            "acknowledged",
        ]


async def test_a_line_that_is_too_long_is_refused_and_the_next_one_taken(tmp_path: Path) -> None:
    async with running(tmp_path, Site(), max_line_bytes=1024) as server:
        client = await server.unix()
        fits = event(1, id="i" * 100)
        await client.send(fits, b"{" + b"x" * 300_000, event(2))
        answers = await client.until_acknowledged(3)
        (refused,) = (answer for answer in answers if "refused" in answer)
        assert (refused["refused"], "lines.max_line_bytes" in refused["message"]) == (2, True)
        assert server.stored() == [1, 2]
        assert server.counted("limits_reached_total", limit=Limit.LINE.value) == 1


@pytest.mark.parametrize(
    "first",
    [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1:9471\r\nOrigin: http://evil.example\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"[]",
    ],
)
async def test_whoever_speaks_something_else_is_let_go_before_a_line_is_taken(
    tmp_path: Path, first: bytes
) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.tcp()
        await client.send(first, event())
        (last,) = await client.answers()
        assert last["closed"] == "not_lines"
        assert server.stored() == []
        await client.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.counted("lines_closed_total", reason="not_lines") == 1


# ---- who may send


async def test_over_tcp_the_first_line_shows_the_token(tmp_path: Path) -> None:
    async with running(tmp_path, Site(INGEST)) as server:
        client = await server.tcp()
        await client.send(GREETING)
        assert await client.answer() == {"acknowledged": 0}
        await client.send(event(1))
        assert await client.answer() == {"acknowledged": 1}
        assert server.counted("token_events_total", token="web-1") == 1


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (event(), '{"token": "…"}'),
        ({"token": "t" * 32}, "`alertd token new` makes one"),
        ({"token": SECRET}, "'ingest'"),
    ],
)
async def test_a_stranger_and_one_who_may_not_send_are_let_go(
    tmp_path: Path, first: Json, says: str
) -> None:
    reader = Token(name="r", scopes=frozenset({Scope.READ}), digest=INGEST.digest)
    async with running(tmp_path, Site(reader)) as server:
        client = await server.tcp()
        await client.send(first, event())
        (last,) = await client.answers()
        assert (last["closed"], says in last["message"]) == ("denied", True)
        assert SECRET not in json.dumps(last)
        assert server.stored() == []


async def test_a_token_that_is_taken_away_ends_what_it_opened(tmp_path: Path) -> None:
    async with running(tmp_path, Site(INGEST)) as server:
        client = await server.tcp()
        await client.send(GREETING, event(1))
        await client.until_acknowledged(1)
        server.site.gate.replace((Token(name="o", scopes=frozenset(Scope), digest=b"o"),))
        await client.send(event(2))
        assert [answer["closed"] for answer in await client.answers()] == ["denied"]
        assert server.stored() == [1]


async def test_who_may_open_the_unix_socket_needs_no_token(tmp_path: Path) -> None:
    async with running(tmp_path, Site(INGEST), socket_mode="660") as server:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660
        client = await server.unix()
        await client.send(event())
        assert await client.answer() == {"acknowledged": 1}


async def test_who_speaks_no_tls_where_it_is_spoken_is_let_go(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    authority = trustme.CA()
    cert = tmp_path / "cert.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(cert))
    tls = Tls(ServerConfig(tls_cert=str(cert)))
    async with running(tmp_path, Site(), tls=tls) as server:
        plain, silent = await server.tcp(), await server.tcp()
        await plain.send(event())
        assert b"acknowledged" not in await plain.stream.receive_some(1000)
        assert await silent.answers() == []
        assert server.counted("lines_closed_total", reason="handshake") == 2
        assert server.counted("http_tls_failures_total") == 2
        assert server.counted("limits_reached_total", limit=Limit.LINE_TIME.value) == 1
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        tcp = await server.tcp()
        stream = trio.SSLStream(tcp.stream, trusting, server_hostname="127.0.0.1")
        await stream.send_all(json.dumps(event()).encode() + b"\n")
        assert json.loads(await stream.receive_some(1000)) == {"acknowledged": 1}
        assert len(server.stored()) == 1


async def test_who_shows_no_token_has_little_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, Site(INGEST)) as server:
        client = await server.tcp()
        began_s = trio.current_time()
        assert [answer["closed"] for answer in await client.answers()] == ["idle"]
        waited_s = trio.current_time() - began_s
        assert waited_s < connection.GREETING_TIMEOUT_S + connection.LINGER_S + 1


async def test_blank_lines_are_no_token(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, Site(INGEST)) as server:
        patient, stranger = await server.tcp(), await server.tcp()
        await patient.send(b"", GREETING)
        assert await patient.answer() == {"acknowledged": 0}
        for _ in range(5):  # whoever has shown one may wait
            await patient.send(b"")
            with suppress(trio.BrokenResourceError):
                await stranger.send(b"")
            await trio.sleep(5)
        assert [answer["closed"] for answer in await stranger.answers()] == ["idle"]
        await patient.send(event())
        assert await patient.answer() == {"acknowledged": 1}


# ---- what is waited for


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (StoreUnavailable("the disk is full"), "store"),
        (Overloaded("full (engine.max_queue_events)", 1, Limit.QUEUE), "queue"),
    ],
)
async def test_while_nothing_can_be_stored_nothing_is_read_and_then_it_goes_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, failure: AlertdError, reason: str
) -> None:
    site = Site()
    async with running(tmp_path, site) as server:
        client = await server.unix()
        site.log.failure = failure
        await client.send(event(1))
        assert await client.answer() == {"paused": reason, "message": str(failure)}
        await trio.sleep(5)
        await client.send(event(2))
        site.log.failure = None
        assert await client.until_acknowledged(2) == [{"acknowledged": 1}, {"acknowledged": 2}]
        assert server.stored() == [1, 2]
        assert server.counted("lines_pauses_total", reason=reason) == 1


async def test_a_pause_has_an_end(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    site = Site()
    site.log.failure = StoreUnavailable("the disk is full")
    async with running(tmp_path, site, max_pause_secs=20) as server:
        client = await server.unix()
        began_s = trio.current_time()
        await client.send(event())
        assert await client.answer() == {"paused": "store", "message": "the disk is full"}
        last = await client.answer()
        assert 19 <= trio.current_time() - began_s <= 20
        assert last == {"closed": "paused", "message": "the disk is full", "retryAfterSecs": 5}
        assert server.counted("limits_reached_total", limit=Limit.LINE_PAUSE.value) == 1


async def test_a_used_up_allowance_is_waited_for(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    token = Token(name="web-1", scopes=INGEST.scopes, digest=INGEST.digest, max_events_per_sec=10.0)
    site = Site(token, now_s=trio.current_time)
    async with running(tmp_path, site) as server:
        client = await server.tcp()
        began_s = trio.current_time()
        await client.send(GREETING, *numbered(100))
        await client.until_acknowledged(100)
        assert trio.current_time() - began_s < 1
        await client.send(event(101))
        answers = await client.until_acknowledged(101)
        assert [answer.get("paused") for answer in answers] in (["allowance", None], [None])
        assert 8 <= trio.current_time() - began_s <= 12


async def test_an_idle_connection_ends_and_a_blank_line_keeps_it(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, Site(), idle_timeout_secs=100) as server:
        client = await server.unix()
        for _ in range(5):
            await trio.sleep(90)
            await client.stream.send_all(b"\n")
        for _ in range(30):  # no line: what dribbles is no sign of life
            await client.stream.send_all(b"{")
            await trio.sleep(3)
        assert [answer["closed"] for answer in await client.answers()] == ["idle"]
        assert server.counted("limits_reached_total", limit=Limit.LINE_TIME.value) == 1


async def test_who_does_not_read_the_answers_is_let_go(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with suppress(trio.BrokenResourceError):
            while True:  # each is answered by a longer line
                await client.stream.send_all(b"{}\n" * 1000)
        await trio.testing.wait_all_tasks_blocked()
        assert server.counted("lines_closed_total", reason="not_read") == 1
        assert server.counted("lines_connections") == 0


# ---- how it ends


async def test_at_the_end_what_was_read_is_stored_and_acknowledged(tmp_path: Path) -> None:
    site = Site()
    site.log.gate = trio.Event()
    async with running(tmp_path, site) as server:
        busy, idle = await server.unix(), await server.tcp()
        await busy.send(event(1))
        await trio.testing.wait_all_tasks_blocked(0.01)
        server.shutdown.set()
        assert [answer["closed"] for answer in await idle.answers()] == ["stopping"]
        site.log.gate.set()
        acknowledged, last = await busy.answers()
        assert (acknowledged, last["closed"]) == ({"acknowledged": 1}, "stopping")
        assert last["retryAfterSecs"] > 0
    assert not await trio.Path(server.path).exists()


async def test_a_connection_accepted_at_the_last_moment_is_told_that_it_is_over(
    tmp_path: Path,
) -> None:
    clients = _Clients(10, door_of(Site(), LinesConfig()), is_trusted=True)
    ours, theirs = trio.socket.socketpair()
    clients.stop()
    async with trio.SocketStream(theirs) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(clients.serve, stream)
        client = Client(trio.SocketStream(ours))
        with trio.fail_after(1):
            assert (await client.answer())["closed"] == "stopping"
        await client.stream.aclose()


@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_one_connection_too_many_is_told_so_also_if_it_speaks_first(
    tmp_path: Path, way: str
) -> None:
    async with running(tmp_path, Site(), max_connections=2) as server:
        connect = server.tcp if way == "tcp" else server.unix
        first, second = await connect(), await connect()
        for client in (first, second):
            await client.send(event())
            await client.until_acknowledged(1)
        excess = await connect()
        await excess.send(*[event()] * 1000)
        await trio.sleep(0.05)  # for what the kernel would do with a connection that is closed
        (last,) = await excess.answers()
        assert (last["closed"], "lines.max_connections" in last["message"]) == (
            "connections",
            True,
        )
        assert server.counted("limits_reached_total", limit=Limit.LINE_CONNECTIONS.value) == 1
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        third = await connect()
        await third.send(event())
        assert await third.answer() == {"acknowledged": 1}


async def test_however_many_come_over_tcp_local_senders_come_in(tmp_path: Path) -> None:
    async with running(tmp_path, Site(INGEST), max_connections=2) as server:
        for _ in range(3):
            await server.tcp()
        await trio.testing.wait_all_tasks_blocked(0.01)
        client = await server.unix()
        await client.send(event())
        assert await client.answer() == {"acknowledged": 1}
        assert server.counted("lines_connections") == 3


async def test_the_end_of_a_connection_is_no_change_that_somebody_made(tmp_path: Path) -> None:
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        with capture_logs() as logs:
            await client.send(event())
            await client.until_acknowledged(1)
            await client.stream.aclose()
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert [(line["event"], line["log_level"]) for line in logs] == [("lines_ended", "debug")]


async def test_an_unexpected_error_ends_its_connection_only(tmp_path: Path) -> None:
    site = Site()
    async with running(tmp_path, site) as server:
        client, other = await server.unix(), await server.unix()
        site.log.failure = RuntimeError("a defect")
        await client.send(event())
        (last,) = await client.answers()
        assert (last["closed"], "a defect" in last["message"]) == ("failed", False)
        await client.stream.aclose()
        site.log.failure = None
        await other.send(event())
        assert await other.answer() == {"acknowledged": 1}
        assert server.counted("lines_closed_total", reason="failed") == 1


async def test_a_socket_that_a_killed_process_left_is_replaced_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lines.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with running(tmp_path, Site()) as server:
        client = await server.unix()
        await client.send(event())
        assert await client.answer() == {"acknowledged": 1}
        with pytest.RaisesGroup(
            pytest.RaisesExc(AlertdError, match="another process listens there"),
            flatten_subgroups=True,
        ):
            async with running(tmp_path, Site()):
                raise AssertionError
    path.write_text("precious")
    with pytest.RaisesGroup(
        pytest.RaisesExc(AlertdError, match="a file of another kind"), flatten_subgroups=True
    ):
        async with running(tmp_path, Site()):
            raise AssertionError
    assert path.read_text() == "precious"


# ---- whatever comes


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_stands_between_them_the_good_lines_are_stored_in_their_order(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - to be run again
    good = {
        position: event(position, labels={"good": "yes"})
        for position in range(1, 300)
        if position == 1 or chance.random() < 0.8
    }
    lines = [
        json.dumps(good[position]).encode() if position in good else spoiled(chance)
        for position in range(1, 300)
    ]
    async with running(tmp_path, Site(), max_line_bytes=2048) as server:
        client = await server.unix()
        data = b"".join(line + b"\n" for line in (*lines[:9], b"", *lines[9:]))

        async def send() -> None:
            sent = 0
            while sent < len(data):
                end = sent + chance.choice((1, 10, 1000, 100_000))
                await client.stream.send_all(data[sent:end])
                sent = end

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            answers = await client.until_acknowledged(len(lines))
        refused = [answer["refused"] for answer in answers if "refused" in answer]
        assert refused == sorted(set(refused))
        assert not good.keys() & set(refused)
        registry = server.site.registry
        stored = [
            (registry.get(series_id).labels, value)
            for batch in server.site.log.batches
            for series_id, value in zip(batch.series_ids, batch.values, strict=True)
        ]
        assert [value for labels, value in stored if labels == (("good", "yes"),)] == [*good]
        assert len(stored) + len(refused) == len(lines)


def spoiled(chance: random.Random) -> bytes:
    """Return a line that is no event, or one of a series that no good one is of."""
    line = bytearray(json.dumps(event(labels={"a": "b"})).encode())
    for _ in range(chance.choice((0, 1, 1, 3))):
        at = chance.randrange(len(line))
        line[at : at + chance.randrange(3)] = chance.choice(NASTY)
    return bytes(line).replace(b"\n", b" ").strip() or b"."


NASTY = (b"", b"\x00", b"\xff", b"\xc3\x28", b'"', b"}{", b"[" * 500, b"x" * 3000, b"1e999", b"NaN")
