"""Inhibition: an incident that another one explains is not told as long as that one is on.

"While the data centre is down, do not tell me of its hosts." Owns what an inhibition is, which of
the incidents that are on are its sources, and the decision. Cost of the decision: one look at a
dictionary for each inhibition, however many incidents are on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from alertd.matching import Predicate
from alertd.model import US_PER_S
from alertd.outbound import Hold, HoldReason

ASK_AGAIN_US: Final = 10 * US_PER_S
"""When to look whether the source is still on, should nobody have said that it ended."""


class Inhibition(Struct, frozen=True, kw_only=True):
    """One rule: a source that is on holds targets back that have the same ``equal`` labels."""

    is_source: Predicate
    is_target: Predicate
    equal: tuple[str, ...]

    def key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the values that source and target must have in common."""
        return tuple(labels.get(name, "") for name in self.equal)


class Sources:
    """The incidents that are on, and which of them hold others back.

    All are remembered, some 400 bytes each, so that other inhibitions can be used at any time.
    """

    def __init__(self, inhibitions: Iterable[Inhibition] = ()) -> None:
        self._incidents: dict[str, Mapping[str, str]] = {}
        self.use(inhibitions)

    def use(self, inhibitions: Iterable[Inhibition]) -> None:
        """Decide by ``inhibitions`` from now on. Cost: a look at each incident that is on."""
        self._inhibitions = tuple(inhibitions)
        self._on: list[dict[tuple[str, ...], dict[str, None]]] = [{} for _ in self._inhibitions]
        for incident_id, labels in self._incidents.items():
            self._enter(incident_id, labels)

    @property
    def has_inhibitions(self) -> bool:
        """Whether any incident can hold others back."""
        return bool(self._inhibitions)

    def begin(self, incident_id: str, labels: Mapping[str, str]) -> None:
        """An incident has begun, or was on at start, or goes by other labels now."""
        if self._incidents.get(incident_id) != labels:
            self.end(incident_id)
            self._incidents[incident_id] = labels
            self._enter(incident_id, labels)

    def _enter(self, incident_id: str, labels: Mapping[str, str]) -> None:
        for inhibition, on in zip(self._inhibitions, self._on, strict=True):
            if inhibition.is_source(labels):
                on.setdefault(inhibition.key(labels), {})[incident_id] = None

    def end(self, incident_id: str) -> bool:
        """An incident is over; return whether it held others back."""
        labels, was_source = self._incidents.pop(incident_id, None), False
        if labels is None:
            return False
        for inhibition, on in zip(self._inhibitions, self._on, strict=True):
            key = inhibition.key(labels)
            incidents = on.get(key, {})
            if incident_id in incidents:
                was_source = True
                del incidents[incident_id]
                if not incidents:
                    del on[key]
        return was_source

    def inhibited(self, incident_id: str, labels: Mapping[str, str], now_us: int) -> Hold | None:
        """Return the hold of the first source of this incident, None if there is none.

        What is a source and a target of one inhibition does not hold itself back, nor its equals:
        two such incidents would silence each other.
        """
        for inhibition, on in zip(self._inhibitions, self._on, strict=True):
            if not inhibition.is_target(labels) or inhibition.is_source(labels):
                continue
            for source in on.get(inhibition.key(labels), {}):
                if source != incident_id:
                    rule = self._incidents[source].get("ruleName", "")
                    detail = f"incident {source} of {rule!r}, which explains it, is on"
                    return Hold(HoldReason.INHIBITED, source, now_us + ASK_AGAIN_US, detail)
        return None
