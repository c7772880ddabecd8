"""The daemon in a world: it lives, dies, is started again, until the plan is done.

Everything between the wire and the disk is the real thing: decoding, admission, pipeline,
engine, store, recovery, reconciler, snapshots, housekeeping, dispatch. Around it stand a disk
(``disk.py``), receivers (``receivers.py``), and clients that send again what was not answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import apsw
import trio

from alertd.clock import Clock, format_us
from alertd.config.settings import Config, EngineConfig, NotifyConfig
from alertd.core import Core, new_state
from alertd.delivery.notifier import load_policy
from alertd.errors import AlertdError, InvalidInput, NotFound, Overloaded, StoreUnavailable
from alertd.http.acceptance import Acceptance
from alertd.http.decode import MediaType
from alertd.http.gate import anybody
from alertd.metrics import Metrics
from alertd.model import US_PER_S
from alertd.notify.announce import Announcer
from alertd.store.snapshots import snapshots_folder
from alertd.store.store import open_store
from alertd.store.writer import CommitUncertain
from alertd.upkeep.recovery import recover
from tests.simulation.determinism import Inline
from tests.simulation.disk import Disk, damage
from tests.simulation.plan import (
    METRIC,
    Crash,
    FailDisk,
    FillDisk,
    Plan,
    PutRule,
    Resend,
    Restart,
    Send,
    SetMood,
    Step,
)
from tests.simulation.receivers import Mood, Receivers
from tests.simulation.story import Request, Story

START_US: Final = 4_000_000_000 * US_PER_S
"""When every world begins; later than any machine's own clock."""
SETTLE_S: Final = 28.0
"""For as long as this nothing more happens at the end: all alerts end, everything is told."""
RETRY_S: Final = 1.5
MAX_ATTEMPTS: Final = 40

METRICS: Final = Metrics()


def config_of(plan: Plan) -> Config:
    """Return a configuration with short rhythms and low bounds."""
    return Config(
        engine=EngineConfig(
            snapshot_interval_secs=4, reconcile_interval_secs=6, max_queue_events=10
        ),
        notify=NotifyConfig(
            retry_first_secs=1,
            retry_max_secs=3,
            concurrency_per_channel=2,
            shutdown_deadline_secs=1,
            group_interval_secs=plan.group_interval_s,
            collapse=plan.collapses,
            flapping_changes=plan.flapping_changes,
            flapping_within_secs=20,
            flapping_stable_secs=5,
        ),
    )


