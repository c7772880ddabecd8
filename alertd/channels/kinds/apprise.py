"""Channels of the type ``apprise``."""

from __future__ import annotations

from collections.abc import Mapping

from alertd.channels import apprise
from alertd.channels.apprise import AppriseChannel
from alertd.channels.config import AppriseConfig
from alertd.channels.kinds.parts import (
    only_secret,
    secret_address,
    secret_address_problem,
    template_problems,
)
from alertd.channels.protocol import Channel
from alertd.channels.words import Words
from alertd.errors import Problem


def problems(config: AppriseConfig, environ: Mapping[str, str]) -> list[Problem]:
    """See ``Kind.problems``."""
    found = template_problems({"title": config.title, "body": config.body})
    if not apprise.is_installed():
        return [Problem("/type", apprise.HOW_TO_INSTALL), *found]
    key, secret = only_secret(config, ("url", "url_file", "url_env"), environ)
    if isinstance(secret, Problem):
        return [secret, *found]
    if not apprise.understands(secret.reveal()):
        found.append(secret_address_problem(key, "is none that Apprise understands"))
    return found


def make(name: str, config: AppriseConfig, environ: Mapping[str, str]) -> Channel:
    """See ``Kind.make``."""
    return AppriseChannel(
        secret_address(config, environ),
        timeout_s=config.timeout_secs,
        words=Words(config.title, config.body),
    )
