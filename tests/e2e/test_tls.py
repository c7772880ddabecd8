"""TLS as clients meet it: with real certificates, on a real daemon."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trustme

from alertd.access import new_token, written_hash
from tests.e2e.daemon import GIVE_UP_S, Daemon

EVENT = json.dumps({"metricName": "m"}).encode()
PUSH = (
    b"POST /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n%b"
    b"Content-Length: %d\r\n\r\n%b"
)
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Files:
    """Certificates on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.cert, self.key, self.client_ca = (
            folder / name for name in ("cert.pem", "key.pem", "client-ca.pem")
        )
        self.issue()

    def issue(self, ca: trustme.CA | None = None) -> None:
        """Write a new certificate."""
        made = (ca or self.ca).issue_cert("127.0.0.1", "alerts.example")
        self.key.write_bytes(made.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))

    def config(self, *, with_clients: bool = False, more: str = "") -> str:
        if with_clients:
            self.ca.cert_pem.write_to_path(str(self.client_ca))
        client_ca = f'client_ca = "{self.client_ca}"\n' if with_clients else ""
        return (
            f'[server]\nbind = "127.0.0.1:0"\ntls_cert = "{self.cert}"\ntls_key = "{self.key}"\n'
            f"keep_alive_timeout_secs = 1\n{client_ca}"
            f'[logging]\nformat = "json"\nlevel = "debug"\n{more}'
        )

    def trusting(self, *, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Return what a client goes by that trusts our authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def port_of(daemon: Daemon) -> int:
    return int(daemon.url.rpartition(":")[2])


@contextmanager
def connected(daemon: Daemon, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port_of(daemon)), timeout=GIVE_UP_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        yield secured


def read_to_end(client: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError, TimeoutError):
        while part := client.recv(65536):
            received += part
    return received


def test_both_lanes_are_served_over_tls(files: Files) -> None:
    token = new_token()
    tokens = f'[[auth.tokens]]\nname = "t"\nscopes = ["admin"]\nhash = "{written_hash(token)}"\n'
    config = files.config(more=tokens)
    with Daemon(files.folder, config, minimal="") as daemon:
        authorization = b"Authorization: Bearer %b\r\n" % token.encode()
        with connected(daemon, files.trusting()) as client:
            for more in (b"", b"TE: trailers\r\n", b"Connection: close\r\n"):
                client.sendall(PUSH % (authorization + more, len(EVENT), EVENT))
            assert read_to_end(client).count(b"HTTP/1.1 202 ") == 3
        with connected(daemon, files.trusting()) as client:
            client.sendall(PUSH % (b"", 900_000, b" " * 900_000))
            assert read_to_end(client).startswith(b"HTTP/1.1 401 ")
        url = f"https://127.0.0.1:{port_of(daemon)}"
        with httpx.Client(base_url=url, verify=files.trusting(), trust_env=False) as client2:
            read = client2.get("/api/series", headers={"Authorization": f"Bearer {token}"})
            assert read.json()["items"][0]["count"] == 3


def test_the_log_of_changes_names_the_certificate_of_who_made_them(files: Files) -> None:
    with Daemon(files.folder, files.config(with_clients=True), minimal="") as daemon:
        url = f"https://127.0.0.1:{port_of(daemon)}/api/reload"
        for count, (names, common_name, shown) in enumerate(
            (
                (["deploy.example"], "deploy", "deploy"),
                (["deploy.example", "other.example"], None, "deploy.example"),
            ),
            start=1,
        ):
            context = files.trusting()
            files.ca.issue_cert(*names, common_name=common_name).configure_cert(context)
            assert httpx.post(url, verify=context, trust_env=False).status_code == 200
            line = daemon.wait_for_log("audit", count=count)
            assert (line["operation"], line["certificate"]) == ("reload", shown)


def test_http2_is_neither_offered_nor_spoken(files: Files) -> None:
    with (
        Daemon(files.folder, files.config(), minimal="") as daemon,
        connected(daemon, files.trusting(alpn=("h2", "http/1.1"))) as client,
    ):
        assert client.selected_alpn_protocol() == "http/1.1"
        client.sendall(HTTP2_PREFACE)
        assert read_to_end(client).startswith(b"HTTP/1.1 505 ")


def test_only_clients_with_a_certificate_of_the_authority_get_in(files: Files) -> None:
    with Daemon(files.folder, files.config(with_clients=True), minimal="") as daemon:
        url = f"https://127.0.0.1:{port_of(daemon)}/healthz"
        right, wrong = files.trusting(), files.trusting()
        files.ca.issue_cert("client.example").configure_cert(right)
        trustme.CA().issue_cert("client.example").configure_cert(wrong)
        assert httpx.get(url, verify=right, trust_env=False).status_code == 200
        for context in (wrong, files.trusting()):
            with pytest.raises(httpx.TransportError):
                httpx.get(url, verify=context, trust_env=False)
        daemon.wait_for_log("tls_handshake_failed", count=2)
        read = httpx.get(url.replace("healthz", "metrics"), verify=right, trust_env=False)
        assert "alertd_http_tls_failures_total 2.0" in read.text


def test_a_reload_takes_a_renewed_certificate_and_open_connections_go_on(files: Files) -> None:
    with Daemon(files.folder, files.config(), minimal="") as daemon:
        url = f"https://127.0.0.1:{port_of(daemon)}"
        other = trustme.CA()
        with httpx.Client(base_url=url, verify=files.trusting(), trust_env=False) as open_before:
            assert open_before.get("/healthz").status_code == 200
            files.issue(other)
            assert open_before.post("/api/reload").status_code == 200
            assert open_before.get("/healthz").status_code == 200
        context = ssl.create_default_context()
        other.configure_trust(context)
        with httpx.Client(base_url=url, verify=context, trust_env=False) as after:
            assert after.get("/healthz").status_code == 200
            files.cert.write_text("nonsense")
            refused = after.post("/api/reload")
            assert refused.status_code == 422
            assert "server.tls_cert" in refused.text
        assert httpx.get(f"{url}/healthz", verify=context, trust_env=False).status_code == 200


def test_who_does_not_speak_tls_is_let_go_and_slow_handshakes_too(files: Files) -> None:
    with Daemon(files.folder, files.config(), minimal="") as daemon:
        begun = time.monotonic()
        for sent in (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02", b""):
            address = ("127.0.0.1", port_of(daemon))
            with socket.create_connection(address, timeout=GIVE_UP_S) as client:
                client.sendall(sent)
                assert b"HTTP" not in read_to_end(client)
        assert time.monotonic() - begun < GIVE_UP_S
        url = f"https://127.0.0.1:{port_of(daemon)}/healthz"
        assert httpx.get(url, verify=files.trusting(), trust_env=False).status_code == 200
        read = httpx.get(
            url.replace("healthz", "metrics"), verify=files.trusting(), trust_env=False
        )
        assert 'alertd_limits_reached_total{limit="head_time"} 2.0' in read.text
        assert not [line for line in daemon.lines if line["event"] == "connection_failed"]


def test_versions_before_1_2_are_refused(files: Files) -> None:
    context = files.trusting()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        Daemon(files.folder, files.config(), minimal="") as daemon,
        pytest.raises(ssl.SSLError),
        connected(daemon, context),
    ):
        pass


def test_commands_reach_a_daemon_behind_a_private_authority(files: Files) -> None:
    files.ca.cert_pem.write_to_path(str(files.client_ca))
    with Daemon(files.folder, files.config(), minimal="") as daemon:
        url = f"https://127.0.0.1:{port_of(daemon)}"
        for more, code in ((["--ca-file", str(files.client_ca)], 0), ([], 3)):
            ended = subprocess.run(
                [sys.executable, "-m", "alertd", "silence", "list", "--url", url, *more],
                capture_output=True, text=True, timeout=GIVE_UP_S, check=False,
            )  # fmt: skip
            assert ended.returncode == code, ended.stderr
