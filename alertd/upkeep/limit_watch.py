"""What is refused because a limit is reached, and what senders do that rules do not expect.

Owns how that is told: by name in ``/api/status``, counted in ``/metrics``, and in the log with
one line a minute. What has not been seen for a day is over, and shown no longer. The refusing and
the counting are the engine's (``engine/observed.py``) and the registry's; this reads their counts
now and then, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nlargest
from typing import Final

import structlog
from msgspec import Struct

from alertd.clock import Timestamp, format_us
from alertd.engine.engine import Engine
from alertd.engine.window import BEFORE_TIME_US
from alertd.ingest.series import SeriesRegistry
from alertd.limits import Limit
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Labels

LOG_EVERY_S: Final = 60.0
SHOWN_FOR_US: Final = 86_400 * US_PER_S
"""After it was seen last, by the engine's clock."""
MAX_SHOWN: Final = 100

_GROUPS: Final = "max_groups_per_rule"
_EVENTS: Final = "max_events_per_group"
_SERIES: Final = "max_series"
_LIMIT_OF: Final = {_GROUPS: Limit.GROUPS, _EVENTS: Limit.GROUP_EVENTS}

log = structlog.get_logger(__name__)


class Refusal(Struct, frozen=True, rename="camel"):
    """What one limit keeps from one rule, or from everybody."""

    limit: str
    """The key of ``[engine]``."""
    events: int | None
    """Events stored and not judged by the rule since it became active. None with ``max_series``:
    those are not stored, and counted with all that is refused on arrival."""
    rule_id: str | None = None
    """The rule that does not judge them; None with ``max_series``."""
    rule_name: str | None = None
    """Its name."""
    metric_name: str | None = None
    """The metric of the series that was refused last; None with a rule."""
    latest: dict[str, str] | None = None
    """The labels of the group, or the series, that was refused last; None after a restart."""
    latest_at: Timestamp | None = None
    """When that was; None with ``max_series``."""


class ObservedGap(Struct, frozen=True, rename="camel"):
    """A rule whose groups get their events further apart than it allows them to be late."""

    rule_id: str
    """The rule."""
    rule_name: str
    """Its name."""
    count: int
    """Gaps longer than the lateness, since the rule became active."""
    greatest_secs: float
    """The longest of them."""
    allowed_lateness_secs: float
    """What the rule allows; it should be at least as long."""
    latest_at: Timestamp
    """When the last of them was over. A day later the rule is not listed any more."""


class LimitWatch:
    """Looks for refusals, and tells of those that are new."""

    def __init__(self, engine: Engine, registry: SeriesRegistry, metrics: Metrics) -> None:
        self._engine = engine
        self._registry = registry
        self._metrics = metrics
        self._seen = {_key(refusal): self._count(refusal) for refusal in self._all()}
        self._logged = dict(self._seen)
        self._log_from_s = 0.0

    def refusals(self) -> list[Refusal]:
        """Return what is refused, the most first; at most ``MAX_SHOWN``. O(rules)."""
        return nlargest(MAX_SHOWN, self._all(self._shown_from_us), key=self._count)

    def gaps(self) -> list[ObservedGap]:
        """Return the rules with gaps, the greatest first; at most ``MAX_SHOWN``. O(rules)."""
        found = (
            ObservedGap(
                rule_id=rule.id,
                rule_name=rule.name,
                count=observed.gaps,
                greatest_secs=observed.greatest_gap_us / US_PER_S,
                allowed_lateness_secs=rule.allowed_lateness_us / US_PER_S,
                latest_at=format_us(observed.gap_seen_us),
            )
            for rule, observed in self._engine.observed()
            if observed.gaps and observed.gap_seen_us >= self._shown_from_us
        )
        return nlargest(MAX_SHOWN, found, key=lambda gap: gap.greatest_secs)

    @property
    def _shown_from_us(self) -> int:
        return self._engine.now_us - SHOWN_FOR_US

    def look(self, now_s: float) -> None:
        """Count what was refused since the last look; log it if a minute has passed. O(rules)."""
        present = {_key(refusal): refusal for refusal in self._all()}
        for key, refusal in present.items():
            if refusal.events is not None:
                more = _more(refusal.events, self._seen.get(key, 0))
                self._metrics.events_not_judged.labels(refusal.limit).inc(more)
                self._metrics.limits_reached.labels(_LIMIT_OF[refusal.limit].value).inc(more)
        self._seen = {key: self._count(refusal) for key, refusal in present.items()}
        if now_s < self._log_from_s:
            return
        news = {key: _more(n, self._logged.get(key, 0)) for key, n in self._seen.items()}
        worst = max(news, key=lambda key: news[key], default=None)
        if worst is not None and news[worst] > 0:
            self._log(present[worst], news[worst], sum(n > 0 for n in news.values()) - 1)
            self._logged, self._log_from_s = self._seen, now_s + LOG_EVERY_S

    def _count(self, refusal: Refusal) -> int:
        return self._registry.refused if refusal.events is None else refusal.events

    def _log(self, refusal: Refusal, events: int, others: int) -> None:
        of_rule = refusal.rule_name is not None
        log.warning(
            f"a limit is reached: events are {'stored and not judged' if of_rule else 'refused'}; "
            f"raise engine.{refusal.limit}, or have fewer",
            limit=refusal.limit,
            **({"events": events} if of_rule else {}),
            **({"rule": refusal.rule_name} if of_rule else {"metric": refusal.metric_name}),
            **{"group" if of_rule else "labels": refusal.latest},
            others_that_are_refused=others,
        )

    def _all(self, from_us: int = BEFORE_TIME_US) -> Iterator[Refusal]:
        """Yield what was refused, and of rules what they refused from ``from_us`` on."""
        registry = self._registry
        if registry.latest_refused is not None:
            metric_name, labels = registry.latest_refused
            yield Refusal(_SERIES, None, metric_name=metric_name, latest=_plain(labels))
        for rule, observed in self._engine.observed():
            for limit, events, seen_us, latest in (
                (_GROUPS, observed.newcomer_events, observed.newcomer_seen_us,
                 observed.latest_newcomer),
                (_EVENTS, observed.overflow_events, observed.overflow_seen_us,
                 observed.latest_full),
            ):  # fmt: skip
                if events and seen_us >= from_us:
                    yield Refusal(
                        limit,
                        events,
                        rule.id,
                        rule.name,
                        latest=_plain(latest),
                        latest_at=format_us(seen_us),
                    )


def _more(count: int, before: int) -> int:
    """Return by how much a count has grown; it began anew if the rule has changed."""
    return count - before if count >= before else count


def _key(refusal: Refusal) -> tuple[str, str | None]:
    return refusal.limit, refusal.rule_id


def _plain(labels: Labels | None) -> dict[str, str] | None:
    return None if labels is None else dict(labels)
