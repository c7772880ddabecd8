"""What the HTTP interface needs of the rest of the daemon.

Owns the Protocols, beside their consumer; ``app.py`` of the daemon wires the real parts, tests
their fakes. A route takes the one part that it needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct
from prometheus_client import Counter, Histogram

from alertd.errors import Problem
from alertd.http.event_input import SeriesLookup
from alertd.http.gate import Gate
from alertd.http.in_flight import InFlight
from alertd.http.penalty import Penalty
from alertd.ingest.idempotency import RequestId
from alertd.ingest.intake import Answer, Draft, Receipt
from alertd.model import IncidentSeries
from alertd.notify.silence import Silence
from alertd.rules import RuleRecord, RuleSpec
from alertd.store.deliveries import Delivery, DeliveryQuery
from alertd.store.event_pages import EventQuery, SeriesQuery, SeriesTotals, StoredEvent
from alertd.store.history import HistoryItem, IncidentDetail, Page
from alertd.store.incident_query import HistoryQuery
from alertd.store.quarantine import QuarantinedEvent, QuarantineQuery
from alertd.store.rollup_pages import Bucket, RollupQuery
from alertd.store.silences import SilenceQuery


class Intake(Protocol):
    """Where events go: ``alertd.ingest.intake.Intake``."""

    @property
    def registry(self) -> SeriesLookup:
        """The series."""

    def now_us(self) -> int:
        """Return the moment of receipt of a request whose body has just arrived."""
        ...

    async def submit(
        self,
        draft: Draft,
        received_us: int,
        *,
        atomic: bool = False,
        answer: Answer | None = None,
    ) -> Receipt:
        """Store what is admissible; ``alertd.ingest.intake.Intake.submit`` says what is raised."""
        ...


class RequestKeys(Protocol):
    """What was answered under which key: ``alertd.ingest.idempotency.RequestKeys``."""

    async def answer_once(
        self, request: RequestId, accept: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return the answer that ``request`` was given before, else what ``accept`` returns."""
        ...


class Quarantine(Protocol):
    """The events that were refused."""

    async def page(self, query: QuarantineQuery) -> Page[QuarantinedEvent]:
        """Return a page of them, the newest first. Raises ``InvalidParameters``."""
        ...


class Reloader(Protocol):
    """The configuration: ``alertd.reload.Reloader``, which says what is raised."""

    async def reload(self) -> Struct:
        """Read it again, apply it, and return what changed."""
        ...


class RuleBook(Protocol):
    """The rules: ``alertd.rulebook.RuleBook``, which says what is raised."""

    def all(self) -> list[RuleRecord]:
        """Return every rule, by name."""
        ...

    def get(self, rule_id: str) -> RuleRecord:
        """Return a rule."""
        ...

    def state(self, rule_id: str) -> Mapping[str, int]:
        """Return how many groups of a rule are in each state."""
        ...

    def warnings(self, spec: RuleSpec) -> Sequence[Problem]:
        """Return what a rule most likely does not mean."""
        ...

    def channel_names(self) -> Collection[str]:
        """Return the channels that a rule may name."""
        ...

    async def create(self, spec: RuleSpec) -> RuleRecord:
        """Add a rule."""
        ...

    async def replace(self, rule_id: str, spec: RuleSpec, *, if_version: int | None) -> RuleRecord:
        """Edit a rule."""
        ...

    async def delete(self, rule_id: str, *, if_version: int | None) -> None:
        """Delete a rule."""
        ...


class Incidents(Protocol):
    """The reading side of the incident store."""

    async def history(self, query: HistoryQuery) -> Page[HistoryItem]:
        """Return a page of incidents, the newest first. Raises ``InvalidParameters``."""
        ...

    async def get(self, incident_id: str) -> IncidentDetail | None:
        """Return one incident with its timeline, None if there is none of that id."""
        ...


class Stored(Protocol):
    """The stored events: ``alertd.store.event_pages.EventPages``."""

    async def events(self, query: EventQuery) -> Page[StoredEvent]:
        """Return a page of events by time. Raises ``InvalidParameters``."""
        ...

    async def series(self, query: SeriesQuery) -> Page[SeriesTotals]:
        """Return a page of series. Raises ``InvalidParameters``."""
        ...


class Outbox(Protocol):
    """The messages: ``alertd.store.outbox.Outbox``."""

    async def page(self, query: DeliveryQuery) -> Page[Delivery]:
        """Return a page of them, the newest first. Raises ``InvalidParameters``."""
        ...


class Notifier(Protocol):
    """What people may change of notifications: ``alertd.delivery.notifier.Notifier``."""

    def now_us(self) -> int:
        """Return the time by the daemon's clock."""
        ...

    def is_flapping(self, series: IncidentSeries) -> bool:
        """Return whether a series of incidents changes too often to be told."""
        ...

    async def requeue(self, message_id: str) -> None:
        """Send a failed message again. Raises ``NotFound`` and ``Conflict``."""
        ...

    async def acknowledge(self, incident_id: str, by: str) -> None:
        """Stop repeating an incident. Raises ``NotFound`` and ``Conflict``."""
        ...

    async def silence(self, silence: Silence) -> Silence:
        """Add a silence. Raises ``InvalidInput`` and ``Conflict``."""
        ...

    async def expire_silence(self, silence_id: str) -> Silence:
        """End a silence now. Raises ``NotFound``."""
        ...


class Silences(Protocol):
    """The silences: ``alertd.store.silences.SilenceTable``."""

    async def get(self, silence_id: str) -> Silence | None:
        """Return one, None if there is none of that id."""
        ...

    async def page(self, query: SilenceQuery) -> Page[Silence]:
        """Return a page of them, those that end last first. Raises ``InvalidParameters``."""
        ...


class Rollups(Protocol):
    """The stored events, summed up by time: ``alertd.store.rollup_pages.RollupPages``."""

    async def buckets(self, query: RollupQuery) -> Page[Bucket]:
        """Return a page of buckets by time. Raises ``InvalidParameters``."""
        ...


class Readiness(Protocol):
    """Whether the daemon can do what it is for."""

    def readiness(self) -> str | None:
        """Return None if events can be committed, else why not."""
        ...


class Status(Readiness, Protocol):
    """How the daemon is."""

    def report(self) -> Struct:
        """Return what ``/api/status`` shows."""
        ...


class Metrics(Protocol):
    """What is counted of requests, and everything that is counted, as text."""

    @property
    def requests(self) -> Counter:
        """Requests by ``method``, ``route`` and ``code``."""

    @property
    def request_seconds(self) -> Histogram:
        """Their duration by ``route``."""

    @property
    def limits_reached(self) -> Counter:
        """How often somebody went beyond one, by ``limit``."""

    def render(self) -> bytes:
        """Return every metric in Prometheus' text format."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request, from ``[server]``."""

    max_body_bytes: int
    max_events_per_request: int


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the routes."""

    gate: Gate
    intake: Intake
    requests: RequestKeys
    quarantine: Quarantine
    stored: Stored
    rollups: Rollups
    rules: RuleBook
    incidents: Incidents
    outbox: Outbox
    notifier: Notifier
    silences: Silences
    status: Status
    reloader: Reloader
    metrics: Metrics
    limits: Limits
    in_flight: InFlight
    penalty: Penalty
