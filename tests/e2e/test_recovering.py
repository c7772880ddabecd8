"""A daemon that recovers answers, and says that it does; then it takes over without a gap."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from werkzeug.datastructures import Headers

from alertd.http.routes import ROUTES, Route
from tests.e2e.daemon import JSON, Daemon
from tests.e2e.paused_daemon import GO, PHASE
from tests.e2e.test_http_hazards import read_status
from tests.unit.http.contract import check_answer

RECOVERING = f"recovering: {PHASE}"
ANSWER_NOW = ("/healthz", "/readyz")


@pytest.fixture
def paused(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that listens and does not get on with its recovery."""
    daemon = Daemon(tmp_path, module="tests.e2e.paused_daemon")
    daemon.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    with daemon.launched():
        daemon.wait_until(lambda: RECOVERING in daemon.client.get("/readyz").text, "it recovers")
        yield daemon


def let_go(daemon: Daemon) -> None:
    """Have it get on."""
    (daemon.folder / GO).touch()


def ask(daemon: Daemon, route: Route) -> httpx.Response:
    path = re.sub(r"<\w+>", "some-id", route.path)
    body = b"{}" if route.method in ("POST", "PUT", "PATCH") else None
    return daemon.client.request(route.method, path, content=body, headers=JSON)


def test_whoever_asks_while_it_recovers_is_told_so_and_how_far_it_is(paused: Daemon) -> None:
    assert paused.get("/healthz") == {"status": "ok"}
    with ThreadPoolExecutor(len(ROUTES)) as clients:
        answers = list(clients.map(lambda route: ask(paused, route), ROUTES))
    for route, answer in zip(ROUTES, answers, strict=True):
        if route.path == "/healthz":
            continue
        assert (route.path, answer.status_code) == (route.path, 503)
        assert RECOVERING in answer.json()["detail"]
        assert int(answer.headers["Retry-After"]) >= 1
        headers = Headers(answer.headers.multi_items())
        check_answer(route.method, str(answer.url.path), 503, headers, answer.json())


def test_what_there_is_not_and_who_may_not_is_as_ever_while_it_recovers(paused: Daemon) -> None:
    assert paused.client.get("/nowhere").status_code == 404
    assert paused.client.put("/healthz").status_code == 405
    assert paused.client.get("/readyz", headers={"Host": "elsewhere"}).status_code == 421


def test_a_connection_that_is_open_goes_on_and_what_waits_is_answered(paused: Daemon) -> None:
    body = b'{"metricName": "m"}'
    port = int(paused.url.rpartition(":")[2])
    head = b"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert read_status(client) == 503
        client.sendall(request)
        let_go(paused)
        assert read_status(client) == 202, "it had waited"
        client.sendall(request)
        assert read_status(client) == 202
    assert paused.get("/readyz") == {"status": "ready"}


def test_systemd_is_told_of_the_phase_and_ready_only_after_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        daemon = Daemon(tmp_path, module="tests.e2e.paused_daemon")
        daemon.environ |= {
            "PYTHONPATH": str(Path(__file__).parents[2]), "NOTIFY_SOCKET": str(tmp_path / "notify")
        }  # fmt: skip
        with daemon.launched():
            daemon.wait_until(lambda: daemon.client.get("/readyz").status_code == 503, "recovers")
            let_go(daemon)
            daemon.wait_for_log("ready")
            told = [systemd.recv(4096).decode() for _ in range(3)]
            while "READY=1" not in told:
                told.append(systemd.recv(4096).decode())
    assert told[0].startswith("STATUS=recovering: ")
    assert told[1].startswith("EXTEND_TIMEOUT_USEC=")
    assert told[-1] == "READY=1"


def test_it_stops_at_once_while_it_recovers(paused: Daemon) -> None:
    assert paused.stop() < 10
    assert paused.exit_code == 0
