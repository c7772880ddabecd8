"""What a rule looks like: what its author wrote, and what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from alertd.clock import Timestamp, format_us
from alertd.errors import Problem
from alertd.http.wire import shown_endpoint
from alertd.model import Target
from alertd.reports import Warned
from alertd.rules import TARGET_FIELDS, RuleRecord, RuleSpec, Source


class GroupCounts(Struct, frozen=True):
    """How many groups of a rule are in each state."""

    ok: int
    """The condition does not hold."""
    pending: int
    """It holds, not yet for ``forSecs``."""
    firing: int
    """An incident is on."""
    no_data: int
    """The window has no value."""


class RuleItem(RuleSpec, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=False):
    """A rule as it is listed: what its author wrote, and what alertd knows about it."""

    id: str
    """UUID; of a rule that stands in a file it follows from the name."""
    version: int
    """Grows by one with each edit; also in the header ``ETag``."""
    source: Source
    """``toml`` for a rule that stands in a file: it is edited there."""
    created_at: Timestamp
    """When it was made."""
    updated_at: Timestamp
    """When it was edited last."""
    state: GroupCounts
    """How its groups are."""


class RuleReply(RuleItem, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=False):
    """A rule as it is shown by itself."""

    warnings: tuple[Warned, ...]
    """What it says that is most likely not meant; nothing in most rules."""


class RuleList(Struct, frozen=True, rename="camel"):
    """A page of rules, by name."""

    items: tuple[RuleItem, ...]
    """The rules."""
    next_cursor: str | None
    """Send it back as ``cursor`` for the next page; null on the last."""


def rule_item(record: RuleRecord, state: Mapping[str, int]) -> RuleItem:
    """Return a rule as it is listed."""
    members = msgspec.structs.asdict(record.spec)
    for name in TARGET_FIELDS:
        members[name] = tuple(
            Target(target.channel, shown_endpoint(target)) for target in members[name]
        )
    return RuleItem(
        **members,
        id=record.id,
        version=record.version,
        source=record.source,
        created_at=format_us(record.created_us),
        updated_at=format_us(record.updated_us),
        state=GroupCounts(**state),
    )


def rule_reply(item: RuleItem, warnings: Iterable[Problem]) -> RuleReply:
    """Return a rule as it is shown by itself."""
    return RuleReply(
        **msgspec.structs.asdict(item),
        warnings=tuple(Warned(warning.path, warning.message) for warning in warnings),
    )
