"""What may be shown of an address.

Owns the one rule for logs, errors and replies: of a URL the scheme, host and port; of an
e-mail address the first letter and the domain. A path or a query is never shown, because with
Slack and most webhooks it *is* the secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from alertd.channels.address import bare_address
from alertd.model import Target

UNREADABLE: Final = "[unreadable address]"


def redact_url(url: str) -> str:
    """Return ``scheme://host:port`` of ``url``, without user, path, query and fragment."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return UNREADABLE
    if not parts.scheme or not host:
        return UNREADABLE
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def redact_address(address: str) -> str:
    """Return ``o…@example.org`` for ``Ops <ops@example.org>``."""
    bare = bare_address(address)
    if bare is None:
        return UNREADABLE
    local, _, domain = bare.rpartition("@")
    return f"{local[0]}…@{domain}"


def redact_addresses(addresses: Sequence[str]) -> str:
    """Return the first address, redacted, and how many more there are."""
    if not addresses:
        return UNREADABLE
    more = f" (+{len(addresses) - 1})" if len(addresses) > 1 else ""
    return redact_address(addresses[0]) + more


def redact_target(target: Target) -> str | None:
    """Return what may be shown of the endpoint that a rule names; None if it names a channel."""
    if target.endpoint is None:
        return None
    if target.channel == "EMAIL":
        return redact_address(target.endpoint)
    return redact_url(target.endpoint)
