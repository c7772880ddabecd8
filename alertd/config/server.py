"""``[server]``: where the HTTP interface listens, and what one client may do there.

Owns the keys and what makes addresses, host names and certificates wrong. Leaves making a TLS
context of the files to ``tls.py``, whose own check ``settings.py`` asks for.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from alertd.config.section import Bytes, Count, Seconds, SecondsOrZero, Section
from alertd.errors import Problem

_HOST: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class ServerConfig(Section, frozen=True, kw_only=True):
    """``[server]``: the HTTP listener."""

    bind: str = "127.0.0.1:9470"
    """``host:port`` or ``[ipv6]:port``; port 0 lets the kernel choose."""
    public_url: str | None = None
    """The address at which people reach the daemon; default ``http://`` and ``bind``."""
    allowed_hosts: tuple[str, ...] = ()
    """Names by which clients may address it, beside IP addresses, ``localhost`` and those of
    ``bind`` and ``public_url``; ``*.example.org`` means all below. Empty: without tokens no
    other, with tokens any."""
    tls_cert: str | None = None
    """PEM file of the certificate and those between it and its authority."""
    tls_key: str | None = None
    """PEM file of its key; default: it is in ``tls_cert``."""
    client_ca: str | None = None
    """PEM file of the authorities whose certificates clients must have."""
    max_body_bytes: Bytes = 8 * 1024 * 1024
    max_events_per_request: Count = 10_000
    max_connections: Count = 1000
    max_requests_in_flight: Count = 500
    keep_alive_timeout_secs: Seconds = 75
    send_timeout_secs: Seconds = 30
    shutdown_grace_secs: SecondsOrZero = 5

    @property
    def base_url(self) -> str:
        """The base of links in notifications, without a slash at its end."""
        scheme = "http" if self.tls_cert is None else "https"
        return (self.public_url or f"{scheme}://{self.bind}").rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.bind)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the addresses, the host names and the set of TLS files."""
        problems = [Problem("/bind", message)] if (message := bind_problem(self.bind)) else []
        if self.public_url is not None and (message := _public_url_problem(self.public_url)):
            problems.append(Problem("/public_url", message))
        problems += (
            Problem(f"/allowed_hosts/{index}", _NOT_A_HOST.format(host))
            for index, host in enumerate(self.allowed_hosts)
            if not _HOST.fullmatch(host)
        )
        problems += (
            Problem(f"/{key}", "has no meaning without tls_cert")
            for key in ("tls_key", "client_ca")
            if getattr(self, key) is not None and self.tls_cert is None
        )
        return problems


def _public_url_problem(url: str) -> str | None:
    from alertd.channels.url import url_problem  # loads an HTTP client, which takes long

    return url_problem(url)


_NOT_A_HOST: Final = (
    "expected a host name without scheme and port, like alerts.example.org or *.example.org, "
    "got {!r}"
)


def bind_problem(bind: str) -> str | None:
    """Return why ``bind`` cannot be listened on, None if it can."""
    try:
        parts = urlsplit(f"//{bind}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None or "@" in bind or parts.netloc != bind:
        return f"expected host:port, like 127.0.0.1:9470 or [::1]:9470, got {bind!r}"
    return None


def is_loopback(bind: str) -> bool:
    """Return whether only this machine can reach ``bind``."""
    host = urlsplit(f"//{bind}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
