"""The page at ``/docs`` shows everything, and needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from alertd.http.routes import ROUTES
from tests.unit.http.contract import described
from tests.unit.http.fakes import Site

VOID = {"meta"}


class Page(HTMLParser):
    """Reads a page: its elements must be closed in the order in which they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.add(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, self.getpos()


async def read() -> Page:
    return Page((await Site().send("GET", "/docs")).body.decode())


async def test_it_is_html_that_may_do_nothing() -> None:
    answer = await Site().send("GET", "/docs")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    (style,) = re.findall(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_it_fetches_nothing_and_runs_nothing() -> None:
    page = await read()
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert "src" not in page.attributes
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}


async def test_its_links_lead_to_places_on_it_or_to_the_document() -> None:
    page = await read()
    anchors = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert page.links - {f"#{anchor}" for anchor in anchors} == {"openapi.json"}
    assert anchors <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


async def test_it_shows_every_operation_error_and_schema() -> None:
    ids = set((await read()).ids)
    for item in described()["paths"].values():
        assert {operation["operationId"] for operation in item.values()} <= ids
    for kind in ("responses", "schemas"):
        assert set(described()["components"][kind]) <= ids


async def test_what_a_link_leads_to_is_inside_of_what_a_browser_opens_for_it() -> None:
    html = (await Site().send("GET", "/docs")).body.decode()
    linked = set(re.findall(r'href="#(\w+)"', html)) - {"errors", "schemas"}
    inside = set(re.findall(r'</summary>\s*<div id="(\w+)">', html))
    assert linked <= inside


async def test_it_says_which_scope_an_operation_needs() -> None:
    html = (await Site().send("GET", "/docs")).body.decode()
    sections = re.findall(r'<div id="(\w+)">(.*?)<h3>', html, re.DOTALL)
    shown = {name: re.findall(r"<p>Scope: <code>(\w+)</code>", text) for name, text in sections}
    assert shown == {
        route.operation: [] if route.scope is None else [route.scope.value] for route in ROUTES
    }


async def test_what_the_document_says_is_shown_as_text() -> None:
    html = (await Site().send("GET", "/docs")).body.decode()
    assert 'array of <a href="#Event">Event</a>' in html
    assert "string, 1 to 200 characters" in html
    assert "number, at most 31,622,400; default <code>0</code>" in html
    assert "Undefined" not in html
    assert "``" not in html
