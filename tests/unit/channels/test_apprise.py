"""Through Apprise, to a real receiver by its ``json://`` service."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from alertd.channels import apprise
from alertd.channels.apprise import AppriseChannel
from alertd.channels.check import channel_problems
from alertd.channels.config import AppriseConfig
from alertd.channels.factory import ChannelFactory
from alertd.channels.message import IncidentView
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.words import Words
from alertd.model import Target
from tests.receivers import Answer, HttpReceiver, closed_port, http_receiver
from tests.unit.channels.messages import incident, message, resolved

# One of Apprise's services imports what Python deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TOKEN = "CANARY"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        yield running


def channel(
    receiver: HttpReceiver, *, timeout_s: float = 5, words: Words | None = None
) -> AppriseChannel:
    url = f"json://user:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}"
    return AppriseChannel(Secret(url), timeout_s=timeout_s, words=words or Words(None, None))


async def test_a_service_is_told_in_alertds_words(receiver: HttpReceiver) -> None:
    assert await channel(receiver).send(message()) == Delivered()
    [request] = receiver.received
    assert request.path == f"/{TOKEN}"
    body = json.loads(request.body)
    assert body["title"] == "FIRING: High Error Count (service=payment)"
    assert "Value: 137, alert if > 100" in body["message"]
    assert "Runbook: https://runbooks.example/errors?a=1&b=2" in body["message"]
    assert body["type"] == "failure"


@pytest.mark.parametrize(
    ("views", "kind"),
    [
        ([incident(severity="error")], "failure"),
        ([incident(severity="warning"), incident(id="b", severity="info")], "warning"),
        ([incident(severity="info")], "info"),
        ([resolved()], "success"),
        ([resolved("no_data")], "info"),
        ([resolved(), incident(id="b", severity="warning")], "warning"),
    ],
)
async def test_the_kind_is_that_of_the_worst_that_is_on(
    receiver: HttpReceiver, views: list[IncidentView], kind: str
) -> None:
    await channel(receiver).send(message(*views))
    assert json.loads(receiver.received[0].body)["type"] == kind


async def test_words_of_ones_own_are_told(receiver: HttpReceiver) -> None:
    words = Words("T {{ firing }}", "{{ 1 / (firing - 2) }} {{ incident.where }}")
    assert await channel(receiver, words=words).send(message()) == Delivered()
    body = json.loads(receiver.received[0].body)
    assert (body["title"], body["message"]) == ("T 1", "-1 service=payment")
    failed = await channel(receiver, words=words).send(message(incident(id="a"), incident(id="b")))
    assert isinstance(failed, Delivered)
    assert "division by zero" in failed.fault


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(503), Retryable("json answered 503", was_refused=True)),
        (Answer(500), Retryable("json answered 500")),
        (Answer(429), Retryable("json answered 429", was_refused=True)),
        (Answer(404, body=TOKEN.encode()), Permanent("json answered 404")),
        (Answer(302, {"Location": f"http://127.0.0.1:1/{TOKEN}"}), Retryable("json answered 302")),
        (Answer(drop=True), Retryable("json could not be reached, or did not take it")),
    ],
)
async def test_a_refusal_decides_whether_to_try_again_and_shows_no_secret(
    receiver: HttpReceiver, answer: Answer, outcome: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.otherwise = answer
    used = channel(receiver)
    assert await used.send(message()) == outcome
    assert TOKEN not in caplog.text + repr(used) + used.redacted_endpoint
    assert used.redacted_endpoint == "json://…"


async def test_nobody_listening_is_tried_again() -> None:
    url = Secret(f"json://127.0.0.1:{closed_port()}/{TOKEN}")
    outcome = await AppriseChannel(url, timeout_s=5, words=Words(None, None)).send(message())
    assert outcome == Retryable("json could not be reached, or did not take it")


async def test_a_service_that_stalls_is_left_at_the_deadline_and_others_are_bounded(
    receiver: HttpReceiver,
) -> None:
    receiver.otherwise = Answer(stall=True)
    used = channel(receiver, timeout_s=0.3)
    outcomes: list[Outcome] = []

    async def send() -> None:
        outcomes.append(await used.send(message()))

    before = threading.active_count()
    async with trio.open_nursery() as nursery:
        for _ in range(3 * apprise.MAX_THREADS):
            nursery.start_soon(send)
    assert set(outcomes) == {Retryable("json gave no answer within 0.3 s")}
    # The receiver has a thread for each of its connections as well.
    assert len(receiver.received) <= apprise.MAX_THREADS
    assert threading.active_count() <= before + 3 * apprise.MAX_THREADS + 2


async def test_a_channel_is_made_of_its_configuration(receiver: HttpReceiver) -> None:
    environ = {"PLACE": f"json://127.0.0.1:{receiver.port}/{TOKEN}"}
    factory = ChannelFactory({"all": AppriseConfig(url_env="PLACE", title="T")}, environ=environ)
    assert await factory.for_target(Target("all")).send(message()) == Delivered()
    assert json.loads(receiver.received[0].body)["title"] == "T"
    await factory.aclose()


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (AppriseConfig(), "/url"),
        (AppriseConfig(url="json://a", url_env="PLACE"), "/url"),
        (AppriseConfig(url=f"nothing-known://{TOKEN}"), "/url"),
        (AppriseConfig(url_env="PLACE"), "/url_env"),
        (AppriseConfig(url_env="NOT_SET"), "/url_env"),
        (AppriseConfig(url="json://a", body="{{ nobody }}"), "/body"),
    ],
)
def test_what_cannot_work_is_refused(config: AppriseConfig, path: str) -> None:
    [problem] = channel_problems(config, {"PLACE": f"{TOKEN}://"})
    assert problem.path == path
    assert TOKEN not in problem.message


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [problem] = channel_problems(AppriseConfig(url="json://a"), {})
    assert (problem.path, problem.message) == (
        "/type",
        "needs Apprise; where alertd's sources are: pip install -c constraints.txt '.[apprise]'",
    )


def test_the_readme_says_the_same() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    assert f"`{apprise.INSTALL}`" in readme.read_text(encoding="utf-8")
