"""The application over in-memory parts: real intake, registry and rule book, no store below."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import trio
from quart import Response
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers

from alertd.access import Token
from alertd.clock import Clock
from alertd.errors import AlertdError, InvalidInput
from alertd.http.app import make_app, make_recovering_app
from alertd.http.express import make_express
from alertd.http.gate import Gate
from alertd.http.in_flight import InFlight
from alertd.http.openapi.operations import STATUS
from alertd.http.penalty import Penalty
from alertd.http.recovering import Recovering
from alertd.http.services import Limits, Services
from alertd.ingest.idempotency import AnsweredRequest, KeyedRequest, RequestKeys
from alertd.ingest.intake import Intake
from alertd.ingest.series import SeriesRegistry
from alertd.metrics import Metrics
from alertd.model import US_PER_S, EventBatch, IncidentSeries
from alertd.notify.silence import Silence, silence_problems
from alertd.pipeline.quarantine import Quarantine
from alertd.reports import Changes, ReloadReport, StatusReport, Warned
from alertd.rule_checks import RuleSetting
from alertd.rulebook import RuleBook
from alertd.rules import RuleRecord
from alertd.store.deliveries import Delivery, DeliveryQuery
from alertd.store.event_pages import EventQuery, SeriesQuery, SeriesTotals, StoredEvent
from alertd.store.history import HistoryItem, IncidentDetail, Page
from alertd.store.incident_query import HistoryQuery
from alertd.store.quarantine import QuarantinedEvent, QuarantineQuery, RefusedEvent
from alertd.store.rollup_pages import Bucket, RollupQuery
from alertd.store.silences import SilenceQuery
from tests.unit.http import contract

MAX_EVENTS = 2000
MAX_BYTES = 512 * 1024
MAX_IN_FLIGHT = 4
HORIZON_US = 3600 * US_PER_S

Json = Any  # decoded JSON, of which each test knows the shape


class MemoryLog:
    """Keeps what was admitted; ids seen before are duplicates. Fails and waits on request."""

    def __init__(self) -> None:
        self.batches: list[EventBatch] = []
        self.answered: dict[bytes, AnsweredRequest] = {}
        self.gate = trio.Event()
        """Until it is set nothing is durable; it is set unless a test puts another one here."""
        self.gate.set()
        self.failure: AlertdError | Exception | None = None
        self._seen: set[str] = set()

    async def append(self, batch: EventBatch, request: KeyedRequest | None = None) -> int:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)
        ids = [given for given in batch.ids or () if given is not None]
        duplicates = sum(given in self._seen for given in ids)
        self._seen.update(ids)
        if request is not None:
            answer = request.answer(duplicates)
            answered = AnsweredRequest(request.id, batch.received_us, answer)
            self.answered[request.id.key_digest] = answered
        return duplicates

    async def find(self, key_digest: bytes, *, since_us: int) -> AnsweredRequest | None:
        await trio.lowlevel.checkpoint()
        found = self.answered.get(key_digest)
        return found if found is not None and found.received_us > since_us else None


class MemoryQuarantine:
    """Keeps refused events, and answers with them whatever is asked; remembers the queries."""

    def __init__(self) -> None:
        self.events: list[RefusedEvent] = []
        self.queries: list[QuarantineQuery] = []

    async def add(self, events: Sequence[RefusedEvent]) -> int:
        await trio.lowlevel.checkpoint()
        self.events += events
        return len(self.events)

    async def count(self) -> int:
        await trio.lowlevel.checkpoint()
        return len(self.events)

    async def page(self, query: QuarantineQuery) -> Page[QuarantinedEvent]:
        await trio.lowlevel.checkpoint()
        self.queries.append(query)
        items = [
            QuarantinedEvent(id=number, **msgspec.structs.asdict(event))
            for number, event in enumerate(self.events, start=1)
        ]
        return Page(tuple(reversed(items)), None)


class FixedReloader:
    """Reports nothing changed, or fails as a test wants it."""

    def __init__(self) -> None:
        self.failure: AlertdError | None = None

    async def reload(self) -> ReloadReport:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        nothing = Changes((), (), ())
        changed = Changes(("a rule",), (), ())
        return ReloadReport(
            rules=changed,
            channels=nothing,
            tokens=nothing,
            policies=("mute",),
            at_next_start=("store",),
            warnings=(Warned("/etc/alertd.toml:7", "channels.old: nothing names it"),),
            warning_count=1,
        )


class MemoryRoad:
    """Takes every change of rules."""

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class MemoryIncidents:
    """Answers with what a test put there, and remembers the queries."""

    page: Page[HistoryItem] = field(default_factory=lambda: Page((), None))
    details: dict[str, IncidentDetail] = field(default_factory=dict)
    queries: list[HistoryQuery] = field(default_factory=list)

    async def history(self, query: HistoryQuery) -> Page[HistoryItem]:
        await trio.lowlevel.checkpoint()
        self.queries.append(query)
        return self.page

    async def get(self, incident_id: str) -> IncidentDetail | None:
        await trio.lowlevel.checkpoint()
        return self.details.get(incident_id)


@dataclass
class MemoryEvents:
    """Answers with what a test put there, and remembers the queries."""

    event_page: Page[StoredEvent] = field(default_factory=lambda: Page((), None))
    series_page: Page[SeriesTotals] = field(default_factory=lambda: Page((), None))
    bucket_page: Page[Bucket] = field(default_factory=lambda: Page((), None))
    queries: list[EventQuery | SeriesQuery] = field(default_factory=list)
    failure: AlertdError | None = None

    async def events(self, query: EventQuery) -> Page[StoredEvent]:
        await self._ask(query)
        return self.event_page

    async def buckets(self, query: RollupQuery) -> Page[Bucket]:
        await self._ask(query)
        return self.bucket_page

    async def series(self, query: SeriesQuery) -> Page[SeriesTotals]:
        await self._ask(query)
        return self.series_page

    async def _ask(self, query: EventQuery | SeriesQuery) -> None:
        await trio.lowlevel.checkpoint()
        self.queries.append(query)
        if self.failure is not None:
            raise self.failure


@dataclass
class MemoryDeliveries:
    """Answers with what a test put there, and remembers the queries."""

    items: list[Delivery] = field(default_factory=list)
    queries: list[DeliveryQuery] = field(default_factory=list)

    async def page(self, query: DeliveryQuery) -> Page[Delivery]:
        await trio.lowlevel.checkpoint()
        self.queries.append(query)
        return Page(tuple(self.items), None)


@dataclass
class MemoryNotifier:
    """Does what it is asked in memory, or fails as a test wants it."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    found: dict[str, Silence] = field(default_factory=dict)
    flapping: set[IncidentSeries] = field(default_factory=set)
    failure: AlertdError | None = None

    def now_us(self) -> int:
        return 1_751_295_600_000_000

    def is_flapping(self, series: IncidentSeries) -> bool:
        return series in self.flapping

    async def _note(self, *asked: str) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(asked)
        if self.failure is not None:
            raise self.failure

    async def requeue(self, message_id: str) -> None:
        await self._note("requeue", message_id)

    async def acknowledge(self, incident_id: str, by: str) -> None:
        await self._note("acknowledge", incident_id, by)

    async def silence(self, silence: Silence) -> Silence:
        await self._note("silence")
        if problems := silence_problems(silence, self.now_us()):
            raise InvalidInput(problems)
        added = msgspec.structs.replace(silence, id=f"s{len(self.found)}")
        self.found[added.id] = added
        return added

    async def expire_silence(self, silence_id: str) -> Silence:
        await self._note("expire", silence_id)
        self.found[silence_id] = msgspec.structs.replace(
            self.found[silence_id], ends_us=self.now_us()
        )
        return self.found[silence_id]

    async def get(self, silence_id: str) -> Silence | None:
        await trio.lowlevel.checkpoint()
        return self.found.get(silence_id)

    async def page(self, query: SilenceQuery) -> Page[Silence]:
        await trio.lowlevel.checkpoint()
        return Page(tuple(self.found.values()), None)


