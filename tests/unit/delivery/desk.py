"""A desk at which people are told: a real store, what decides, and a clock in the test's hands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from alertd.config.settings import Config
from alertd.delivery.notifier import Notifier, load_policy
from alertd.delivery.reminders import Reminders
from alertd.metrics import Metrics
from alertd.model import US_PER_S, Target, Transition
from alertd.notify.announce import Announcer
from alertd.notify.route import Defaults
from alertd.notify.silence import Silence
from alertd.outbound import Announcement, DeliveryStatus, Outgoing, Timing
from alertd.pipeline.evaluator import announced, foresee
from alertd.rules import RuleRecord, compile_rule, parse_matcher
from alertd.store.store import Store, open_store
from tests.unit.store.store_samples import START_US, firing, record, resolved, settlement

S = US_PER_S
OPS = Target("ops")
PROMPT = Timing(interval_us=0)


@dataclass
class Desk:
    """A store, what decides about notifications, and a clock."""

    store: Store
    announcer: Announcer
    reminders: Reminders
    notifier: Notifier
    now_us: int = START_US
    sent: list[Outgoing] = field(default_factory=list)
    """Every message, in the order of sending."""

    def at(self, seconds: float) -> None:
        self.now_us = START_US + round(seconds * S)

    async def tell(self, *transitions: Transition) -> None:
        """Record ``transitions`` as found now."""
        found = [
            msgspec.structs.replace(transition, detected_us=self.now_us)
            for transition in transitions
        ]
        await foresee(found, self.announcer)
        announcements = await announced(found, self.announcer)
        assert len(announcements) == len(found)
        await self.store.incidents.record(announcements, applied=1)

    async def deliver(self) -> list[str]:
        """Look at what waits, send what is due, and return the kinds of what was told."""
        await self.reminders.look()
        sent: list[Outgoing] = []
        while found := await self.store.outbox.claim(self.now_us, limit=100):
            sent += found
            await self.store.outbox.settle(
                [settlement(one, DeliveryStatus.SUCCESS, at_us=self.now_us) for one in found]
            )
        self.sent += sent
        return [kind for one in sent for kind, _ in one.parts]

    async def silence(self, ends_s: float, **matchers: str) -> Silence:
        return await self.notifier.silence(
            Silence(
                id="",
                matchers=tuple(parse_matcher(label, text) for label, text in matchers.items()),
                starts_us=self.now_us,
                ends_us=START_US + round(ends_s * S),
                created_us=0,
                created_by="ann",
                comment="",
            )
        )

    def while_it_is_decided(self, do: Callable[[], Awaitable[object]]) -> None:
        """Do something between the next decision about what waits and its being carried out."""
        waiting = self.store.waiting
        apply = waiting.apply

        # Any: what ``apply`` is given.
        async def late(*decided: Any) -> None:
            exchange.stop()
            await do()
            await apply(*decided)

        exchange = patch.object(waiting, "apply", late)
        exchange.start()

    def use(self, config: Config) -> None:
        """Decide by another configuration from now on, but for the timing of messages."""
        self.announcer.use(_promptly(config), config.routes())
        self.announcer.policy.use(*config.policies())
        self.reminders.look_again()

    async def whats(self, incident_id: str) -> list[str]:
        detail = await self.store.incidents.get(incident_id)
        assert detail is not None
        return [entry.what.value for entry in detail.timeline]


@asynccontextmanager
async def desk(folder: Path, config: Config | None = None) -> AsyncIterator[Desk]:
    config = config or Config()
    async with open_store(folder / "alertd.db") as store:
        policy = await load_policy(store, config)
        announcer = Announcer(
            "http://alertd.example",
            defaults=_promptly(config),
            routes=config.routes(),
            policy=policy,
        )
        made: list[Desk] = []

        def now_us() -> int:
            return made[0].now_us

        reminders = Reminders(store.waiting, policy, announcer.timing_of, now_us, lambda: None)
        ids = iter(range(1000))
        notifier = Notifier(
            outbox=store.outbox,
            silences=store.silences,
            incidents=store.incidents,
            policy=policy,
            now_us=now_us,
            metrics=Metrics(),
            send_now=lambda target: None,
            wake_reminders=reminders.wake,
            look_again=reminders.look_again,
            random_bits=lambda bits: next(ids),
        )
        made.append(Desk(store, announcer, reminders, notifier))
        yield made[0]


def _promptly(config: Config) -> Defaults:
    return msgspec.structs.replace(config.defaults, timing=PROMPT)


def rule(name: str = "High Error Count", **changes: object) -> RuleRecord:
    fields = {"notifications": (OPS,), "repeat_interval_secs": 600.0, **changes}
    made = record(name)
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, **fields))


def begin(number: int = 0, *, of: RuleRecord | None = None, at_us: int | None = None) -> Transition:
    """Return the firing of an incident; the number is its identity."""
    of = of or rule()
    begun = firing(START_US + number, rule=of).transition
    assert begun.incident is not None
    fired_us = begun.incident.fired_us if at_us is None else at_us
    incident = msgspec.structs.replace(begun.incident, fired_us=fired_us)
    return msgspec.structs.replace(begun, rule=compile_rule(of), incident=incident)


def end(begun: Transition, *, at_us: int | None = None) -> Transition:
    """Return the end of an incident."""
    ended = resolved(Announcement(transition=begun, summary="")).transition
    incident = ended.incident
    if at_us is not None and incident is not None:
        incident = msgspec.structs.replace(incident, ended_us=at_us)
    return msgspec.structs.replace(ended, rule=begun.rule, incident=incident)


def id_of(transition: Transition) -> str:
    assert transition.incident is not None
    return transition.incident.id
