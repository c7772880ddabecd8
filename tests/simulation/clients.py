"""Those outside: they send events, make and edit rules, write files, set silences, acknowledge.

They go by what they are answered, as good clients do, and write down what was promised to them.
A ``Clients`` is for one life of the daemon; what must outlive it is in the ``Story``.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Final, cast

import trio
import trio.testing

from alertd.clock import format_us
from alertd.config.lines import LinesConfig
from alertd.config.rules import TomlRule
from alertd.core import Core
from alertd.errors import (
    AlertdError,
    Conflict,
    InvalidInput,
    NotFound,
    Overloaded,
    StoreUnavailable,
)
from alertd.http.acceptance import Acceptance
from alertd.http.decode import MediaType
from alertd.http.gate import Gate, anybody
from alertd.http.penalty import Penalty
from alertd.lines.connection import Connection, Door
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Matcher, MatchOperator, rule_id_of_name
from alertd.notify.silence import Silence
from alertd.outbound import DeliveryStatus
from alertd.rules import RuleSpec
from alertd.store.deliveries import DeliveryQuery
from alertd.store.store import Store
from tests.simulation.disk import Disk
from tests.simulation.plan import (
    METRIC,
    Acknowledge,
    EndHush,
    Event,
    Hush,
    PutRule,
    Reload,
    Requeue,
    Resend,
    Send,
    Step,
)
from tests.simulation.story import Answer, EventName, Hushed, Request, Story

RETRY_S: Final = 1.5
AS_LINES_EVERY: Final = 3
"""One in so many requests, of those without a key, goes as lines on a connection of its own."""
SEND_TIMEOUT_S: Final = 30.0
METRICS: Final = Metrics()
MAX_ATTEMPTS: Final = 40
LOOK_AT_FILES_S: Final = 2.0
"""How long after a reload that the store did not take the files are read again."""

_REFUSALS: Final = (Overloaded, StoreUnavailable, NotFound, InvalidInput, Conflict)


class Clients:
    """The clients of one life of the daemon."""

    def __init__(
        self, story: Story, disk: Disk, core: Core, store: Store, nursery: trio.Nursery
    ) -> None:
        self._story = story
        self._disk = disk
        self._core = core
        self._store = store
        self._nursery = nursery
        gate = Gate((), METRICS, bind="127.0.0.1:9470")
        self._door = Door(
            core.intake, gate, Penalty(), METRICS, LinesConfig(), send_timeout_s=SEND_TIMEOUT_S
        )
        self._acceptance = Acceptance(
            core.intake, core.requests, METRICS.limits_reached, max_events=1000
        )

    @property
    def _now_us(self) -> int:
        return self._core.clock.now_us()

    def go_on(self) -> None:
        """Send again what was not answered before the daemon was started again."""
        for request in self._story.requests:
            if not request.answers:
                self._nursery.start_soon(self._post, request)

    def act(self, step: Step) -> None:
        """Begin what ``step`` says, if it says what a client does."""
        start = self._nursery.start_soon
        match step:
            case Send():
                request = self._draft(step)
                for _ in range(step.times):
                    start(self._post, request)
            case Resend(number) if number < len(self._story.requests):
                request = self._story.requests[number]
                if request.is_repeatable and request.answers:
                    start(self._post, request)
            case PutRule():
                start(self.put_rule, step)
            case _:
                self._ask(step)

    def _ask(self, step: Step) -> None:
        """Begin what a person does, if ``step`` says that."""
        start = self._nursery.start_soon
        match step:
            case Reload(rules):
                self._story.filed = rules
                start(self._reload_until_done)
            case Hush():
                start(self._hush, step)
            case EndHush(number) if number < len(self._story.hushed):
                start(self._end_hush, self._story.hushed[number])
            case Acknowledge(number):
                start(self._acknowledge, number)
            case Requeue(number):
                start(self._requeue, number)
            case _:
                pass

    # ---- events

    def _draft(self, step: Send) -> Request:
        number, now_us = len(self._story.requests), self._now_us
        events: list[tuple[EventName, Event]] = []
        for event in step.events:
            time_us = now_us - round(event.behind_s * US_PER_S)
            while time_us in self._story.used_times:
                time_us -= 1
            self._story.used_times.add(time_us)
            events.append(((event.host, time_us), event))
        request = Request(
            number=number,
            key=f"key {number}" if step.has_key else None,
            body=json.dumps(
                [
                    {
                        "metricName": METRIC,
                        "timestamp": format_us(time_us),
                        "value": event.value,
                        "labels": {"host": host},
                        **({"id": f"{host}-{time_us}"} if event.has_id else {}),
                    }
                    for (host, time_us), event in events
                ]
            ).encode(),
            events=tuple(events),
        )
        self._story.requests.append(request)
        return request

    async def _post(self, request: Request) -> None:
        """Send a request until it is answered."""
        if request.key is None and request.number % AS_LINES_EVERY == 0:
            await self._send_lines(request)
            return
        for _ in range(MAX_ATTEMPTS):
            request.unanswered += 1
            try:
                text = await self._acceptance.accept(
                    request.body, MediaType.JSON, anybody(), key=request.key
                )
            except (Overloaded, StoreUnavailable) as error:
                # Both promise that nothing was stored; but the end of the process says as much
                # to those who wait for what it cannot know.
                if not self._disk.is_dead and "stopped before it could say" not in str(error):
                    request.unanswered -= 1
                self._story.note("refused", request.number, type(error).__name__)
            except AlertdError as error:
                request.unanswered -= 1
                self._story.note("rejected", request.number, type(error).__name__)
                everything = frozenset(range(len(request.events)))
                request.answers.append(Answer(self._now_us, everything, str(error)))
                return
            else:
                if not self._disk.is_dead:
                    request.unanswered -= 1
                    request.answers.append(_answer(self._now_us, text))
                    self._story.note("accepted", request.number, text.decode())
                return
            await trio.sleep(RETRY_S)

    async def _send_lines(self, request: Request) -> None:
        """Send the events of a request as lines until all are acknowledged.

        A connection that ended without that says nothing of whether they were stored.
        """
        lines = b"".join(json.dumps(each).encode() + b"\n" for each in json.loads(request.body))
        for _ in range(MAX_ATTEMPTS):
            request.unanswered += 1
            refused = await self._acknowledged(request, lines)
            if self._disk.is_dead:
                return
            if refused is not None:
                request.unanswered -= 1
                request.answers.append(Answer(self._now_us, refused, "as lines"))
                self._story.note("acknowledged lines", request.number, len(refused))
                return
            await trio.sleep(RETRY_S)

    async def _acknowledged(self, request: Request, lines: bytes) -> frozenset[int] | None:
        """Return which of ``lines`` were refused; None if not all are acknowledged."""
        ours, theirs = trio.testing.memory_stream_pair()
        # It has all of a socket's methods that a connection without TLS calls.
        stream = cast("trio.SocketStream", theirs)
        connection = Connection(stream, self._door, client="somebody", is_trusted=True)
        refused: set[int] = set()
        answers, position = b"", 0

        async def serve() -> None:
            async with theirs:
                await connection.run()

        async with trio.open_nursery() as nursery, ours:
            nursery.start_soon(serve)
            await ours.send_all(lines)
            while position < len(request.events):
                data = await ours.receive_some()
                if not data:
                    return None
                *told, answers = (answers + data).split(b"\n")
                for answer in map(json.loads, told):
                    position = answer.get("acknowledged", position)
                    if "refused" in answer:
                        refused.add(answer["refused"] - 1)
                    if "paused" in answer or "closed" in answer:
                        self._story.note("lines wait", request.number, *answer.values())
        return frozenset(refused)

    # ---- rules

    async def put_rule(self, step: PutRule) -> None:
        """Make, edit or delete a rule; give up when the store cannot."""
        rulebook = self._core.rulebook
        rule_id = {record.spec.name: record.id for record in rulebook.all()}.get(step.name)
        try:
            if step.spec is None:
                if rule_id is not None:
                    await rulebook.delete(rule_id, if_version=None)
            elif rule_id is not None:
                await rulebook.replace(rule_id, step.spec, if_version=None)
            else:
                await rulebook.create(step.spec)
        except _REFUSALS as error:
            self._story.note("rule not changed", step.name, type(error).__name__)
        else:
            self._story.note("rule changed", step.name)

    async def _reload_until_done(self) -> None:
        """Have the files taken; what the store cannot take is tried at the next look at them."""
        while True:
            try:
                await take_files(self._core, self._story.filed)
            except (Overloaded, StoreUnavailable) as error:
                self._story.note("not reloaded", type(error).__name__)
            else:
                self._story.note("reloaded")
                return
            await trio.sleep(LOOK_AT_FILES_S)

    # ---- what is told

    async def _hush(self, step: Hush) -> None:
        now_us = self._now_us
        starts_us = now_us + round(step.starts_s * US_PER_S)
        by_host = () if step.host is None else (Matcher("host", MatchOperator.EQUAL, step.host),)
        silence = Silence(
            id="",
            matchers=(*by_host, Matcher("ruleName", MatchOperator.REGEX, ".*")),
            starts_us=starts_us,
            ends_us=starts_us + round(step.lasts_s * US_PER_S),
            created_us=0,
            created_by="somebody",
            comment="",
        )
        try:
            added = await self._core.notifier.silence(silence)
        except _REFUSALS as error:
            self._story.note("not silenced", type(error).__name__)
            return
        if self._disk.is_dead:
            return
        begins_us = max(added.starts_us, self._now_us)
        self._story.hushed.append(Hushed(added.id, step.host, begins_us, added.ends_us))
        self._story.note("silenced", added.id, step.host)

    async def _end_hush(self, hushed: Hushed) -> None:
        hushed.ends_us = min(hushed.ends_us, self._now_us)  # from here on it may be over
        try:
            await self._core.notifier.expire_silence(hushed.id)
        except _REFUSALS as error:
            self._story.note("silence not ended", type(error).__name__)
        else:
            self._story.note("silence ended", hushed.id)

    async def _acknowledge(self, number: int) -> None:
        try:
            found = sorted(incident.id for incident in await self._store.incidents.open())
            if not found:
                return
            incident_id = found[number % len(found)]
            await self._core.notifier.acknowledge(incident_id, "somebody")
        except _REFUSALS as error:
            self._story.note("not acknowledged", type(error).__name__)
            return
        if not self._disk.is_dead:
            self._story.acknowledged.setdefault(incident_id, self._now_us)
            self._story.note("acknowledged", incident_id)

    async def _requeue(self, number: int) -> None:
        """Have what was given up sent again, the oldest first, or if nothing was one that waits."""
        try:
            failed = await self._undelivered(DeliveryStatus.FAILED)
            waiting = await self._undelivered(DeliveryStatus.RETRY_PENDING)
            for one in failed or waiting[number : number + 1]:
                self._story.requeued.add(one)
                await self._core.notifier.requeue(one)
                self._story.note("requeued", one)
        except _REFUSALS as error:
            self._story.note("not requeued", type(error).__name__)

    async def _undelivered(self, status: DeliveryStatus) -> list[str]:
        found = await self._store.outbox.page(DeliveryQuery(status=status))
        return [one.id for one in reversed(found.items)]


async def take_files(core: Core, rules: tuple[RuleSpec, ...]) -> None:
    """Have the rules from files be these, as a reload does."""
    place = partial(TomlRule, file=Path("rules.toml"), line=1)
    await core.rulebook.take_files(
        [place(spec=spec, id=rule_id_of_name(spec.name)) for spec in rules]
    )


def _answer(at_us: int, text: bytes) -> Answer:
    places = (error["path"].split("/")[1] for error in json.loads(text)["errors"])
    return Answer(at_us, frozenset(map(int, places)))
