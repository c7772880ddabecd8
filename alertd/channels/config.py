"""How a person configures a channel: one ``[channels.NAME]`` table each.

Owns the keys, their defaults and units. Leaves to others: what makes a combination wrong
(``check.py``), reading secrets (``secret.py``), making channels of them (``factory.py``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

import msgspec
from msgspec import Struct


class _Channel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all of them have in common."""

    timeout_secs: float = 10
    """For one whole attempt, from the name lookup to the end of the reply."""
    concurrency: int | None = None
    """Attempts at a time; default: ``notify.concurrency_per_channel``."""
    max_per_minute: int | None = None
    """Attempts within any 60 seconds; default: no limit."""
    escalate_after_secs: float | None = None
    """Until then somebody has to acknowledge what it was told, or ``escalate_to`` is as well."""
    escalate_to: tuple[str, ...] = ()
    """Names of channels."""

    def __repr__(self) -> str:
        # Addresses and headers can be secrets; a repr ends up in logs and tracebacks.
        return f"{type(self).__name__}(…)"


class SecretText(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is not written into the configuration: exactly one of the two names it."""

    file: str | None = None
    env: str | None = None
    prefix: str = ""
    """What stands before it, like ``Bearer ``."""


Headers = dict[str, str | SecretText]


class WebhookConfig(_Channel, frozen=True, kw_only=True, tag="webhook"):
    """Messages as JSON by HTTP POST (API.md, last section)."""

    url: str
    format: Literal["alertd", "alertmanager"] = "alertd"
    """The body: alertd's own, or that of version 4 of Alertmanager's webhook."""
    body: str | None = None
    """A template in the place of ``format``."""
    content_type: str = "application/json"
    """Of that body; a template for JSON has to make JSON."""
    headers: Headers = msgspec.field(default_factory=dict)
    secret_file: str | None = None
    """Key of the signature header; without one (or ``secret_env``) nothing is signed."""
    secret_env: str | None = None
    ca_file: str | None = None
    """PEM file of a private certificate authority; default: the system's and Mozilla's."""
    allow_private: bool = True
    """Whether the address may be loopback or private: who edits this file may look inside."""


class AlertmanagerConfig(_Channel, frozen=True, kw_only=True, tag="alertmanager"):
    """An Alertmanager that is fed with alerts, as Prometheus feeds it."""

    url: str
    """Without ``/api/v2/alerts``."""
    headers: Headers = msgspec.field(default_factory=dict)
    ca_file: str | None = None
    """PEM file of a private certificate authority; default: the system's and Mozilla's."""
    allow_private: bool = True
    """Whether the address may be loopback or private: who edits this file may look inside."""
    resend_interval_secs: float = 60
    """How often what is on is told again: an Alertmanager forgets it in a restart."""
    ends_after_secs: float = 3600
    """For how long an alert stays on there that nothing more is heard of."""


class SlackConfig(_Channel, frozen=True, kw_only=True, tag="slack"):
    """Slack, by an incoming webhook or a bot. Exactly one of the first five says which.

    The address of a webhook is a secret, as a bot's token is.
    """

    url: str | None = None
    url_file: str | None = None
    url_env: str | None = None
    token_file: str | None = None
    """Of a bot with the scope ``chat:write``."""
    token_env: str | None = None
    channel: str | None = None
    """Where the bot writes: a channel's id, or its name with ``#``."""
    follow_up: Literal["thread", "update"] = "thread"
    """How a bot tells what follows a message: below it, or by changing it."""
    api_url: str = "https://slack.com/api"

    @property
    def is_bot(self) -> bool:
        """Whether a bot's token is configured."""
        return self.token_file is not None or self.token_env is not None

    title: str | None = None
    """A template for the line that stands first and in the preview; default: alertd's words."""
    body: str | None = None
    """A template, in Slack's mrkdwn, for what stands below; default: a block for each incident."""


class AppriseConfig(_Channel, frozen=True, kw_only=True, tag="apprise"):
    """A service that Apprise knows. Its address is a secret: exactly one of the three names it."""

    url: str | None = None
    url_file: str | None = None
    url_env: str | None = None
    title: str | None = None
    """A template; default: alertd's words."""
    body: str | None = None
    """A template; default: alertd's words."""


class Tls(StrEnum):
    """How the connection to the mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


DEFAULT_PORTS: Final = {Tls.NONE: 25, Tls.STARTTLS: 587, Tls.TLS: 465}
"""RFC 5321, RFC 6409 and RFC 8314."""


class EmailConfig(_Channel, frozen=True, kw_only=True, tag="email"):
    """E-mail through one SMTP server."""

    host: str
    sender: str = msgspec.field(name="from")
    to: tuple[str, ...]
    port: int | None = None
    """Default by ``tls``: 587, 465 or 25."""
    tls: Tls = Tls.STARTTLS
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    ca_file: str | None = None
    """PEM file of a private certificate authority; default: the system's."""
    title: str | None = None
    """A template for the subject; default: alertd's words."""
    body: str | None = None
    """A template for the text, which is plain then; default: alertd's words, as HTML too."""

    @property
    def effective_port(self) -> int:
        """The port to connect to."""
        return self.port if self.port is not None else DEFAULT_PORTS[self.tls]


ChannelConfig = WebhookConfig | AlertmanagerConfig | SlackConfig | EmailConfig | AppriseConfig
