"""``alertd incidents``: what the daemon is asked, page by page."""

from __future__ import annotations

import json

from tests.receivers import Answer, http_receiver
from tests.unit.cli.test_cli import invoked


def page(*ids: str, more: str | None = None) -> Answer:
    items = [{"id": id_} for id_ in ids]
    return Answer(body=json.dumps({"items": items, "nextCursor": more}).encode())


def test_a_page_with_nothing_on_it_is_not_the_last() -> None:
    with http_receiver() as daemon:
        daemon.script = [page(more="c1"), page("a", more="c2"), page(), page("b", "c", more="c3")]
        asked = ("incidents", "--all", "--told", "held_back", "--limit", "2")
        done = invoked(*asked, "--url", daemon.url(""))
    assert (done.exit_code, [one["id"] for one in json.loads(done.stdout)]) == (0, ["a", "b"])
    assert [request.path for request in daemon.received] == [
        "/api/incidents?limit=2&state=firing&told=held_back",
        "/api/incidents?limit=2&state=firing&told=held_back&cursor=c1",
        "/api/incidents?limit=2&state=firing&told=held_back&cursor=c2",
        "/api/incidents?limit=1&state=resolved&told=held_back",
    ]


def test_a_word_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    refused = invoked("incidents", "--told", "FAILED")
    assert refused.exit_code == 2
    for word in ("delivered", "pending", "failed", "held_back", "nobody"):
        assert word in refused.stderr
