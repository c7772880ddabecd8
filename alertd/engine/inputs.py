"""What the engine can be told, besides a batch of events (``model.EventBatch``)."""

from __future__ import annotations

from msgspec import Struct

from alertd.model import EndReason, EventBatch, Rule


class Tick(Struct, frozen=True):
    """Time has passed: it is ``now_us``, and every batch received before has been applied."""

    now_us: int


class RulesChanged(Struct, frozen=True, kw_only=True):
    """Some rules are new or edited, some are gone. Applied as one."""

    at_us: int
    put: tuple[Rule, ...] = ()
    dropped: tuple[tuple[str, EndReason], ...] = ()
    """Ids of rules that no longer watch, with the reason that their incidents end for."""


Input = EventBatch | Tick | RulesChanged
