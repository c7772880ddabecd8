"""Channels of the type ``email``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from alertd.channels.address import bare_address
from alertd.channels.config import EmailConfig, Tls
from alertd.channels.email import EmailChannel
from alertd.channels.kinds.parts import ca_file_problems, secret_problems, template_problems
from alertd.channels.secret import read_secret
from alertd.channels.smtp import SmtpServer
from alertd.channels.words import Words
from alertd.errors import Problem

MAX_RECIPIENTS: Final = 50

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def problems(config: EmailConfig, environ: Mapping[str, str]) -> list[Problem]:
    """See ``Kind.problems``."""
    found = []
    if message := _host_problem(config.host):
        found.append(Problem("/host", message))
    if not 1 <= config.effective_port <= 65535:
        found.append(Problem("/port", "must be between 1 and 65535"))
    if message := _address_problem(config.sender):
        found.append(Problem("/from", message))
    if not 1 <= len(config.to) <= MAX_RECIPIENTS:
        found.append(Problem("/to", f"must list 1 to {MAX_RECIPIENTS} addresses"))
    for index, address in enumerate(config.to):
        if message := _address_problem(address):
            found.append(Problem(f"/to/{index}", message))
    found += _login(config)
    found += secret_problems("password", config.password_file, config.password_env, environ)
    found += ca_file_problems(config.ca_file)
    found += template_problems({"title": config.title, "body": config.body})
    return found


def _host_problem(host: str) -> str | None:
    """Return why ``host`` cannot be connected to, None if it can."""
    if host.count(":") == 1:
        return "must be a host name or an IP address alone; the port is a key of its own"
    return None if _HOST.fullmatch(host) else "must be a host name or an IP address"


def _address_problem(address: str) -> str | None:
    """Return why ``address`` cannot be written to, None if it can."""
    if bare_address(address) is None:
        return "must be one ASCII e-mail address, like ops@example.org"
    return None


def _login(config: EmailConfig) -> list[Problem]:
    has_password = config.password_file is not None or config.password_env is not None
    if config.username is None:
        return [Problem("/username", "is required with a password")] if has_password else []
    if not has_password:
        return [Problem("/username", "needs password_file or password_env")]
    if not config.username.isprintable():
        return [Problem("/username", "must not have line breaks or control characters")]
    if config.tls is Tls.NONE and config.host not in _LOOPBACK:
        return [Problem("/tls", "'none' would send the password readable; use starttls or tls")]
    return []


def make(name: str, config: EmailConfig, environ: Mapping[str, str]) -> EmailChannel:
    """See ``Kind.make``."""
    password = read_secret(file=config.password_file, env=config.password_env, environ=environ)
    server = SmtpServer(config, password)
    return EmailChannel(server, config.to, words=Words(config.title, config.body))
