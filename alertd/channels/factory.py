"""Channels, made from the configuration and from the endpoints that rules name.

Owns which channel a rule's ``Target`` means, and the life of what channels hold open.

A target either names a configured channel, or is a type with an endpoint of its own. The
latter are made on demand and hold nothing: all of them share one guarded HTTP client
(``guarded.py``), and an ``EMAIL`` endpoint goes through the server of the first e-mail channel
of the configuration. So there is nothing to evict, however many endpoints rules name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from alertd.channels import alertmanager_webhook
from alertd.channels.alertmanager import AlertmanagerChannel
from alertd.channels.apprise import AppriseChannel
from alertd.channels.check import channel_problems, url_problem
from alertd.channels.config import (
    AlertmanagerConfig,
    AppriseConfig,
    ChannelConfig,
    EmailConfig,
    SlackConfig,
    WebhookConfig,
)
from alertd.channels.email import EmailChannel
from alertd.channels.http_client import HttpClient
from alertd.channels.message import Message
from alertd.channels.protocol import Channel, Forgetful, SendingLimits
from alertd.channels.secret import Secret, read_header, read_secret
from alertd.channels.slack import MRKDWN, SlackChannel
from alertd.channels.slack_bot import SlackBot
from alertd.channels.smtp import SmtpServer
from alertd.channels.webhook import WebhookChannel, body_form
from alertd.channels.words import Words
from alertd.errors import AlertdError, InvalidInput, Problem
from alertd.model import Target

ENDPOINT_TIMEOUT_S = 10.0


class UnknownChannel(AlertdError):
    """A target means no channel; the message says what to configure."""


class BadEndpoint(UnknownChannel):
    """A target that no configuration would make a channel of."""


class ChannelFactory:
    """The channels of one configuration.

    ``allow_private_endpoints`` lets endpoints set over the API lead to loopback and private
    addresses (``notify.allow_private_endpoints``). Raises ``InvalidInput`` with every problem
    (paths ``/channels/NAME/…``) if a channel cannot be made.
    """

    def __init__(
        self,
        configs: Mapping[str, ChannelConfig],
        *,
        allow_private_endpoints: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        problems = [
            Problem(f"/channels/{name}{problem.path}", problem.message)
            for name, config in configs.items()
            for problem in channel_problems(config, environ)
        ]
        if problems:
            raise InvalidInput(problems)
        self._endpoint_client = HttpClient(allow_private=allow_private_endpoints)
        self._mail_server: SmtpServer | None = None
        self._channels = {
            name: self._make(name, config, environ) for name, config in configs.items()
        }
        self._limits = {
            name: SendingLimits(_concurrency(config), config.max_per_minute)
            for name, config in configs.items()
        }

    def names(self) -> frozenset[str]:
        """Return the names of the configured channels."""
        return frozenset(self._channels)

    @property
    def has_mail_server(self) -> bool:
        """Whether an e-mail endpoint of a rule can be sent to."""
        return self._mail_server is not None

    def for_target(self, target: Target) -> Channel:
        """Return the channel that ``target`` means. Raises ``UnknownChannel`` if there is none."""
        if target.endpoint is None:
            channel = self._channels.get(target.channel)
            if channel is None:
                raise UnknownChannel(
                    f"the channel {target.channel!r} is not configured; "
                    f"add [channels.{target.channel}] or change the rule"
                )
            return channel
        if target.channel == "EMAIL":
            return self._email_endpoint(target.endpoint)
        return self._http_endpoint(target.channel, target.endpoint)

    def limits(self, target: Target) -> SendingLimits:
        """Return what may be sent to ``target``; an endpoint that a rule names has no limits."""
        limits = self._limits.get(target.channel) if target.endpoint is None else None
        return limits or SendingLimits()

    def forgetful(self) -> dict[str, Forgetful]:
        """Return the channels that are to be told again and again what is on."""
        return {
            name: channel
            for name, channel in self._channels.items()
            if isinstance(channel, AlertmanagerChannel)
        }

    async def aclose(self) -> None:
        """Close everything. No ``send`` may be under way or follow."""
        for channel in self._channels.values():
            await channel.aclose()
        await self._endpoint_client.aclose()

    def _make(self, name: str, config: ChannelConfig, environ: Mapping[str, str]) -> Channel:
        match config:
            case WebhookConfig():
                return WebhookChannel(
                    config.url,
                    HttpClient(allow_private=config.allow_private, ca_file=config.ca_file),
                    owns_client=True,
                    timeout_s=config.timeout_secs,
                    headers=_headers(config, environ),
                    secret=read_secret(
                        file=config.secret_file, env=config.secret_env, environ=environ
                    ),
                    encode=_encoder(name, config),
                    words=Words(None, config.body, body_form(config.content_type)),
                    content_type=config.content_type,
                )
            case AlertmanagerConfig():
                return AlertmanagerChannel(
                    config.url,
                    HttpClient(allow_private=config.allow_private, ca_file=config.ca_file),
                    owns_client=True,
                    timeout_s=config.timeout_secs,
                    resend_interval_s=config.resend_interval_secs,
                    ends_after_s=config.ends_after_secs,
                    headers=_headers(config, environ),
                )
            case SlackConfig() if config.is_bot:
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
                    words=Words(config.title, config.body, MRKDWN),
                )
            case SlackConfig():
                return SlackChannel(
                    _address(config, environ).reveal(),
                    HttpClient(allow_private=True),
                    owns_client=True,
                    timeout_s=config.timeout_secs,
                    words=Words(config.title, config.body, MRKDWN),
                )
            case AppriseConfig():
                return AppriseChannel(
                    _address(config, environ),
                    timeout_s=config.timeout_secs,
                    words=Words(config.title, config.body),
                )
            case EmailConfig():
                password = read_secret(
                    file=config.password_file, env=config.password_env, environ=environ
                )
                server = SmtpServer(config, password)
                self._mail_server = self._mail_server or server
                return EmailChannel(server, config.to, words=Words(config.title, config.body))

    def _email_endpoint(self, address: str) -> Channel:
        if self._mail_server is None:
            raise UnknownChannel(
                "an EMAIL target needs a mail server: configure one channel with type = 'email'"
            )
        return EmailChannel(self._mail_server, [address])

    def _http_endpoint(self, kind: str, url: str) -> Channel:
        if problem := url_problem(url):
            raise BadEndpoint(f"the endpoint of this {kind} target {problem}")
        client, timeout_s = self._endpoint_client, ENDPOINT_TIMEOUT_S
        if kind == "SLACK":
            return SlackChannel(url, client, owns_client=False, timeout_s=timeout_s)
        if kind == "WEBHOOK":
            return WebhookChannel(url, client, owns_client=False, timeout_s=timeout_s)
        raise BadEndpoint(f"{kind!r} with an endpoint is none of EMAIL, SLACK and WEBHOOK")


def _encoder(name: str, config: WebhookConfig) -> Callable[[Message], bytes]:
    if config.format == "alertmanager":
        return partial(alertmanager_webhook.encode, receiver=name)
    return msgspec.json.encode


def _concurrency(config: ChannelConfig) -> int | None:
    """Return how many attempts at a time: an Alertmanager is told one thing after the other."""
    return 1 if isinstance(config, AlertmanagerConfig) else config.concurrency


def _headers(
    config: WebhookConfig | AlertmanagerConfig, environ: Mapping[str, str]
) -> dict[str, Secret]:
    return {name: read_header(value, environ) for name, value in config.headers.items()}


def _address(config: SlackConfig | AppriseConfig, environ: Mapping[str, str]) -> Secret:
    secret = read_secret(file=config.url_file, env=config.url_env, environ=environ)
    return secret if secret is not None else Secret(config.url or "")
