"""Channels of the type ``slack``: incoming webhooks, and bots with a token."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alertd.channels.config import SlackConfig
from alertd.channels.http_client import HttpClient
from alertd.channels.kinds.parts import (
    only_secret,
    secret_address,
    secret_address_problem,
    template_problems,
)
from alertd.channels.protocol import Channel
from alertd.channels.secret import Secret, read_secret
from alertd.channels.slack import MRKDWN, SlackChannel
from alertd.channels.slack_bot import SlackBot
from alertd.channels.url import url_problem
from alertd.channels.words import Words
from alertd.errors import Problem

_SLACK_TOKEN = re.compile(r"[A-Za-z0-9-]{4,300}")
_SLACK_CHANNEL = re.compile(r"[A-Z0-9]{2,30}|#[^\s#]{1,80}")


def problems(config: SlackConfig, environ: Mapping[str, str]) -> list[Problem]:
    """See ``Kind.problems``."""
    found = _slack_address(config, environ)
    return found + template_problems({"title": config.title, "body": config.body}, MRKDWN)


def _slack_address(config: SlackConfig, environ: Mapping[str, str]) -> list[Problem]:
    keys = ("url", "url_file", "url_env", "token_file", "token_env")
    key, secret = only_secret(config, keys, environ)
    if isinstance(secret, Problem):
        return [secret]
    if config.is_bot:
        return _slack_bot(config, key, secret)
    message = url_problem(secret.reveal())
    return [secret_address_problem(key, message)] if message else []


def _slack_bot(config: SlackConfig, key: str, token: Secret) -> list[Problem]:
    problems = []
    if not _SLACK_TOKEN.fullmatch(token.reveal()):
        problems.append(Problem(f"/{key}", "the token in it is not like xoxb-…"))
    if config.channel is None or not _SLACK_CHANNEL.fullmatch(config.channel):
        problems.append(Problem("/channel", "must be a channel's id, or its name like #alerts"))
    if message := url_problem(config.api_url):
        problems.append(Problem("/api_url", message))
    return problems


def make(name: str, config: SlackConfig, environ: Mapping[str, str]) -> Channel:
    """See ``Kind.make``."""
    words = Words(config.title, config.body, MRKDWN)
    if not config.is_bot:
        return SlackChannel(
            secret_address(config, environ).reveal(),
            HttpClient(allow_private=True),
            owns_client=True,
            timeout_s=config.timeout_secs,
            words=words,
        )
    token = read_secret(file=config.token_file, env=config.token_env, environ=environ)
    assert token is not None
    return SlackBot(
        config.api_url,
        HttpClient(allow_private=True),
        token,
        config.channel or "",
        owns_client=True,
        timeout_s=config.timeout_secs,
        follow_up=config.follow_up,
        words=words,
    )
