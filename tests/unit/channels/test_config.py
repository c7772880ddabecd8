from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from alertd.channels.check import channel_problems
from alertd.channels.config import ChannelConfig, EmailConfig, SlackConfig, Tls, WebhookConfig

TOKEN = "T0K3N"


def read(**keys: Any) -> ChannelConfig:
    """Read a table as the configuration file gives it."""
    config: ChannelConfig = msgspec.convert(keys, ChannelConfig)
    return config


def webhook(**keys: Any) -> ChannelConfig:
    return read(**{"type": "webhook", "url": "https://hooks.example/x"} | keys)


def email(**keys: Any) -> ChannelConfig:
    table = {"type": "email", "host": "smtp.example.org", "from": "a@example.org"}
    return read(**table | {"to": ["ops@example.org"]} | keys)


def paths(config: ChannelConfig, environ: dict[str, str] | None = None) -> list[str]:
    return [problem.path for problem in channel_problems(config, environ or {})]


def test_the_shortest_tables_are_enough() -> None:
    slack = read(type="slack", url="https://hooks.slack.example/services/T/B/X")
    assert isinstance(webhook(), WebhookConfig)
    assert isinstance(slack, SlackConfig)
    assert isinstance(email(), EmailConfig)
    for config in (webhook(), slack, email()):
        assert channel_problems(config, {}) == []
        assert config.timeout_secs == 10


@pytest.mark.parametrize(("tls", "port"), [(Tls.NONE, 25), (Tls.STARTTLS, 587), (Tls.TLS, 465)])
def test_the_port_follows_from_tls(tls: Tls, port: int) -> None:
    config = email(tls=tls.value)
    assert isinstance(config, EmailConfig)
    assert config.effective_port == port
    given = email(tls=tls.value, port=2525)
    assert isinstance(given, EmailConfig)
    assert given.effective_port == 2525


