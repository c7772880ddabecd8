"""What is wrong with a channel's configuration, found before anything is sent.

Owns every check that one table can be given without the network; ``alertd check`` and
``factory.py`` use the same. Paths are JSON pointers into the table (``/headers/X-Key``).
Messages never repeat an address, a header's value or a secret.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

import httpx

from alertd.channels import apprise
from alertd.channels.address import bare_address
from alertd.channels.config import (
    AlertmanagerConfig,
    AppriseConfig,
    ChannelConfig,
    EmailConfig,
    SecretText,
    SlackConfig,
    Tls,
    WebhookConfig,
)
from alertd.channels.secret import Secret, SecretUnavailable, read_header, read_secret
from alertd.channels.slack import MRKDWN
from alertd.channels.webhook import body_form
from alertd.channels.words import PLAIN_TEXT, Form, template_fault
from alertd.errors import Problem, pointer_token
from alertd.escalation import escalation_problems
from alertd.model import Target

MAX_TIMEOUT_SECS: Final = 60
MAX_RECIPIENTS: Final = 50
MAX_CONCURRENCY: Final = 1000
MAX_PER_MINUTE: Final = 10_000
MAX_RESEND_INTERVAL_SECS: Final = 3600
MAX_ENDS_AFTER_SECS: Final = 7 * 86_400
RESERVED_HEADERS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "content-type", "idempotency-key"),
        *("transfer-encoding", "user-agent", "x-alertd-signature"),
    }
)
"""Headers that the webhook sets itself, lower case."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_SLACK_TOKEN = re.compile(r"[A-Za-z0-9-]{4,300}")
_SLACK_CHANNEL = re.compile(r"[A-Z0-9]{2,30}|#[^\s#]{1,80}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def channel_problems(
    config: ChannelConfig, environ: Mapping[str, str] = os.environ
) -> list[Problem]:
    """Return everything that is wrong with ``config``; an empty list means that it can be used.

    Reads the secret and certificate files that it names.
    """
    problems = []
    if not 0 < config.timeout_secs <= MAX_TIMEOUT_SECS:
        problems.append(Problem("/timeout_secs", f"must be above 0 and at most {MAX_TIMEOUT_SECS}"))
    problems += _limits(config)
    others = [Target(name) for name in config.escalate_to]
    problems += escalation_problems(config.escalate_after_secs, others, at_once=())
    match config:
        case WebhookConfig():
            problems += _webhook(config, environ)
        case AlertmanagerConfig():
            problems += _alertmanager(config, environ)
        case SlackConfig():
            problems += _slack(config, environ)
        case AppriseConfig():
            problems += _apprise(config, environ)
        case EmailConfig():
            problems += _email(config, environ)
    return problems


def _limits(config: ChannelConfig) -> list[Problem]:
    bounds = {
        "concurrency": (config.concurrency, MAX_CONCURRENCY),
        "max_per_minute": (config.max_per_minute, MAX_PER_MINUTE),
    }
    return [
        Problem(f"/{key}", f"must be between 1 and {bound}")
        for key, (given, bound) in bounds.items()
        if given is not None and not 1 <= given <= bound
    ]