class FixedStatus:
    """Is as ready as a test wants it."""

    reason: str | None = None

    def report(self) -> StatusReport:
        return STATUS

    def readiness(self) -> str | None:
        return self.reason


@dataclass(frozen=True)
class Answer:
    """A response, read."""

    status: int
    headers: Headers
    body: Json

    @property
    def errors(self) -> dict[str, str]:
        return {error["path"]: error["message"] for error in self.body.get("errors", ())}


class Site:
    """The application and what stands behind it. Must be made inside ``trio.run``."""

    def __init__(self, *tokens: Token, **gate: Any) -> None:
        clock = Clock()
        self.now_us = clock.now_us
        self.log = MemoryLog()
        self.registry = SeriesRegistry()
        self.incidents = MemoryIncidents()
        self.stored = MemoryEvents()
        self.outbox = MemoryDeliveries()
        self.notifier = MemoryNotifier()
        self.status = FixedStatus()
        self.metrics = Metrics()
        self.quarantined = MemoryQuarantine()
        self.quarantine = Quarantine(self.quarantined, self.metrics)
        self.reloader = FixedReloader()
        self.setting = RuleSetting(frozenset({"ops"}))
        self.rules = RuleBook(
            (),
            MemoryRoad(),
            clock.now_us,
            setting=lambda: self.setting,
            states=lambda rule_id: {"ok": 1, "pending": 0, "firing": 2, "no_data": 0},
        )
        intake = Intake(
            self.log,
            self.registry,
            clock,
            self.quarantine,
            max_future_skew_us=60 * US_PER_S,
            retention_us=30 * 86_400 * US_PER_S,
        )
        self.gate = Gate(
            tokens, self.metrics, **{"bind": "127.0.0.1:9470", "allowed_hosts": ("a",), **gate}
        )
        self.services = Services(
            gate=self.gate,
            intake=intake,
            requests=RequestKeys(
                self.log,
                clock.now_us,
                horizon_us=HORIZON_US,
                on_repeat=self.metrics.requests_repeated.inc,
            ),
            quarantine=self.quarantined,
            stored=self.stored,
            rollups=self.stored,
            rules=self.rules,
            incidents=self.incidents,
            outbox=self.outbox,
            notifier=self.notifier,
            silences=self.notifier,
            status=self.status,
            reloader=self.reloader,
            metrics=self.metrics,
            limits=Limits(max_body_bytes=MAX_BYTES, max_events_per_request=MAX_EVENTS),
            in_flight=InFlight(MAX_IN_FLIGHT, self.metrics.requests_in_flight),
            penalty=Penalty(),
        )
        self.penalty = self.services.penalty
        self.app: QuartTrio = make_app(self.services)
        self.load: Callable[[], QuartTrio] = lambda: self.app
        self.express = make_express(self.services)

    def recovering_app(self) -> QuartTrio:
        """Return what answers before there is anything behind it."""
        return make_recovering_app(Recovering(), self.gate, self.metrics, self.penalty)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes | Json = b"",
        content_type: str | None = "application/json",
        **headers: str,
    ) -> Answer:
        """Send a request; ``body`` that is not bytes goes as JSON.

        Whatever a test is about, the answer must be one that the OpenAPI document describes.
        """
        answer = await self.ask(method, path, body, content_type, **headers)
        contract.check_answer(method, path, answer.status, answer.headers, answer.body)
        return answer

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Json = b"",
        content_type: str | None = "application/json",
        **headers: str,
    ) -> Answer:
        """Do as ``send``, whatever comes of it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            sent["Content-Type"] = content_type
        response = await self.app.test_client().open(  # type: ignore[call-arg]  # json has a default
            path, method=method, headers=sent, data=data
        )
        assert isinstance(response, Response)
        text = await response.get_data(as_text=False)
        is_json = (response.content_type or "").endswith("json")
        is_text = "Content-Encoding" not in response.headers
        return Answer(
            response.status_code,
            response.headers,
            msgspec.json.decode(text) if is_json and is_text and text else text,
        )

    async def push(self, body: bytes | Json, query: str = "", **headers: str) -> Answer:
        """Push events as JSON."""
        return await self.send("POST", f"/api/events{query}", body, **headers)
