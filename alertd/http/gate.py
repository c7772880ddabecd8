"""Who asks, and whether they may: in front of every route, on both lanes.

Owns the order of the questions: is it addressed to us (421), does it come from somebody else's
web page (403), who is it (401), may they (403), have they used up their allowance (429). Tokens
are compared by their hashes, all of them, in constant time; the headers of those that were right
are remembered, so that a client which repeats itself costs one look into a dict (Python's string
hash is keyed, so such a look tells nothing about what is in it). Leaves to ``routes.py`` which
route needs which scope.

Invariant: no header of a stranger is remembered, and a token appears in no message.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from alertd.access import Scope, Token, digest_of
from alertd.errors import AlertdError, Conflict, Overloaded
from alertd.http.allowance import Allowance
from alertd.http.hosts import Hosts, is_foreign, own_names
from alertd.http.routes import Route
from alertd.limits import Limit

DAY_S: Final = 86_400.0
TELL_EVERY_S: Final = 60.0
"""Of the same reason the log has one line in this time; all are counted."""
CHALLENGE: Final = 'Bearer realm="alertd"'
"""``WWW-Authenticate`` (RFC 6750, section 3)."""

_MAX_REMEMBERED: Final = 1024

_log = structlog.get_logger(__name__)


class Denial(StrEnum):
    """Why a request is refused before it is looked at."""

    HOST = "host"
    ORIGIN = "origin"
    NO_TOKEN = "no_token"  # noqa: S105  # names of reasons, not secrets
    BAD_TOKEN = "bad_token"  # noqa: S105
    SCOPE = "scope"
    ALLOWANCE = "allowance"
    ROUTE = "route"


class Denied(AlertdError):
    """Not let in; ``reason`` says at which question."""

    def __init__(self, reason: Denial, message: str, *, challenge: str | None = None) -> None:
        self.reason = reason
        self.challenge = challenge
        super().__init__(message)


class Misdirected(Denied):
    """Addressed to a name that is not ours."""


class Unauthorized(Denied):
    """Nobody that we know."""


class Forbidden(Denied):
    """Somebody who may not do this."""


class UsedUp(Overloaded):
    """The caller's allowance is used up."""


class Ask(NamedTuple):
    """What a request says of itself, before its body."""

    method: str
    host: str | None
    """``Host``; None if there is none, as HTTP/1.0 allows."""
    authorization: str | None = None
    origin: str | None = None
    fetch_site: str | None = None
    """``Sec-Fetch-Site``."""
    client: str | None = None
    """The address that it comes from."""


class GateMetrics(Protocol):
    """What is counted here."""

    @property
    def requests_denied(self) -> Counter:
        """Requests not let in, by ``reason``."""

    @property
    def token_events(self) -> Counter:
        """Events sent, by ``token``."""


class Caller:
    """Somebody who was let in, with what is left of their allowances."""

    def __init__(self, token: Token, now_s: Callable[[], float], sent: Counter | None) -> None:
        self.token = token
        self._now_s = now_s
        self._sent = sent
        self._requests = _allowances(token, max_requests_per_sec=1.0)
        self._events = _allowances(token, max_events_per_sec=1.0, max_events_per_day=DAY_S)

    @property
    def name(self) -> str:
        """Who it is; empty where there are no tokens."""
        return self.token.name

    def begin(self, route: Route) -> None:
        """Count a request. Raises ``UsedUp``, counting nothing, if no allowance is left.

        That for events holds back only what sends events: who has used it up can still read.
        """
        events = self._events if route.scope is Scope.INGEST else []
        if not self._requests and not events:
            return
        now_s = self._now_s()
        for key, allowance in (*self._requests, *events):
            wait_s = allowance.wait_s(now_s)
            if wait_s > 0:
                raise UsedUp(
                    f"the token {self.name!r} has used up its {key} "
                    f"({getattr(self.token, key):g}); send more slowly, or raise it in "
                    "[[auth.tokens]]",
                    retry_after_s=max(1, math.ceil(wait_s)),
                    limit=Limit.ALLOWANCE,
                )
        for _, allowance in self._requests:
            allowance.take(1, now_s)

    def charge(self, events: int) -> None:
        """Count ``events`` that this caller has sent."""
        if self._sent is not None:
            self._sent.inc(events)
        for _, allowance in self._events:
            allowance.take(events, self._now_s())


def anybody() -> Caller:
    """Return whoever asks, where there are no tokens."""
    return Caller(Token(name="", scopes=frozenset(Scope), digest=b""), time.monotonic, None)


def _allowances(token: Token, **period_s: float) -> list[tuple[str, Allowance]]:
    return [
        (key, Allowance(amount, period))
        for key, period in period_s.items()
        if (amount := getattr(token, key)) is not None
    ]