class World:
    """One plan, and how it goes."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.path = folder / "alertd.db"
        self.story = Story(plan)
        self._steps = list(plan.steps)
        self._scope = trio.CancelScope()
        self._clock_off_us = 0
        self._crash: Crash | None = None
        self._has_begun = False
        self._used_times: set[int] = set()
        self.disk = Disk(self.path, plan.another_chance(), self._die)
        self.receivers = Receivers(
            plan.another_chance(), lambda: self.disk.is_dead, self.story.note
        )
        self._chance = plan.another_chance()
        self._config = config_of(plan)
        self.last: Core | None = None
        """The parts of the last life, when it is over."""

    async def run(self) -> Story:
        """Live until the plan is done and everything has settled."""
        is_over = False
        while not is_over:
            self.story.lives += 1
            self.receivers.life = self.story.lives
            if self.story.lives > 40:
                raise AssertionError("the daemon cannot be started any more")
            is_over = await self._live_once()
        self.story.deliveries = self.receivers.deliveries
        self.story.repeats_allowed = self.receivers.forgotten
        self.story.most_under_way = self.receivers.most_under_way
        return self.story

    def _die(self) -> None:
        self._scope.cancel()

    async def _live_once(self) -> bool:
        """Run the daemon once; return whether the plan was done in this life."""
        self._scope, is_over = trio.CancelScope(), False
        self.story.note("start")
        try:
            with self._scope:
                is_over = await self._live()
        except BaseException as error:
            if not _is_expected(error, died=self.disk.is_dead):
                raise
            self.story.note("ended by", *sorted({type(e).__name__ for e in _leaves(error)}))
            is_over = False
        if not is_over:
            await self._clean_up()
        return is_over

    async def _clean_up(self) -> None:
        crash, self._crash = self._crash, None
        died = self.disk.is_dead
        self.disk.restart(with_power_lost=died and crash is not None and crash.with_power_lost)
        if crash is not None and died:
            self._clock_off_us += round(crash.clock_steps_s * US_PER_S)
            if crash.damages_snapshot:
                self._damage_newest_snapshot()
        await trio.sleep(self._chance.choice((0.01, 0.5, 3.0)))

    def _damage_newest_snapshot(self) -> None:
        found = sorted(snapshots_folder(self.path).glob("state-*.snapshot"))
        if found:
            self.story.note("snapshot damaged")
            damage(found[-1], self._chance)

    async def _live(self) -> bool:
        died = True
        try:
            async with open_store(self.path, blocking=Inline()) as store:
                announcer = Announcer(
                    "http://alertd.example",
                    timing=self._config.notify.timing,
                    policy=await load_policy(store, self._config),
                )
                recovered = await recover(
                    store,
                    announcer,
                    snapshots=snapshots_folder(store.path),
                    new_state=partial(new_state, self._config),
                    on_progress=lambda phrase: None,
                )
                self.story.note("recovered", recovered.applied, len(recovered.registry))
                wall_us = START_US + round(trio.current_time() * US_PER_S) + self._clock_off_us
                core = Core(
                    store,
                    recovered,
                    await store.rules.all(),
                    announcer,
                    self.receivers,
                    Clock(not_before_us=recovered.received_us, wall_us=wall_us),
                    self._config,
                    METRICS,
                    random=self._chance,
                )
                async with core.running():
                    is_over = await self._act(core)
                    if is_over:
                        await self._settle(core)
                    core.pipeline.hurry()
                self.last = core
            died = False
            self.story.note("stopped")
            return is_over
        finally:
            self.story.crashes += died

    # ---- what happens

    async def _act(self, core: Core) -> bool:
        """Take the plan's steps; return whether all were taken, False to be started again."""
        acceptance = Acceptance(core.intake, core.requests, max_events=1000)
        async with trio.open_nursery() as clients:
            for request in self.story.requests:
                if not request.answers:
                    clients.start_soon(self._post, acceptance, request)
            if not self._has_begun:
                for spec in self.plan.rules:
                    await self._put_rule(core, PutRule(spec.name, spec))
                self._has_begun = True
            while self._steps:
                wait_s, step = self._steps.pop(0)
                await trio.sleep(wait_s)
                if isinstance(step, Restart):
                    clients.cancel_scope.cancel()
                    return False
                if isinstance(step, PutRule):
                    clients.start_soon(self._put_rule, core, step)
                for request in self._to_send(step, core.clock.now_us()):
                    clients.start_soon(self._post, acceptance, request)
                self._break(step)
            self._heal()
        return True

    def _to_send(self, step: Step, now_us: int) -> list[Request]:
        match step:
            case Send():
                return [self._draft(step, now_us)] * step.times
            case Resend(number) if number < len(self.story.requests):
                request = self.story.requests[number]
                return [request] if request.is_repeatable and request.answers else []
            case _:
                return []

    def _break(self, step: Step) -> None:
        match step:
            case SetMood(name, mood):
                self.receivers.moods[name] = mood
            case FailDisk(calls, kind, code):
                self.disk.fail_after(calls, kind, code)
            case FillDisk(is_full):
                self.disk.is_full = is_full
            case Crash(calls) if self._crash is None:
                self._crash = step
                self.disk.die_after(calls)
            case _:
                pass

    def _heal(self) -> None:
        self.disk.heal()
        self._crash = None
        self.receivers.moods = dict.fromkeys(self.receivers.moods, Mood.GOOD)

    async def _settle(self, core: Core) -> None:
        await trio.sleep(SETTLE_S)
        if core.pipeline.engine.overdue_groups:
            self.story.findings.append("groups are overdue for good")

    # ---- clients

    def _draft(self, step: Send, now_us: int) -> Request:
        number = len(self.story.requests)
        events = []
        for event in step.events:
            time_us = now_us - round(event.behind_s * US_PER_S)
            while time_us in self._used_times:
                time_us -= 1
            self._used_times.add(time_us)
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
        self.story.requests.append(request)
        return request

    async def _post(self, acceptance: Acceptance, request: Request) -> None:
        """Send a request until it is answered, as a good client does."""
        for _ in range(MAX_ATTEMPTS):
            request.attempts += 1
            request.unanswered += 1
            try:
                answer = await acceptance.accept(
                    request.body, MediaType.JSON, anybody(), key=request.key
                )
            except (Overloaded, StoreUnavailable) as error:
                # Both promise that nothing was stored; but the end of the process says as much
                # to those who wait for what it cannot know.
                if not self.disk.is_dead and "stopped before it could say" not in str(error):
                    request.unanswered -= 1
                self.story.note("refused", request.number, type(error).__name__)
            except AlertdError as error:
                request.unanswered -= 1
                self.story.note("rejected", request.number, type(error).__name__)
                if request.good:
                    self.story.findings.append(f"request {request.number} was rejected: {error}")
                request.answers.append(b"rejected")
                return
            else:
                if not self.disk.is_dead:
                    request.unanswered -= 1
                    request.answers.append(answer)
                    self.story.note("accepted", request.number, answer.decode())
                return
            await trio.sleep(RETRY_S)

    async def _put_rule(self, core: Core, step: PutRule) -> None:
        """Make, edit or delete a rule; give up when the store cannot."""
        known = {record.spec.name: record.id for record in core.rulebook.all()}
        rule_id = known.get(step.name)
        try:
            if step.spec is None:
                if rule_id is not None:
                    await core.rulebook.delete(rule_id, if_version=None)
            elif rule_id is not None:
                await core.rulebook.replace(rule_id, step.spec, if_version=None)
            else:
                await core.rulebook.create(step.spec)
        except (Overloaded, StoreUnavailable, NotFound, InvalidInput) as error:
            self.story.note("rule not changed", step.name, type(error).__name__)
        else:
            self.story.note("rule changed", step.name)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _is_expected(error: BaseException, *, died: bool) -> bool:
    """Whether a daemon may end by ``error``: the disk was at fault."""
    allowed = (CommitUncertain, StoreUnavailable, AlertdError if died else CommitUncertain)
    return all(
        isinstance(leaf, allowed) or (died and isinstance(leaf, apsw.Error | OSError))
        for leaf in _leaves(error)
    )
