"""What all replies have in common: how they are encoded, and how endpoints are shown.

Replies have API.md's field names over the nouns of the model; what each resource looks like is in
the ``…_replies.py`` beside its routes. Times are RFC 3339 in UTC, durations seconds, endpoints
redacted: only their owner knows the rest of a webhook's address, because that is the secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from alertd.channels.redact import redact_target
from alertd.errors import Problem
from alertd.model import Target

MAX_ERRORS: Final = 100
"""Problems that one reply lists."""

ELLIPSIS: Final = "…"
"""Stands for what a redacted endpoint does not show."""

encode = msgspec.json.Encoder().encode
"""Returns a struct or plain data as JSON."""


class ErrorItem(Struct, frozen=True):
    """One thing that is wrong with the input."""

    path: str
    """JSON pointer (RFC 6901) into the request; for a parameter its name, for a mistake in the
    configuration ``FILE:LINE``."""
    message: str
    """What to mend."""


class HealthReply(Struct, frozen=True):
    """A sign of life."""

    status: str
    """``ok`` or ``ready``."""


def error_items(problems: Sequence[Problem]) -> tuple[ErrorItem, ...]:
    """Return the first ``MAX_ERRORS`` problems."""
    return tuple(ErrorItem(each.path, each.message) for each in problems[:MAX_ERRORS])


def shown_endpoint(target: Target) -> str | None:
    """Return the endpoint of ``target`` without its secret part, for which an ellipsis stands."""
    shown = redact_target(target)
    if shown is None or ELLIPSIS in shown or shown == target.endpoint:
        return shown
    return f"{shown}/{ELLIPSIS}"
