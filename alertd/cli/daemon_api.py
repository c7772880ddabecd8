"""How commands talk to a running daemon: over its HTTP interface, as anybody may.

Owns the address, the token, the deadline, and what is said when the daemon cannot be reached or
refuses. A token comes from the environment or a file, never from an argument: arguments are to
be seen in ``ps`` by everybody on the machine.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlencode

import click
import httpx
import msgspec

from alertd.channels.secret import SecretUnavailable, read_secret
from alertd.channels.tls import tls_fault
from alertd.limits import MAX_PAGE_ITEMS

DEFAULT_URL: Final = "http://127.0.0.1:9470"
TOKEN_VARIABLE: Final = "ALERTD_TOKEN"  # noqa: S105  # the name of a variable, not a secret
TIMEOUT_S: Final = 10.0
EXIT_REFUSED: Final = 3
_ERROR_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ")

limit_option = click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="COUNT",
    help="How many to list at most.",
)

F = TypeVar("F", bound=Callable[..., Any])

_TOKEN_FILE: Final = "alertd.token_file"  # noqa: S105  # a key, not a secret
_CA_FILE: Final = "alertd.ca_file"


def daemon_options(command: F) -> F:
    """Give ``command`` the options that say where the daemon is and how it is talked to."""
    for option in (
        _kept(
            "--ca-file",
            _CA_FILE,
            envvar="ALERTD_CA_FILE",
            help="PEM file of the authority behind an https:// URL.",
        ),
        _kept(
            "--token-file",
            _TOKEN_FILE,
            envvar="ALERTD_TOKEN_FILE",
            help=f"File with the token for a daemon that wants one; else ${TOKEN_VARIABLE}.",
        ),
        click.option(
            "--url",
            default=DEFAULT_URL,
            envvar="ALERTD_URL",
            show_default=True,
            show_envvar=True,
            metavar="URL",
            help="Where the daemon listens.",
        ),
    ):
        command = option(command)
    return command


class Refused(Exception):
    """The daemon answered that it does not do what it was asked; ``lines`` say why."""

    def __init__(self, status: int, lines: list[str]) -> None:
        self.status = status
        self.lines = lines
        super().__init__("; ".join(lines))


def ask(
    url: str,
    method: str,
    path: str,
    body: object = None,
    *,
    expected: Collection[HTTPStatus] = (),
) -> Any:
    """Return the daemon's answer, decoded; print why there is none and exit.

    A refusal by one of the ``expected`` statuses is no reason to: it gives None.
    Any: JSON, of which each command knows the shape.
    """
    try:
        return try_to_ask(url, method, path, body)
    except Refused as refusal:
        if refusal.status in expected:
            return None
        refuse(refusal.lines)


def try_to_ask(url: str, method: str, path: str, body: object = None) -> Any:
    """Do as ``ask``; raise ``Refused`` where it is the daemon that says why there is no answer.

    Any: as above.
    """
    headers = _authorization()
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        answer = httpx.request(
            method,
            url.rstrip("/") + path,
            content=None if body is None else msgspec.json.encode(body),
            headers=headers,
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=_trust(),
        )
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise click.BadParameter(
            f"{url!r} is not an address; write it like {DEFAULT_URL}", param_hint="--url"
        ) from None
    except httpx.HTTPError as error:
        refuse([f"cannot ask the daemon at {url}: {_why_unreached(error)}"])
    try:
        document = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        refuse([f"what answers at {url} is not alertd"])
    if answer.is_error:
        errors = document.get("errors") or [{"path": "", "message": document.get("detail", "")}]
        lines = [": ".join(filter(None, (error["path"], error["message"]))) for error in errors]
        if document.get("errorsTruncated"):
            lines.append("and more")
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            lines.append(f"set {TOKEN_VARIABLE}, or name the token's file with --token-file")
        raise Refused(answer.status_code, lines)
    return document


def _why_unreached(error: httpx.HTTPError) -> str:
    """Return why no daemon answered, and what to look at."""
    if (fault := tls_fault(error)) is not None:
        return f"{fault}; see --url and --ca-file"
    reason = _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
    return f"{reason}; is it running? see --url"


def listed(
    url: str, path: str, limit: int | None = None, **filters: str | None
) -> list[Mapping[str, Any]]:
    """Return up to ``limit`` items of the list at ``path``, None for all, page by page.

    A filter that is None is left out. Any: items as the API answers them.
    """
    page = MAX_PAGE_ITEMS if limit is None else min(MAX_PAGE_ITEMS, limit)
    given = {name: value for name, value in filters.items() if value is not None}
    return list(islice(_items(url, f"{path}?{urlencode({'limit': page, **given})}"), limit))


def _items(url: str, path: str) -> Iterator[Mapping[str, Any]]:
    """Yield what ``path``, which has a query, lists; each page is asked for when it is needed.

    Any: items as the API answers them.
    """
    cursor = ""
    while True:
        page = ask(url, "GET", f"{path}{cursor}")
        yield from page["items"]
        if page["nextCursor"] is None:
            return
        cursor = f"&cursor={page['nextCursor']}"


def _kept(name: str, place: str, **attributes: Any) -> Callable[[F], F]:
    """Return an option for a file that ``ask`` finds, so that commands need not hand it on.

    Any: what ``click.option`` takes.
    """

    def keep(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        context.meta[place] = value

    return click.option(
        name,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        show_envvar=True,
        expose_value=False,
        callback=keep,
        **attributes,
    )


def _authorization() -> dict[str, str]:
    """Return the header with the token, none if there is no token."""
    file: Path | None = click.get_current_context().meta.get(_TOKEN_FILE)
    is_set = TOKEN_VARIABLE in os.environ and file is None
    try:
        token = read_secret(
            file=None if file is None else str(file),
            env=TOKEN_VARIABLE if is_set else None,
            environ=os.environ,
        )
    except SecretUnavailable as error:
        refuse([str(error)])
    if token is None:
        return {}
    if not token.reveal().isascii() or not token.reveal().isprintable():
        refuse(["the token is not one: it has characters that no token has"])
    return {"Authorization": f"Bearer {token.reveal()}"}


def _trust() -> ssl.SSLContext | bool:
    """Return whom an https:// URL must be vouched for by."""
    file: Path | None = click.get_current_context().meta.get(_CA_FILE)
    if file is None:
        return True
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        refuse([f"--ca-file {file} cannot be read as a PEM file of certificates: {error}"])


def refuse(lines: list[str]) -> NoReturn:
    """Print why it cannot be done, and exit."""
    for line in lines:
        click.secho(line, err=True, fg="red")
    sys.exit(EXIT_REFUSED)