def url_problem(url: str) -> str | None:
    """Return why ``url`` cannot be posted to, None if it can."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be ASCII without spaces, line breaks or control characters"
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "is not a valid address"
    if parsed.scheme not in ("http", "https") or not parsed.host:
        return "must be an http:// or https:// address with a host"
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        return "has a port that is not between 1 and 65535"
    return None


def _webhook(config: WebhookConfig, environ: Mapping[str, str]) -> list[Problem]:
    problems = _http_receiver(config, environ)
    problems += _secret("secret", config.secret_file, config.secret_env, environ)
    if not config.content_type or not _HEADER_VALUE.fullmatch(config.content_type):
        problems.append(Problem("/content_type", "must be a media type like application/json"))
    if config.body is not None and config.format != "alertd":
        problems.append(Problem("/body", "takes the place of format; keep one of them"))
    problems += _templates({"body": config.body}, body_form(config.content_type))
    return problems


def _templates(sources: Mapping[str, str | None], form: Form = PLAIN_TEXT) -> list[Problem]:
    return [
        Problem(f"/{key}", message)
        for key, source in sources.items()
        if source is not None and (message := template_fault(key, source, form))
    ]


def _alertmanager(config: AlertmanagerConfig, environ: Mapping[str, str]) -> list[Problem]:
    problems = _http_receiver(config, environ)
    if config.concurrency not in (None, 1):
        message = "is always 1: an Alertmanager is told one thing after the other"
        problems.append(Problem("/concurrency", message))
    if not 1 <= config.resend_interval_secs <= MAX_RESEND_INTERVAL_SECS:
        message = f"must be between 1 and {MAX_RESEND_INTERVAL_SECS} seconds"
        problems.append(Problem("/resend_interval_secs", message))
    elif not 2 * config.resend_interval_secs <= config.ends_after_secs <= MAX_ENDS_AFTER_SECS:
        message = f"must be at least twice resend_interval_secs, at most {MAX_ENDS_AFTER_SECS}"
        problems.append(Problem("/ends_after_secs", message))
    return problems


def _http_receiver(
    config: WebhookConfig | AlertmanagerConfig, environ: Mapping[str, str]
) -> list[Problem]:
    problems = []
    if message := url_problem(config.url):
        problems.append(Problem("/url", message))
    for name, value in config.headers.items():
        if message := _header_problem(name, value, environ):
            problems.append(Problem(f"/headers/{pointer_token(name)}", message))
    problems += _ca_file(config.ca_file)
    return problems


def _header_problem(name: str, value: str | SecretText, environ: Mapping[str, str]) -> str | None:
    if not _TOKEN.fullmatch(name):
        return "is not a header name: letters, digits and hyphens"
    if name.lower() in RESERVED_HEADERS:
        return "is set by alertd itself; leave it out"
    try:
        text = read_header(value, environ).reveal()
    except SecretUnavailable as error:
        return str(error)
    if not _HEADER_VALUE.fullmatch(text):
        return "has a value with a line break, a control character or a non-ASCII character"
    return None


def _slack(config: SlackConfig, environ: Mapping[str, str]) -> list[Problem]:
    problems = _slack_address(config, environ)
    return problems + _templates({"title": config.title, "body": config.body}, MRKDWN)


def _slack_address(config: SlackConfig, environ: Mapping[str, str]) -> list[Problem]:
    keys = ("url", "url_file", "url_env", "token_file", "token_env")
    key, secret = _only_secret(config, keys, environ)
    if isinstance(secret, Problem):
        return [secret]
    if config.is_bot:
        return _slack_bot(config, key, secret)
    message = url_problem(secret.reveal())
    return [_address_problem(key, message)] if message else []


def _apprise(config: AppriseConfig, environ: Mapping[str, str]) -> list[Problem]:
    problems = _templates({"title": config.title, "body": config.body})
    if not apprise.is_installed():
        return [Problem("/type", apprise.HOW_TO_INSTALL), *problems]
    key, secret = _only_secret(config, ("url", "url_file", "url_env"), environ)
    if isinstance(secret, Problem):
        return [secret, *problems]
    if not apprise.understands(secret.reveal()):
        problems.append(_address_problem(key, "is none that Apprise understands"))
    return problems


def _only_secret(
    config: SlackConfig | AppriseConfig, keys: Sequence[str], environ: Mapping[str, str]
) -> tuple[str, Secret | Problem]:
    """Return the one of ``keys`` that is given with what it leads to, or what is wrong."""
    given = {key: value for key in keys if (value := getattr(config, key)) is not None}
    if len(given) != 1:
        return "", Problem("/url", f"exactly one of {', '.join(keys)} is required")
    [(key, value)] = given.items()
    try:
        secret = read_secret(
            file=value if key.endswith("_file") else None,
            env=value if key.endswith("_env") else None,
            environ=environ,
        )
    except SecretUnavailable as error:
        return key, Problem(f"/{key}", str(error))
    return key, Secret(value) if secret is None else secret


def _address_problem(key: str, message: str) -> Problem:
    return Problem(f"/{key}", message if key == "url" else f"the address in it {message}")


def _slack_bot(config: SlackConfig, key: str, token: Secret) -> list[Problem]:
    problems = []
    if not _SLACK_TOKEN.fullmatch(token.reveal()):
        problems.append(Problem(f"/{key}", "the token in it is not like xoxb-…"))
    if config.channel is None or not _SLACK_CHANNEL.fullmatch(config.channel):
        problems.append(Problem("/channel", "must be a channel's id, or its name like #alerts"))
    if message := url_problem(config.api_url):
        problems.append(Problem("/api_url", message))
    return problems


def _email(config: EmailConfig, environ: Mapping[str, str]) -> list[Problem]:
    problems = []
    if not _HOST.fullmatch(config.host):
        problems.append(Problem("/host", "must be a host name or an IP address"))
    if not 1 <= config.effective_port <= 65535:
        problems.append(Problem("/port", "must be between 1 and 65535"))
    if message := address_problem(config.sender):
        problems.append(Problem("/from", message))
    if not 1 <= len(config.to) <= MAX_RECIPIENTS:
        problems.append(Problem("/to", f"must list 1 to {MAX_RECIPIENTS} addresses"))
    for index, address in enumerate(config.to):
        if message := address_problem(address):
            problems.append(Problem(f"/to/{index}", message))
    problems += _login(config)
    problems += _secret("password", config.password_file, config.password_env, environ)
    problems += _ca_file(config.ca_file)
    problems += _templates({"title": config.title, "body": config.body})
    return problems


def address_problem(address: str) -> str | None:
    """Return why ``address`` cannot be written to, None if it can. A display name is allowed."""
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


def _secret(
    key: str, file: str | None, env: str | None, environ: Mapping[str, str]
) -> list[Problem]:
    path = f"/{key}_file" if file is not None else f"/{key}_env"
    try:
        read_secret(file=file, env=env, environ=environ)
    except SecretUnavailable as error:
        return [Problem(path, str(error))]
    return []


def _ca_file(ca_file: str | None) -> list[Problem]:
    if ca_file is None:
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except (OSError, ValueError):
        return [Problem("/ca_file", "cannot be read as a PEM file of certificates")]
    return []