class Gate:
    """Lets in those who may; ``replace`` exchanges the tokens while it is in use."""

    def __init__(
        self,
        tokens: Iterable[Token],
        metrics: GateMetrics,
        *,
        bind: str,
        reachable_at: str | None = None,
        public_url: str | None = None,
        allowed_hosts: Iterable[str] = (),
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``bind`` is where HTTP listens, ``reachable_at`` where others than this machine come in.

        That may be another port than HTTP's; None if it is nowhere.
        """
        self._metrics = metrics
        self._reachable_at = reachable_at
        self._names = own_names(bind, public_url)
        self._allowed_hosts = tuple(allowed_hosts)
        self._now_s = now_s
        self._everybody = anybody()
        self._callers: Mapping[str, Caller] = {}
        self._tell_from_s = dict.fromkeys(Denial, float("-inf"))
        self._take(tuple(tokens))

    def replace(self, tokens: tuple[Token, ...]) -> None:
        """Know ``tokens`` from now on; what is left of the allowances of those that stay, stays.

        Raises ``Conflict``, changing nothing, if that would open the daemon to a network.
        """
        if not tokens and self._reachable_at is not None:
            raise Conflict(
                "the last of [[auth.tokens]] cannot go while alertd listens on "
                f"{self._reachable_at}: "
                "whoever reaches that could do anything; keep one, or restart on a loopback address"
            )
        self._take(tokens)

    def names(self) -> frozenset[str]:
        """Return the names of the tokens."""
        return frozenset(self._callers)

    def admit(self, ask: Ask, route: Route) -> Caller:
        """Return who asks for ``route``, if they may have it, and count the request.

        Raises ``Denied`` and ``UsedUp``.
        """
        try:
            self._check_source(ask)
            caller = self._caller(ask, route)
            caller.begin(route)
        except (Denied, UsedUp) as error:
            self._count(error, ask)
            raise
        return caller

    def acquaint(self, ask: Ask) -> None:
        """Raise ``Denied`` unless somebody asks who may ask for anything at all."""
        try:
            self._check_source(ask)
            self._identify(ask.authorization)
        except Denied as error:
            self._count(error, ask)
            raise

    def would_admit(self, ask: Ask, route: Route) -> bool:
        """Return whether ``admit`` would let ``ask`` in, allowances left aside. Counts nothing."""
        try:
            self._check_source(ask)
            self._caller(ask, route)
        except Denied:
            return False
        return True

    def _take(self, tokens: tuple[Token, ...]) -> None:
        before = self._callers
        self._callers = {token.name: self._caller_of(token, before) for token in tokens}
        self._remembered: dict[str, Caller] = {}
        has_any_name = bool(tokens) and not self._allowed_hosts
        self._hosts = Hosts((*self._names, *self._allowed_hosts), any_name=has_any_name)

    def _caller_of(self, token: Token, before: Mapping[str, Caller]) -> Caller:
        caller = before.get(token.name)
        if caller is not None and caller.token == token:
            return caller
        return Caller(token, self._now_s, self._metrics.token_events.labels(token.name))

    def _count(self, error: Denied | UsedUp, ask: Ask) -> None:
        reason = error.reason if isinstance(error, Denied) else Denial.ALLOWANCE
        self._metrics.requests_denied.labels(reason.value).inc()
        if self._now_s() >= self._tell_from_s[reason]:
            self._tell_from_s[reason] = self._now_s() + TELL_EVERY_S
            _log.warning("request denied", reason=reason.value, why=str(error), client=ask.client)

    def _check_source(self, ask: Ask) -> None:
        # Only HTTP/1.0 may come without a host, and no browser speaks that.
        if ask.host is not None and not self._hosts.allows(ask.host):
            raise Misdirected(
                Denial.HOST,
                f"this is not {ask.host[:100]!r}; to be reached by that name, add it to "
                "server.allowed_hosts",
            )
        if is_foreign(ask.method, ask.host or "", ask.origin, ask.fetch_site):
            raise Forbidden(Denial.ORIGIN, "requests from web pages of other sites are not taken")

    def _caller(self, ask: Ask, route: Route) -> Caller:
        if route.scope is None:
            return self._everybody
        caller = self._identify(ask.authorization)
        if not caller.token.allows(route.scope):
            needed = route.scope.value
            raise Forbidden(
                Denial.SCOPE,
                f"the token {caller.name!r} may not do this: it needs the scope {needed!r}",
                challenge=f'{CHALLENGE}, error="insufficient_scope", scope="{needed}"',
            )
        return caller

    def _identify(self, authorization: str | None) -> Caller:
        if not self._callers:
            return self._everybody
        if authorization is None:
            raise Unauthorized(
                Denial.NO_TOKEN,
                "a token is needed: send the header `Authorization: Bearer …`",
                challenge=CHALLENGE,
            )
        caller = self._remembered.get(authorization)
        return caller if caller is not None else self._look_up(authorization)

    def _look_up(self, authorization: str) -> Caller:
        scheme, _, token = authorization.partition(" ")
        digest = digest_of(token.strip(" ").encode("latin-1", "replace"))
        found = None
        for caller in self._callers.values():
            if hmac.compare_digest(digest, caller.token.digest):
                found = caller
        if found is None or scheme.lower() != "bearer":
            raise Unauthorized(
                Denial.BAD_TOKEN,
                "the token is not one of [[auth.tokens]]; `alertd token new` makes one",
                challenge=f'{CHALLENGE}, error="invalid_token"',
            )
        if len(self._remembered) < _MAX_REMEMBERED:
            self._remembered[authorization] = found
        return found
