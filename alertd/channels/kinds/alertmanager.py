"""Channels of the type ``alertmanager``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alertd.channels.alertmanager import AlertmanagerChannel
from alertd.channels.config import AlertmanagerConfig
from alertd.channels.http_client import HttpClient
from alertd.channels.kinds.parts import headers, receiver_problems
from alertd.channels.protocol import Channel
from alertd.errors import Problem

MAX_RESEND_INTERVAL_SECS: Final = 3600
MAX_ENDS_AFTER_SECS: Final = 7 * 86_400


def problems(config: AlertmanagerConfig, environ: Mapping[str, str]) -> list[Problem]:
    """See ``Kind.problems``."""
    found = receiver_problems(config, environ)
    if config.concurrency not in (None, 1):
        message = "is always 1: an Alertmanager is told one thing after the other"
        found.append(Problem("/concurrency", message))
    if not 1 <= config.resend_interval_secs <= MAX_RESEND_INTERVAL_SECS:
        message = f"must be between 1 and {MAX_RESEND_INTERVAL_SECS} seconds"
        found.append(Problem("/resend_interval_secs", message))
    elif not 2 * config.resend_interval_secs <= config.ends_after_secs <= MAX_ENDS_AFTER_SECS:
        message = f"must be at least twice resend_interval_secs, at most {MAX_ENDS_AFTER_SECS}"
        found.append(Problem("/ends_after_secs", message))
    return found


def make(name: str, config: AlertmanagerConfig, environ: Mapping[str, str]) -> Channel:
    """See ``Kind.make``."""
    return AlertmanagerChannel(
        config.url,
        HttpClient(allow_private=config.allow_private, ca_file=config.ca_file),
        owns_client=True,
        timeout_s=config.timeout_secs,
        resend_interval_s=config.resend_interval_secs,
        ends_after_s=config.ends_after_secs,
        headers=headers(config, environ),
    )
