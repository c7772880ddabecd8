"""What types of channels have in common: headers, secrets, templates, and what makes them wrong.

Messages never repeat an address, a header's value or a secret.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from alertd.channels.config import (
    AlertmanagerConfig,
    AppriseConfig,
    SecretText,
    SlackConfig,
    WebhookConfig,
)
from alertd.channels.secret import Secret, SecretUnavailable, read_header, read_secret
from alertd.channels.url import url_problem
from alertd.channels.words import PLAIN_TEXT, Form, template_fault
from alertd.errors import Problem, pointer_token

RESERVED_HEADERS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "content-type", "idempotency-key"),
        *("transfer-encoding", "user-agent", "x-alertd-signature"),
    }
)
"""Headers that the webhook sets itself, lower case."""
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2


def template_problems(sources: Mapping[str, str | None], form: Form = PLAIN_TEXT) -> list[Problem]:
    """Return what is wrong with templates, by the keys that they stand under."""
    return [
        Problem(f"/{key}", message)
        for key, source in sources.items()
        if source is not None and (message := template_fault(key, source, form))
    ]


def receiver_problems(
    config: WebhookConfig | AlertmanagerConfig, environ: Mapping[str, str]
) -> list[Problem]:
    """Return what is wrong with an HTTP receiver: its address, headers and authorities."""
    problems = []
    if message := url_problem(config.url):
        problems.append(Problem("/url", message))
    for name, value in config.headers.items():
        if message := _header_problem(name, value, environ):
            problems.append(Problem(f"/headers/{pointer_token(name)}", message))
    problems += ca_file_problems(config.ca_file)
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
    if not HEADER_VALUE.fullmatch(text):
        return "has a value with a line break, a control character or a non-ASCII character"
    return None


def only_secret(
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


def secret_address_problem(key: str, message: str) -> Problem:
    """Return what is wrong with the address that ``key`` leads to; it is not shown."""
    return Problem(f"/{key}", message if key == "url" else f"the address in it {message}")


def secret_problems(
    key: str, file: str | None, env: str | None, environ: Mapping[str, str]
) -> list[Problem]:
    """Return why the secret under ``key`` cannot be read, if it is given and cannot."""
    path = f"/{key}_file" if file is not None else f"/{key}_env"
    try:
        read_secret(file=file, env=env, environ=environ)
    except SecretUnavailable as error:
        return [Problem(path, str(error))]
    return []


def ca_file_problems(ca_file: str | None) -> list[Problem]:
    """Return why ``ca_file`` cannot be used, if it is given and cannot."""
    if ca_file is None:
        return []
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except (OSError, ValueError):
        return [Problem("/ca_file", "cannot be read as a PEM file of certificates")]
    return []


def headers(
    config: WebhookConfig | AlertmanagerConfig, environ: Mapping[str, str]
) -> dict[str, Secret]:
    """Return the headers that are sent with each message."""
    return {name: read_header(value, environ) for name, value in config.headers.items()}


def secret_address(config: SlackConfig | AppriseConfig, environ: Mapping[str, str]) -> Secret:
    """Return the address of which ``only_secret`` found nothing wrong."""
    secret = read_secret(file=config.url_file, env=config.url_env, environ=environ)
    return secret if secret is not None else Secret(config.url or "")
