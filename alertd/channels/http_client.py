"""One HTTP POST, as safe as it can be made: what webhook and Slack share.

Owns the httpx client and its rules: no proxy or netrc from the environment, no redirects, no
cookies, no decompression, a reply of at most 64 KiB, one deadline for the whole attempt, TLS
always verified; and the reading of a reply's status as an outcome. Leaves bodies and headers
to the channels.

Invariant: a reason names a host and a port at most, never a path, a query, a header or a reply's
text. The text stands beside it, for who tries a channel, without what the request was made of.
"""

from __future__ import annotations

import logging
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx
import trio

from alertd import __version__
from alertd.channels.backoff import parse_retry_after
from alertd.channels.guarded import ForbiddenAddress, GuardedTransport
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.tls import describe_cause, load_ssl_context
from alertd.channels.wording import one_line

MAX_REPLY_BYTES: Final = 64 * 1024
MAX_SAID_CHARS: Final = 200
MAX_LOOKED_AT_BYTES: Final = 4096
"""Of a refusal's body: what is made of the first so many bytes is shown."""
MIN_SECRET_CHARS: Final = 4
"""What is shorter guards nothing, and stands in many words."""
RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
"""The 4xx that may pass by waiting; every 5xx may too."""
REFUSALS: Final = RETRYABLE_STATUSES | {503}
"""Statuses that say that the request was not carried out. Behind another 5xx it may have been, by
a server that then failed (500) or that a proxy lost sight of (502, 504)."""

_LIMITS: Final = httpx.Limits(
    max_connections=None,  # dispatch bounds the attempts under way
    max_keepalive_connections=8,
    keepalive_expiry=5.0,
)
_BASE_HEADERS: Final = {
    "User-Agent": f"alertd/{__version__}",
    "Accept-Encoding": "identity",
}

# httpx logs every request with its whole URL at INFO, httpcore its steps at DEBUG.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a receiver answered. ``body`` is as it came, cut at ``MAX_REPLY_BYTES``."""

    status: int
    retry_after: str | None
    body: bytes
    said: str = ""
    """The beginning of the body of a refusal, in one line and without secrets of the request."""


