"""How commands talk to a running daemon: over its HTTP interface, as anybody may.

Owns the address, the deadline, and what is said when the daemon cannot be reached or refuses.
"""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click
import httpx
import msgspec

DEFAULT_URL: Final = "http://127.0.0.1:9470"
TIMEOUT_S: Final = 10.0
EXIT_REFUSED: Final = 3

url_option = click.option(
    "--url",
    default=DEFAULT_URL,
    envvar="ALERTD_URL",
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="Where the daemon listens.",
)


def ask(url: str, method: str, path: str, body: object = None) -> Any:
    """Return the daemon's answer, decoded; print why there is none and exit.

    Any: JSON, of which each command knows the shape.
    """
    try:
        answer = httpx.request(
            method,
            url.rstrip("/") + path,
            content=None if body is None else msgspec.json.encode(body),
            headers={} if body is None else {"Content-Type": "application/json"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
    except httpx.InvalidURL as error:
        raise click.BadParameter(
            f"{url!r} is not an address: {error}", param_hint="--url"
        ) from None
    except httpx.HTTPError as error:
        _fail([f"cannot ask the daemon at {url}: {error}; is it running? see --url"])
    try:
        document = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        _fail([f"what answers at {url} is not alertd"])
    if answer.is_error:
        errors = document.get("errors") or [{"path": "", "message": document.get("detail", "")}]
        _fail([f"{error['path']} {error['message']}".strip() for error in errors])
    return document


def _fail(lines: list[str]) -> NoReturn:
    for line in lines:
        click.secho(line, err=True, fg="red")
    sys.exit(EXIT_REFUSED)
