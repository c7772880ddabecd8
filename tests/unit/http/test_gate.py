"""Who is let in: every route by every kind of caller, on both lanes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from alertd.access import Scope, Token, digest_of, new_token
from alertd.errors import Conflict
from alertd.http.gate import Ask, Gate, UsedUp
from alertd.http.routes import PUSH_EVENTS, ROUTES, Route
from alertd.metrics import Metrics
from tests.unit.http.fakes import Site
from tests.unit.http.test_express import EVENT, PLAIN, request, running

SECRETS = {scope: new_token() for scope in Scope}
GOOD = {"Host": "a"}
NOT_AUTHORIZED = {
    "no token": None,
    "a wrong token": f"Bearer {new_token()}",
    "a token that is not ASCII": "Bearer caf\xe9\xff",
    "a token that is not Latin-1": "Bearer \u20ac",
    "a right one in another scheme": f"Basic {SECRETS[Scope.ADMIN]}",
    "a right one in no scheme": SECRETS[Scope.ADMIN],
    "a part of a right one": f"Bearer {SECRETS[Scope.ADMIN][:-1]}",
    "a right one and more": f"Bearer {SECRETS[Scope.ADMIN]}x",
    "nothing": "",
    "the hash of a right one": f"Bearer sha256:{digest_of(SECRETS[Scope.ADMIN].encode()).hex()}",
}


def token(name: str, secret: str, scopes: Iterable[Scope], **limits: float) -> Token:
    return Token(name=name, scopes=frozenset(scopes), digest=digest_of(secret.encode()), **limits)


TOKENS = [token(scope.value, secret, [scope]) for scope, secret in SECRETS.items()]


def path_of(route: Route) -> str:
    return route.path.replace("<", "").replace(">", "")


def headers(authorization: str | None) -> dict[str, str]:
    return GOOD if authorization is None else GOOD | {"Authorization": authorization}


@pytest.mark.parametrize("sent", NOT_AUTHORIZED)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
async def test_a_route_is_closed_to_whoever_has_no_right_token(route: Route, sent: str) -> None:
    answer = await Site(*TOKENS).send(route.method, path_of(route), **headers(NOT_AUTHORIZED[sent]))
    if route.scope is None:
        assert answer.status == 200
        return
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="alertd"')
    assert ("invalid_token" in answer.headers["WWW-Authenticate"]) == (sent != "no token")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == 401


@pytest.mark.parametrize("scope", Scope)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation)
async def test_a_scope_opens_its_own_routes_and_admin_opens_all(route: Route, scope: Scope) -> None:
    site = Site(*TOKENS)
    answer = await site.send(route.method, path_of(route), **headers(f"Bearer {SECRETS[scope]}"))
    if route.scope in (None, scope) or scope is Scope.ADMIN:
        assert answer.status not in (401, 403)
        return
    assert answer.status == 403
    needed = route.scope.value
    assert f'error="insufficient_scope", scope="{needed}"' in answer.headers["WWW-Authenticate"]
    assert f"it needs the scope '{needed}'" in answer.body["detail"]
    assert not site.log.batches
    assert not site.notifier.asked


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/nothing"), ("PUT", "/api/events")])
async def test_a_stranger_is_not_told_what_there_is(method: str, path: str) -> None:
    site = Site(*TOKENS)
    assert (await site.send(method, path, **GOOD)).status == 401
    known = await site.send(method, path, **headers(f"Bearer {SECRETS[Scope.INGEST]}"))
    assert known.status in (404, 405)


async def test_head_needs_what_get_needs() -> None:
    site = Site(*TOKENS)
    assert (await site.send("HEAD", "/api/status", **GOOD)).status == 401
    read = await site.send("HEAD", "/api/status", **headers(f"Bearer {SECRETS[Scope.READ]}"))
    assert read.status == 200


async def test_without_tokens_whoever_reaches_it_may_do_everything() -> None:
    site = Site()
    for route in ROUTES:
        answer = await site.send(route.method, path_of(route), **GOOD)
        assert answer.status not in (401, 403), route


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_may_be_spelled_as_one_likes(scheme: str) -> None:
    sent = headers(f"{scheme} {SECRETS[Scope.READ]}")
    assert (await Site(*TOKENS).send("GET", "/api/status", **sent)).status == 200


# ---- the express lane


def pushed(authorization: str | None) -> bytes:
    more = b"" if authorization is None else b"Authorization: %b\r\n" % authorization.encode()
    return request(more=more)


async def test_the_express_lane_takes_only_whom_the_gate_lets_in() -> None:
    site = Site(*TOKENS)
    for authorization in (None, f"Bearer {new_token()}", f"Bearer {SECRETS[Scope.READ]}"):
        assert site.express.recognise(pushed(authorization)) is None
    for scope in (Scope.INGEST, Scope.ADMIN):
        assert site.express.recognise(pushed(f"Bearer {SECRETS[scope]}")) is not None
    twice = b"Authorization: Bearer x\r\n" * 2
    assert site.express.recognise(request(more=twice)) is None


@pytest.mark.parametrize("sent", NOT_AUTHORIZED)
async def test_what_strangers_push_over_a_socket_is_not_stored(sent: str) -> None:
    authorization = NOT_AUTHORIZED[sent]
    async with running(Site(*TOKENS)) as server:
        more = (
            b""
            if authorization is None
            else b"Authorization: %b\r\n" % authorization.encode("utf-8")
        )
        ((response, _),) = await server.ask(request(more=more))
        assert response.status_code == 401
        assert server.batches == 0


async def test_the_lane_answers_a_caller_as_the_framework_does() -> None:
    async with running(Site(*TOKENS)) as server:
        more = b"Authorization: Bearer %b\r\n" % SECRETS[Scope.INGEST].encode()
        ((fast, _),) = await server.ask(request(more=more))
        ((slow, _),) = await server.ask(request(more=more + b"TE: trailers\r\n"))
        assert (fast.status_code, slow.status_code) == (202, 202)
        assert server.batches == 2


async def test_a_401_reaches_a_client_that_is_still_sending() -> None:
    body = b"[" + b",".join([EVENT] * 10_000) + b"]"
    async with running(Site(*TOKENS)) as server:
        ((response, _),) = await server.ask(request(body, head=PLAIN))
        assert response.status_code == 401


async def test_tokens_that_are_exchanged_count_at_once_on_the_lane() -> None:
    site, other = Site(*TOKENS), new_token()
    old, new = pushed(f"Bearer {SECRETS[Scope.INGEST]}"), pushed(f"Bearer {other}")
    assert site.express.recognise(old) is not None
    assert site.express.recognise(new) is None
    site.gate.replace((token("other", other, [Scope.INGEST]),))
    assert site.express.recognise(old) is None
    assert site.express.recognise(new) is not None


async def test_the_lane_refuses_what_was_let_in_when_its_token_has_gone_meanwhile() -> None:
    site = Site(*TOKENS)
    plain = site.express.recognise(pushed(f"Bearer {SECRETS[Scope.INGEST]}"))
    assert plain is not None
    site.gate.replace((TOKENS[1],))
    assert (await site.express.answer(plain, EVENT, is_last=False)).startswith(b"HTTP/1.1 401 ")
    assert not site.log.batches


# ---- hosts and pages


@pytest.mark.parametrize("host", ["evil.example", "a.evil.example", "a:b:c", "a b", "a@b", ""])
async def test_a_request_for_somebody_else_is_misdirected(host: str) -> None:
    site = Site()
    answer = await site.send("GET", "/api/status", Host=host)
    assert answer.status == 421
    assert "server.allowed_hosts" in answer.body["detail"]
    misdirected = request(head=PLAIN.replace(b"Host: a", b"Host: %b" % host.encode()))
    assert site.express.recognise(misdirected) is None


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9470", "x.localhost", "127.0.0.1:9470", "[::1]:9470", "192.0.2.1",
     "A", "a.", "a:1"],
)  # fmt: skip
async def test_addresses_and_configured_names_are_ours(host: str) -> None:
    assert (await Site().send("GET", "/api/status", Host=host)).status == 200


async def test_a_wildcard_means_all_names_below_it() -> None:
    site = Site(allowed_hosts=("*.example.org",))
    for host, status in (("x.example.org", 200), ("x.y.example.org", 200), ("example.org", 421)):
        assert (await site.send("GET", "/api/status", Host=host)).status == status


async def test_with_tokens_any_name_is_right_unless_names_are_configured() -> None:
    authorization = f"Bearer {SECRETS[Scope.READ]}"
    for allowed, status in ((), 200), (("a",), 421):
        site = Site(*TOKENS, allowed_hosts=allowed)
        sent = {"Host": "evil.example", "Authorization": authorization}
        assert (await site.send("GET", "/api/status", **sent)).status == status


async def test_the_host_of_an_absolute_target_is_the_one_that_counts() -> None:
    async with running(Site()) as server:
        for target, status in ((b"http://evil.example/healthz", 421), (b"http://a/healthz", 200)):
            ((response, _),) = await server.ask(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
            assert response.status_code == status


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "http://a"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Origin": "http://a"}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({}, 200),
    ],
)
async def test_a_web_page_of_another_site_can_change_nothing(
    sent: dict[str, str], status: int
) -> None:
    site = Site()
    answer = await site.send("POST", "/api/reload", content_type=None, **GOOD, **sent)
    assert answer.status == status
    if status == 403 and sent:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in sent.items())
        assert site.express.recognise(request(more=more.encode())) is None


async def test_no_reply_lets_another_origin_read_it() -> None:
    for method, path in (("GET", "/api/status"), ("OPTIONS", "/api/alerts"), ("POST", "/api/x")):
        answer = await Site().send(method, path, Origin="http://evil.example", **GOOD)
        assert not [name for name in answer.headers if name[0].startswith("Access-Control")]
        assert "Set-Cookie" not in answer.headers


# ---- allowances


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_caller_has_so_many_requests_a_second() -> None:
    clock, secret = Clock(), new_token()
    site = Site(token("t", secret, [Scope.READ], max_requests_per_sec=2), now_s=clock)
    sent = headers(f"Bearer {secret}")
    statuses = [(await site.send("GET", "/api/status", **sent)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    refused = await site.send("GET", "/api/status", **sent)
    assert refused.headers["Retry-After"] == "1"
    assert "the token 't' has used up its max_requests_per_sec (2)" in refused.body["detail"]
    clock.now_s += 0.5
    assert (await site.send("GET", "/api/status", **sent)).status == 200
    assert (await site.send("GET", "/api/status", **sent)).status == 429


@pytest.mark.parametrize("lane", [b"", b"TE: trailers\r\n"], ids=["express", "framework"])
async def test_events_are_charged_on_both_lanes_refused_ones_too(lane: bytes) -> None:
    secret = new_token()
    site = Site(token("t", secret, [Scope.INGEST], max_events_per_day=3))
    more = b"Authorization: Bearer %b\r\n" % secret.encode() + lane
    body = b'[%b,%b,{"metricName":1}]' % (EVENT, EVENT)
    async with running(site) as server:
        ((first, _),) = await server.ask(request(body, more=more))
        ((second, text),) = await server.ask(request(body, more=more))
    assert (first.status_code, second.status_code) == (202, 429)
    assert b"max_events_per_day (3)" in text
    sample = site.metrics.registry.get_sample_value
    assert sample("alertd_token_events_total", {"token": "t"}) == 3
    assert sample("alertd_http_requests_denied_total", {"reason": "allowance"}) == 1


async def test_a_large_request_gets_through_and_is_waited_for() -> None:
    clock, secret = Clock(), new_token()
    gate = Gate(
        [token("t", secret, [Scope.INGEST], max_events_per_sec=10)],
        Metrics(),
        bind="127.0.0.1:1",
        now_s=clock,
    )
    ask = Ask("POST", "localhost", f"Bearer {secret}")
    gate.admit(ask, PUSH_EVENTS).charge(100)
    with pytest.raises(UsedUp) as caught:
        gate.admit(ask, PUSH_EVENTS)
    assert caught.value.retry_after_s == 10
    clock.now_s += 9.1
    gate.admit(ask, PUSH_EVENTS)


@pytest.mark.parametrize("limit", ["max_events_per_sec", "max_events_per_day"])
async def test_an_allowance_for_events_holds_back_nothing_but_events(limit: str) -> None:
    secret = new_token()
    site = Site(token("t", secret, [Scope.INGEST, Scope.READ, Scope.WRITE], **{limit: 1}))
    site.gate.admit(Ask("POST", "localhost", f"Bearer {secret}"), PUSH_EVENTS).charge(30)
    sent = headers(f"Bearer {secret}")
    refused = await site.send("POST", "/api/events", [], **sent)
    assert refused.status == 429
    for method, path in [("GET", "/metrics"), ("GET", "/api/status"), ("POST", "/api/alerts")]:
        assert (await site.send(method, path, **sent)).status != 429, path


async def test_what_is_left_of_an_allowance_survives_a_reload() -> None:
    secret = new_token()
    limited = token("t", secret, [Scope.INGEST], max_events_per_day=1)
    gate = Gate([limited], Metrics(), bind="127.0.0.1:1")
    ask = Ask("POST", "localhost", f"Bearer {secret}")
    gate.admit(ask, PUSH_EVENTS).charge(1)
    gate.replace((limited, token("u", new_token(), [Scope.READ])))
    with pytest.raises(UsedUp):
        gate.admit(ask, PUSH_EVENTS)


def test_the_last_token_cannot_go_while_others_can_reach_the_daemon() -> None:
    tokens = (TOKENS[0],)
    gate = Gate(tokens, Metrics(), bind="127.0.0.1:9470", reachable_at="0.0.0.0:9471")
    with pytest.raises(Conflict, match=r"the last of .* cannot go while .* 0\.0\.0\.0:9471"):
        gate.replace(())
    assert gate.would_admit(Ask("POST", "a", f"Bearer {SECRETS[Scope.INGEST]}"), PUSH_EVENTS)
    assert not gate.would_admit(Ask("POST", "a"), PUSH_EVENTS)


# ---- what is remembered and told


async def test_what_strangers_send_is_not_remembered_and_a_flood_is_one_line() -> None:
    site = Site(*TOKENS)
    before = len(site.gate._remembered)
    with capture_logs() as lines:
        for _ in range(100):
            await site.send("GET", "/api/status", **headers(f"Bearer {new_token()}"))
    assert len(site.gate._remembered) == before
    assert [line["reason"] for line in lines if line["event"] == "request denied"] == ["bad_token"]
    sample = site.metrics.registry.get_sample_value
    assert sample("alertd_http_requests_denied_total", {"reason": "bad_token"}) == 100


async def test_every_change_is_in_the_log_with_who_and_what() -> None:
    site = Site(*TOKENS)
    with capture_logs() as lines:
        rule = {"name": "r", "type": "SIMPLE_COUNT", "metricName": "m", "threshold": 1,
                "windowDurationSecs": 60}  # fmt: skip
        sent = headers(f"Bearer {SECRETS[Scope.WRITE]}")
        made = await site.send("POST", "/api/alerts", rule, **sent)
        await site.send("DELETE", "/api/alerts/none", **sent)
        await site.send("GET", "/api/alerts", **headers(f"Bearer {SECRETS[Scope.READ]}"))
        await site.send("POST", "/api/reload", **headers(f"Bearer {SECRETS[Scope.ADMIN]}"))
        await site.send("POST", "/api/reload", **sent)
    told = [
        (line["who"], line["operation"], line["path"], line["outcome"], line.get("location"))
        for line in lines
        if line["event"] == "audit"
    ]
    assert told == [
        ("write", "createRule", "/api/alerts", "done", f"/api/alerts/{made.body['id']}"),
        ("write", "deleteRule", "/api/alerts/none", "refused", None),
        ("admin", "reload", "/api/reload", "done", None),
    ]
