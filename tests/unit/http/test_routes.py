"""The table of routes is all that there is."""

from __future__ import annotations

from collections import Counter

from quart import Response

from alertd.http.routes import ROUTES, find
from tests.unit.http.fakes import Site


async def test_every_route_of_the_application_is_in_the_table_and_no_other() -> None:
    served = {
        (method, rule.rule, rule.endpoint)
        for rule in Site().app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(route.method, route.path, route.operation) for route in ROUTES}


def test_an_operation_is_one_route() -> None:
    assert set(Counter(route.operation for route in ROUTES).values()) == {1}
    assert set(Counter((route.method, route.path) for route in ROUTES).values()) == {1}


def test_only_health_and_what_the_source_says_too_is_open_to_everybody() -> None:
    open_to_everybody = {route.path for route in ROUTES if route.scope is None}
    assert open_to_everybody == {"/healthz", "/readyz", "/openapi.json", "/docs"}


async def test_a_route_without_an_entry_is_denied() -> None:
    async def answer() -> Response:
        raise AssertionError("it was asked")

    site = Site()
    site.app.add_url_rule("/api/secret", "secret", answer, methods=["GET", "POST"])
    assert find("secret") is None
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        denied = await site.send(method, "/api/secret")
        assert denied.status == 403
