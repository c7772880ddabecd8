"""Channels of the type ``webhook``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from alertd.channels import alertmanager_webhook
from alertd.channels.config import WebhookConfig
from alertd.channels.http_client import HttpClient
from alertd.channels.kinds.parts import (
    HEADER_VALUE,
    headers,
    receiver_problems,
    secret_problems,
    template_problems,
)
from alertd.channels.message import Message
from alertd.channels.protocol import Channel
from alertd.channels.secret import read_secret
from alertd.channels.webhook import WebhookChannel, body_form
from alertd.channels.words import Words
from alertd.errors import Problem


def problems(config: WebhookConfig, environ: Mapping[str, str]) -> list[Problem]:
    """See ``Kind.problems``."""
    found = receiver_problems(config, environ)
    found += secret_problems("secret", config.secret_file, config.secret_env, environ)
    if not config.content_type or not HEADER_VALUE.fullmatch(config.content_type):
        found.append(Problem("/content_type", "must be a media type like application/json"))
    if config.body is not None and config.format != "alertd":
        found.append(Problem("/body", "takes the place of format; keep one of them"))
    found += template_problems({"body": config.body}, body_form(config.content_type))
    return found


def make(name: str, config: WebhookConfig, environ: Mapping[str, str]) -> Channel:
    """See ``Kind.make``."""
    return WebhookChannel(
        config.url,
        HttpClient(allow_private=config.allow_private, ca_file=config.ca_file),
        owns_client=True,
        timeout_s=config.timeout_secs,
        headers=headers(config, environ),
        secret=read_secret(file=config.secret_file, env=config.secret_env, environ=environ),
        encode=_encoder(name, config),
        words=Words(None, config.body, body_form(config.content_type)),
        content_type=config.content_type,
    )


def _encoder(name: str, config: WebhookConfig) -> Callable[[Message], bytes]:
    if config.format == "alertmanager":
        return partial(alertmanager_webhook.encode, receiver=name)
    return msgspec.json.encode