class HttpClient:
    """POSTs to one receiver, or, guarded, to any public one. Safe for several tasks at once.

    ``allow_private`` lifts the address check of ``guarded.py``. ``ca_file`` names the only
    authorities to trust; without it the system's and Mozilla's are trusted. Nothing is opened
    or loaded before the first POST.
    """

    def __init__(self, *, allow_private: bool, ca_file: str | None = None) -> None:
        self._allow_private = allow_private
        self._ca_file = ca_file
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._opening = trio.Lock()

    async def post(
        self, url: httpx.URL, content: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> Reply | Retryable | Permanent:
        """Make one attempt of at most ``timeout_s`` seconds.

        A reply whose status has arrived counts, even if its body never ends.
        """
        reply: Reply | None = None
        progress = _Progress()
        with trio.move_on_after(timeout_s):
            try:
                client = await self._client(url.scheme)
                async with client.stream(
                    "POST",
                    url,
                    content=content,
                    headers={**headers, **_BASE_HEADERS},
                    extensions={"trace": progress.note},
                ) as response:
                    reply = Reply(response.status_code, response.headers.get("retry-after"), b"")
                    reply = replace(reply, body=await _read_capped(response))
            except (httpx.HTTPError, httpx.InvalidURL, ForbiddenAddress, UnicodeError) as error:
                if reply is None:
                    return _failure(error, url, was_refused=progress.has_not_sent)
        if reply is None:
            reason = f"{url.host} gave no answer within {timeout_s:g} s"
            return Retryable(reason, was_refused=progress.has_not_sent)
        if reply.status < 300:
            return reply
        return replace(reply, said=_said(reply.body, url, headers))

    async def aclose(self) -> None:
        """Close what is open. No ``post`` may be under way or follow."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _client(self, scheme: str) -> httpx.AsyncClient:
        async with self._opening:
            if scheme not in self._clients:
                self._clients[scheme] = self._open(await self._ssl_context(scheme))
            return self._clients[scheme]

    async def _ssl_context(self, scheme: str) -> ssl.SSLContext:
        if scheme != "https":
            # httpx wants a context even for plain HTTP; this one trusts nobody and costs nothing.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Loading the authorities takes 0.1 s: too long for the event loop.
        return await trio.to_thread.run_sync(load_ssl_context, self._ca_file)

    def _open(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        transport = (
            httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=_LIMITS)
            if self._allow_private
            else GuardedTransport(context, _LIMITS)
        )
        return httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # noqa: S113 - one deadline round the whole attempt bounds it
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )


class _Progress:
    """How far an attempt has come, by what httpcore tells of it."""

    def __init__(self) -> None:
        self.has_not_sent = True
        """Whether it is certain that not a byte of the request has left."""

    async def note(self, event: str, _info: object) -> None:
        """Take notice of an event of httpcore's ``trace`` extension."""
        if event.endswith("connect_tcp.started"):
            self.has_not_sent = True
        elif event.endswith("send_request_headers.started"):
            self.has_not_sent = False


def judge(reply: Reply, host: str, now_s: float, detail: str = "") -> Outcome:
    """Return what ``reply`` means for the message (API.md, "Delivery").

    ``now_s`` is Unix time, for a ``Retry-After`` that is a date. ``detail`` is added to the
    reason and must be fit to be shown.
    """
    status = reply.status
    if 200 <= status < 300:
        return Delivered()
    reason = f"{host} answered {status}" + (f" ({detail})" if detail else "")
    if status in RETRYABLE_STATUSES or status >= 500:
        wait_s = parse_retry_after(reply.retry_after, now_s)
        return Retryable(reason, wait_s, was_refused=status in REFUSALS, said=reply.said)
    if 300 <= status < 400:
        reason += ": redirects are not followed; configure the address that it leads to"
    return Permanent(reason, said=reply.said)


def _said(body: bytes, url: httpx.URL, headers: Mapping[str, str]) -> str:
    """Return what may be shown of a refusal.

    Receivers like to repeat what they were asked, and a path, a query or a header may be the
    secret: an ellipsis stands for each word of theirs.
    """
    asked = [url.raw_path.decode(), url.path, url.query.decode(), url.userinfo.decode()]
    asked.append(b64encode(f"{url.username}:{url.password}".encode()).decode())  # as httpx sends it
    asked += [text for name, text in headers.items() if name != "Content-Type"]
    words = {word for text in asked for word in (text, *re.split(r"[\s/?&=,;:]+", text))}
    secrets = sorted((w for w in words if len(w) >= MIN_SECRET_CHARS), key=len, reverse=True)
    text = body[:MAX_LOOKED_AT_BYTES].decode(errors="replace")
    text = re.sub("|".join(map(re.escape, secrets)), "…", text, flags=re.IGNORECASE)
    return one_line(text)[:MAX_SAID_CHARS].rstrip()


async def _read_capped(response: httpx.Response) -> bytes:
    body = bytearray()
    with trio.CancelScope() as enough:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) >= MAX_REPLY_BYTES:
                # Leaving the loop would leave httpx's nested generators open; this unwinds them.
                enough.cancel()
    return bytes(body[:MAX_REPLY_BYTES])


def _failure(error: Exception, url: httpx.URL, *, was_refused: bool) -> Retryable | Permanent:
    host = url.host
    match error:
        case ForbiddenAddress():
            return Permanent(f"{host} {error}")
        case httpx.LocalProtocolError() | httpx.UnsupportedProtocol() | httpx.InvalidURL():
            return Permanent(f"the request to {host} is not valid HTTP; check address and headers")
        case UnicodeError():
            return Permanent(f"{host!r} is not a valid host name")
        case httpx.ConnectError():
            reason = f"cannot connect to {url.netloc.decode()}: {describe_cause(error)}"
        case _:
            reason = f"the connection to {host} broke: {type(error).__name__}"
    return Retryable(reason, was_refused=was_refused)
