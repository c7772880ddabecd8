"""Events over sockets, one a line, on a real daemon: kills, stops, tokens, TLS, bad clients."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest
import trustme

from alertd.access import new_token, written_hash
from tests.e2e.daemon import GIVE_UP_S, MINIMAL, Daemon
from tests.e2e.line_client import Client, address
from tests.e2e.test_readme import ROOT

Json = Any  # decoded JSON

CONFIG = """
[lines]
bind = "127.0.0.1:0"
socket = "lines.sock"
"""
TOKEN = """
[[auth.tokens]]
name = "{name}"
scopes = ["{scope}"]
hash = "{hash}"
"""
SEED = int(os.environ.get("ALERTD_LINES_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)


def event(value: float = 1.0, **members: Json) -> Json:
    return {"metricName": "m", "value": value, **members}


def stored(daemon: Daemon, **labels: str) -> Counter[float]:
    """Return the values of the stored events of ``m``, each as often as it is there."""
    found: Counter[float] = Counter()
    cursor: dict[str, Any] = {}
    while True:
        page = daemon.get("/api/events", metricName="m", limit=1000, **labels, **cursor)
        found.update(item["value"] for item in page["items"])
        if not page["nextCursor"]:
            return found
        cursor = {"cursor": page["nextCursor"]}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


class Sender(threading.Thread):
    """Sends numbered events for as long as the connection holds, and reads what is acknowledged."""

    def __init__(self, daemon: Daemon, name: str, way: str, first: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        """How many of those that were sent."""
        self.sent = 0
        self.last: Json = None
        self._label = {"source": name}
        self._first = first
        self._client = Client(daemon, way)

    def run(self) -> None:
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        chance = random.Random(f"{SEED} {self._label}")  # noqa: S311 - a test
        with suppress(OSError):
            while True:
                count = chance.randrange(1, 200)
                first = self._first + self.sent
                self._client.send(
                    *(event(first + number, labels=self._label) for number in range(count))
                )
                self.sent += count
        reader.join(GIVE_UP_S)
        self._client.__exit__()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            while (answer := self._client.answer()) is not None:
                self.last = answer
                self.acknowledged = answer.get("acknowledged", self.acknowledged)


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
def test_what_was_acknowledged_is_there_once_however_it_ends(daemon: Daemon, end: str) -> None:
    print(f"ALERTD_LINES_SEED={SEED}")  # noqa: T201 - what each sender sends
    first = dict.fromkeys(("a", "b", "c"), 0)
    acknowledged: Counter[str] = Counter()
    sent: dict[str, set[float]] = {name: set() for name in first}
    promised: dict[str, set[float]] = {name: set() for name in first}
    for life in range(3):
        ways = ("unix", "tcp", "tcp" if life else "unix")
        senders = {
            name: Sender(daemon, name, way, first[name])
            for name, way in zip(first, ways, strict=True)
        }
        for sender in senders.values():
            sender.start()
        daemon.wait_until(
            lambda senders=senders: min(s.acknowledged for s in senders.values()) > 1000,  # type: ignore[misc]  # mypy infers no default of a lambda
            "each has sent something",
        )
        daemon.kill() if end == "SIGKILL" else daemon.stop()
        for name, sender in senders.items():
            sender.join(GIVE_UP_S)
            assert not sender.is_alive()
            if end == "SIGTERM":
                assert sender.last["closed"] == "stopping"
            begin = first[name]
            promised[name] |= set(range(begin, begin + sender.acknowledged))
            sent[name] |= set(range(begin, begin + sender.sent + 200))
            acknowledged[name] += sender.acknowledged
            first[name] = begin + sender.sent + 1000
        daemon.start()
    for name in first:
        found = stored(daemon, **{"labels.source": name})
        assert max(found.values()) == 1
        assert promised[name] <= found.keys() <= sent[name]
        if end == "SIGTERM":  # what was read was acknowledged before the end
            assert promised[name] == found.keys()


def test_lines_are_judged_as_all_events_are(daemon: Daemon) -> None:
    daemon.post_rule(
        name="three", type="SIMPLE_COUNT", metricName="m", threshold=2, windowDurationSecs=60
    )
    with Client(daemon, "unix") as client:
        client.send(event(), event(id="same"), event(id="same"))
        client.until_acknowledged(3)
        daemon.wait_until_judged()
        assert daemon.history() == []
        client.send(event())
        client.until_acknowledged(4)
    (incident,) = daemon.wait_until(daemon.history, "it fires")
    assert incident["currentValue"] == 3


def test_a_bad_line_is_in_the_quarantine_and_the_rest_is_stored(daemon: Daemon) -> None:
    with Client(daemon, "tcp") as client:
        client.send(event(1), {"metricName": "m", "value": "x"}, event(2))
        assert client.answer()["refused"] == 2
        client.until_acknowledged(3)
    assert stored(daemon) == {1: 1, 2: 1}

    def quarantined() -> list[Json]:
        return list(daemon.get("/api/events/quarantine")["items"])

    (kept,) = daemon.wait_until(quarantined, "it is kept")
    assert (kept["reason"], kept["path"]) == ("malformed", "/value")
    assert kept["event"] == {"metricName": "m", "value": "x"} or "x" in kept["event"]


def test_a_token_opens_a_connection_and_its_end_closes_it(tmp_path: Path) -> None:
    sender, reader, admin = new_token(), new_token(), new_token()
    tables = {
        name: TOKEN.format(name=name, scope=scope, hash=written_hash(token))
        for name, scope, token in (
            ("sender", "ingest", sender),
            ("reader", "read", reader),
            ("admin", "admin", admin),
        )
    }
    with Daemon(tmp_path, CONFIG + "".join(tables.values())) as daemon:
        daemon.client.headers["Authorization"] = f"Bearer {admin}"
        for first in (event(), {"token": reader}, {"token": new_token()}):
            with Client(daemon, "tcp") as client:
                client.send(first, event())
                assert client.answer()["closed"] == "denied"
                assert client.answer() is None
        with Client(daemon, "unix") as client:
            client.send(event(1))
            client.until_acknowledged(1)
        with Client(daemon, "tcp") as client:
            client.send({"token": sender})
            client.until_acknowledged(0)
            client.send(event(2), event(3))
            client.until_acknowledged(2)
            del tables["sender"]
            daemon.write_config(CONFIG + "".join(tables.values()))
            assert daemon.client.post("/api/reload").status_code == 200
            client.send(event(4))
            assert client.answer()["closed"] == "denied"
        assert stored(daemon) == {1: 1, 2: 1, 3: 1}
        metrics = daemon.client.get("/metrics").text
        assert 'alertd_lines_closed_total{reason="denied"}' in metrics
        assert 'alertd_token_events_total{token="sender"} 2.0' in metrics
        told = "".join(map(str, daemon.lines)) + metrics
        assert not [token for token in (sender, reader, admin) if token in told]


def test_without_tokens_it_does_not_start_where_others_could_send(tmp_path: Path) -> None:
    path = tmp_path / "alertd.toml"
    path.write_text('[lines]\nbind = "0.0.0.0:9471"\n')
    command = [sys.executable, "-m", "alertd", "check", "--config", str(path)]
    checked = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert checked.returncode == 1
    assert "lines.bind" in checked.stdout + checked.stderr
    assert "loopback" in checked.stdout + checked.stderr


def test_over_tcp_it_speaks_tls_where_http_does(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    minimal = MINIMAL.replace("[logging]", 'tls_cert = "cert.pem"\n[logging]')
    with Daemon(tmp_path, CONFIG, minimal=minimal) as daemon:
        with (
            socket.create_connection(address(daemon), GIVE_UP_S) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            wrapped.sendall(json.dumps(event()).encode() + b"\n")
            assert json.loads(wrapped.recv(1000)) == {"acknowledged": 1}
        with Client(daemon, "tcp") as client, suppress(ConnectionResetError):
            client.send(event())
            assert client.answer() is None
        with Client(daemon, "unix") as client:
            client.send(event())
            client.until_acknowledged(1)


def test_clients_that_are_a_burden_are_none_to_others(daemon: Daemon) -> None:
    """One sends a line without an end, one never reads; both have all that memory allows them."""
    process = psutil.Process(daemon.pid)
    with (
        Client(daemon, "unix") as good,
        Client(daemon, "unix") as endless,
        Client(daemon, "tcp") as deaf,
    ):
        good.send(event(1))
        good.until_acknowledged(1)
        before_bytes = process.memory_info().rss
        deaf.socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                deaf.socket.sendall(b"{}\n" * 1000)
        for _ in range(64):
            endless.socket.sendall(b"{" * 2**20)
        for number in range(2, 50):
            good.send(event(number))
            good.until_acknowledged(number)
        assert process.memory_info().rss - before_bytes < 32 * 2**20
        endless.socket.sendall(b"\n")
        endless.send(event(100))
        assert endless.answer()["refused"] == 1
        endless.until_acknowledged(2)
    assert stored(daemon)[100] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "may"), [("600", False), ("666", True)])
def test_the_file_of_the_socket_says_who_may_send(mode: str, *, may: bool) -> None:
    probe = (
        "import socket, sys\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        '    s.connect(sys.argv[1]); s.sendall(b\'{"metricName": "m"}\\n\'); print(s.recv(99))'
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # whoever is not let in is kept out by the socket
        with Daemon(folder, f'{CONFIG}socket_mode = "{mode}"\n'):
            asked = subprocess.run(
                ["python3", "-c", probe, str(folder / "lines.sock")],
                capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/",
            )  # fmt: skip
    assert ("acknowledged" in asked.stdout) is may, asked
    assert ("PermissionError" in asked.stderr) is not may, asked


@pytest.mark.skipif(shutil.which("nc") is None, reason="the line needs nc")
def test_the_line_in_the_docs_runs_as_it_is_written(daemon: Daemon) -> None:
    page = (ROOT / "docs/lines.md").read_text(encoding="utf-8")
    shell, shown = re.findall(r"^```(?:sh|json)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[:2]
    shell = shell.replace("data/lines.sock", str(daemon.folder / "lines.sock"))
    ran = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True)
    expected = [json.loads(line) for line in shown.splitlines()]
    assert [json.loads(line) for line in ran.stdout.splitlines()] == expected, ran
    until_s = time.monotonic() + GIVE_UP_S
    while not daemon.get("/api/events", metricName="failed_logins")["items"]:
        assert time.monotonic() < until_s