@pytest.mark.parametrize(
    "table",
    [
        {"type": "webhook", "url": "https://a.example", "uri": 1},
        {"type": "webhook"},
        {"type": "pager", "url": "https://a.example"},
        {"type": "email", "host": "h", "sender": "a@b.example", "to": ["a@b.example"]},
        {"type": "email", "host": "h", "from": "a@b.example", "to": "a@b.example"},
        {"type": "email", "host": "h", "from": "a@b.example", "to": ["a"], "tls": "ssl"},
    ],
)
def test_unknown_keys_types_and_values_are_refused(table: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**table)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (webhook(url="ftp://a.example/"), "/url"),
        (webhook(url="https://"), "/url"),
        (webhook(url="https://a.example/\r\nX: y"), "/url"),
        (webhook(url="https://a.example:99999/"), "/url"),
        (webhook(url="https://ü.example/"), "/url"),
        (webhook(url="http://[::1"), "/url"),
        (webhook(headers={"X-A": f"{TOKEN}\r\nX-B: 1"}), "/headers/X-A"),
        (webhook(headers={"X-A": "ü"}), "/headers/X-A"),
        (webhook(headers={"X A/~": "1"}), "/headers/X A~1~0"),
        (webhook(headers={"": "1"}), "/headers/"),
        (webhook(headers={"content-LENGTH": "1"}), "/headers/content-LENGTH"),
        (webhook(headers={"X-Alertd-Signature": "1"}), "/headers/X-Alertd-Signature"),
        (webhook(headers={"X-A": {"env": "NOT_SET"}}), "/headers/X-A"),
        (webhook(headers={"X-A": {"file": "/does/not/exist"}}), "/headers/X-A"),
        (webhook(headers={"X-A": {"prefix": "Bearer "}}), "/headers/X-A"),
        (webhook(headers={"X-A": {"env": "LINES"}}), "/headers/X-A"),
        (webhook(headers={"X-A": {"env": "GOOD", "prefix": "\n"}}), "/headers/X-A"),
        (webhook(content_type="a\r\nb"), "/content_type"),
        (webhook(secret_file="/none", secret_env="B"), "/secret_file"),
        (webhook(secret_file="/does/not/exist"), "/secret_file"),
        (webhook(secret_env="NOT_SET"), "/secret_env"),
        (webhook(ca_file="/does/not/exist"), "/ca_file"),
        (webhook(timeout_secs=0), "/timeout_secs"),
        (webhook(timeout_secs=float("nan")), "/timeout_secs"),
        (webhook(timeout_secs=61), "/timeout_secs"),
        (read(type="slack"), "/url"),
        (read(type="slack", url="https://a.example", url_env="B"), "/url"),
        (read(type="slack", url="no address"), "/url"),
        (read(type="slack", url_env="NOT_SET"), "/url_env"),
        (read(type="slack", url_env="BAD_URL"), "/url_env"),
        (read(type="slack", url_file="/does/not/exist"), "/url_file"),
        (read(type="slack", url_env="GOOD", token_env="GOOD"), "/url"),
        (read(type="slack", token_env="NOT_SET", channel="C12"), "/token_env"),
        (read(type="slack", token_env="BAD_URL", channel="C12"), "/token_env"),
        (read(type="slack", token_env="BOT"), "/channel"),
        (read(type="slack", token_env="BOT", channel="alerts"), "/channel"),
        (read(type="slack", token_env="BOT", channel="C12", api_url="ftp://a"), "/api_url"),
        (read(type="alertmanager", url="no address"), "/url"),
        (read(type="alertmanager", url="http://a", concurrency=2), "/concurrency"),
        (read(type="alertmanager", url="http://a", headers={"X-A": "\n"}), "/headers/X-A"),
        (
            read(type="alertmanager", url="http://a", resend_interval_secs=0),
            "/resend_interval_secs",
        ),
        (read(type="alertmanager", url="http://a", ends_after_secs=90), "/ends_after_secs"),
        (email(host="smtp example"), "/host"),
        (email(host=""), "/host"),
        (email(port=0), "/port"),
        (email(port=70_000), "/port"),
        (email(**{"from": "nobody"}), "/from"),
        (email(**{"from": "a@example.org\r\nBcc: b@example.org"}), "/from"),
        (email(to=[]), "/to"),
        (email(to=["a@example.org"] * 51), "/to"),
        (email(to=["a@example.org", "ü@example.org"]), "/to/1"),
        (email(to=["a@example.org, b@example.org"]), "/to/0"),
        (email(username="u"), "/username"),
        (email(password_env="GOOD"), "/username"),
        (email(username="u\n", password_env="GOOD"), "/username"),
        (email(username="u", password_env="NOT_SET"), "/password_env"),
        (email(username="u", password_env="GOOD", tls="none"), "/tls"),
        (email(ca_file="/does/not/exist"), "/ca_file"),
    ],
)
def test_what_cannot_work_is_found_and_its_key_is_named(config: ChannelConfig, path: str) -> None:
    environ = {"BAD_URL": f"not an address {TOKEN}", "GOOD": "x", "BOT": "xoxb-1-2"}
    environ["LINES"] = f"{TOKEN}\r\nX-B: 1"
    problems = channel_problems(config, environ)
    assert [problem.path for problem in problems] == [path]
    assert TOKEN not in problems[0].message


def test_every_problem_is_told_not_only_the_first() -> None:
    config = email(host="", port=0, to=[], username="u")
    assert paths(config) == ["/host", "/port", "/to", "/username"]


def test_a_certificate_file_must_hold_certificates(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    assert paths(webhook(ca_file=str(path))) == ["/ca_file"]


def test_a_password_may_go_to_loopback_in_the_clear() -> None:
    config = email(host="127.0.0.1", username="u", password_env="GOOD", tls="none")
    assert paths(config, {"GOOD": "x"}) == []


def test_a_configuration_does_not_show_its_addresses() -> None:
    configs = [
        webhook(url=f"https://a.example/{TOKEN}", headers={"Authorization": TOKEN}),
        read(type="slack", url=f"https://a.example/{TOKEN}"),
        email(username=TOKEN),
    ]
    assert TOKEN not in repr(configs) + str(configs)
