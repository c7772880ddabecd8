from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from alertd.channels.config import (
    AlertmanagerConfig,
    ChannelConfig,
    EmailConfig,
    Headers,
    SecretText,
    SlackConfig,
    Tls,
    WebhookConfig,
)
from alertd.channels.factory import ChannelFactory
from alertd.channels.protocol import BadEndpoint, Delivered, SendingLimits, UnknownChannel
from alertd.channels.redact import redact_target, redact_url
from alertd.errors import InvalidInput
from alertd.model import Target
from tests.receivers import http_receiver, smtp_receiver
from tests.unit.channels.messages import message


def mail_channel(port: int, to: str) -> EmailConfig:
    return EmailConfig(
        host="127.0.0.1", port=port, tls=Tls.NONE, sender="alertd@example.org", to=(to,)
    )


@pytest.fixture
async def empty() -> AsyncIterator[ChannelFactory]:
    factory = ChannelFactory({})
    yield factory
    await factory.aclose()


async def test_each_configured_channel_is_made_and_found_by_its_name() -> None:
    with http_receiver() as receiver, smtp_receiver() as mailbox:
        environ = {"SLACK_URL": receiver.url("/slack"), "KEY": "k"}
        factory = ChannelFactory(
            {
                "ops": WebhookConfig(url=receiver.url("/ops"), secret_env="KEY"),
                "chat": SlackConfig(url_env="SLACK_URL"),
                "mail": mail_channel(mailbox.port, "ops@example.org"),
            },
            environ=environ,
        )
        assert factory.names() == {"ops", "chat", "mail"}
        for name in ("ops", "chat", "mail"):
            assert await factory.for_target(Target(name)).send(message()) == Delivered()
        assert [request.path for request in receiver.received] == ["/ops", "/slack"]
        assert "x-alertd-signature" in receiver.received[0].headers
        assert len(mailbox.mails) == 1
        await factory.aclose()


def test_an_alertmanager_is_told_one_thing_after_the_other() -> None:
    configs: dict[str, ChannelConfig] = {
        "peer": AlertmanagerConfig(url="http://a.example/", max_per_minute=7),
        "ops": WebhookConfig(url="http://a.example/", concurrency=3),
    }
    factory = ChannelFactory(configs)
    assert factory.limits(Target("peer")) == SendingLimits(1, 7)
    assert factory.limits(Target("ops")) == SendingLimits(3)
    assert list(factory.forgetful()) == ["peer"]


async def test_a_header_may_be_a_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    with http_receiver() as receiver:
        headers: Headers = {
            "Authorization": SecretText(file=str(tmp_path / "token"), prefix="Bearer "),
            "X-Key": SecretText(env="KEY"),
            "X-Plain": "plain",
        }
        config = WebhookConfig(url=receiver.url(), headers=headers)
        factory = ChannelFactory({"ops": config}, environ={"KEY": "from-environment"})
        assert await factory.for_target(Target("ops")).send(message()) == Delivered()
        sent = receiver.received[0].headers
        assert (sent["authorization"], sent["x-key"], sent["x-plain"]) == (
            *("Bearer from-file", "from-environment"),
            "plain",
        )
        await factory.aclose()


async def test_a_configured_channel_is_made_once() -> None:
    factory = ChannelFactory({"ops": WebhookConfig(url="http://127.0.0.1:1/")})
    assert factory.for_target(Target("ops")) is factory.for_target(Target("ops"))
    await factory.aclose()


async def test_an_email_endpoint_goes_through_the_first_mail_server() -> None:
    with smtp_receiver() as first, smtp_receiver() as second:
        factory = ChannelFactory(
            {
                "a": mail_channel(first.port, "a@example.org"),
                "b": mail_channel(second.port, "b@example.org"),
            }
        )
        channel = factory.for_target(Target("EMAIL", "c@example.org"))
        assert await channel.send(message()) == Delivered()
        assert [mail.recipients for mail in first.mails] == [["c@example.org"]]
        assert second.mails == []
        await factory.aclose()


async def test_an_endpoint_of_each_http_type_is_reached() -> None:
    factory = ChannelFactory({}, allow_private_endpoints=True)
    with http_receiver() as receiver:
        for kind in ("WEBHOOK", "SLACK"):
            channel = factory.for_target(Target(kind, receiver.url(f"/{kind}")))
            assert await channel.send(message()) == Delivered()
        assert [request.path for request in receiver.received] == ["/WEBHOOK", "/SLACK"]
        await factory.aclose()


async def test_closing_one_endpoints_channel_leaves_the_others_working() -> None:
    factory = ChannelFactory({}, allow_private_endpoints=True)
    with http_receiver() as receiver:
        await factory.for_target(Target("WEBHOOK", receiver.url("/a"))).aclose()
        channel = factory.for_target(Target("WEBHOOK", receiver.url("/b")))
        assert await channel.send(message()) == Delivered()
        await factory.aclose()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target("nobody"), r"\[channels.nobody\]"),
        (Target("EMAIL", "ops@example.org"), "mail server"),
        (Target("WEBHOOK", "http://[::1"), "endpoint"),
        (Target("WEBHOOK", "ftp://a.example/secret"), "endpoint"),
        (Target("PAGER", "http://a.example/"), "PAGER"),
    ],
)
async def test_a_target_that_means_no_channel_says_what_to_do(
    target: Target, words: str, empty: ChannelFactory
) -> None:
    with pytest.raises(UnknownChannel, match=words) as caught:
        empty.for_target(target)
    assert "secret" not in str(caught.value)
    is_hopeless = target.channel in {"WEBHOOK", "PAGER"}
    assert isinstance(caught.value, BadEndpoint) == is_hopeless, "no reload would mend it"


def test_every_problem_of_every_channel_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        ChannelFactory({"a": WebhookConfig(url="x"), "b": SlackConfig()}, environ={})
    assert [p.path for p in caught.value.problems] == ["/channels/a/url", "/channels/b/url"]


def test_a_factory_needs_no_event_loop() -> None:
    """``alertd check`` makes one too."""
    factory = ChannelFactory({"ops": WebhookConfig(url="https://hooks.example/")})
    trio.run(factory.aclose)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@hooks.example/T/B/x?k=v#f", "https://hooks.example"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("not a url", "[unreadable address]"),
        ("http://[::1", "[unreadable address]"),
        ("http://a.example:99999/x", "[unreadable address]"),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (Target("ops"), None),
        (Target("EMAIL", "ops@example.org"), "o…@example.org"),
        (Target("EMAIL", "nobody"), "[unreadable address]"),
        (Target("SLACK", "https://hooks.slack.example/services/T"), "https://hooks.slack.example"),
    ],
)
def test_of_a_target_only_what_is_no_secret_is_shown(target: Target, shown: str | None) -> None:
    assert redact_target(target) == shown
