"""The daemon in a world: it lives, dies, is started again, until the plan is done.

Everything between the wire and the disk is the real thing: decoding, admission, pipeline,
engine, store, recovery, reconciler, snapshots, housekeeping, dispatch. Around it stand a disk
(``disk.py``), receivers (``receivers.py``), and clients that send again what was not answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from unittest import mock

import apsw
import msgspec
import trio

from alertd.clock import Clock
from alertd.config.settings import Config, EngineConfig, NotifyConfig, StoreConfig
from alertd.core import Core, new_state
from alertd.delivery.notifier import load_policy
from alertd.engine.engine import Engine
from alertd.engine.inputs import Backfill, Tick
from alertd.errors import AlertdError, StoreUnavailable
from alertd.model import US_PER_S, EventBatch, Transition
from alertd.notify.announce import Announcer
from alertd.notify.settings import RouteSpec
from alertd.store.snapshots import snapshots_folder
from alertd.store.store import Store, open_store
from alertd.store.writer import CommitUncertain
from alertd.upkeep.recovery import recover
from tests.simulation.chronicle import Chronicle
from tests.simulation.clients import METRICS, Clients, take_files
from tests.simulation.determinism import Inline
from tests.simulation.disk import Disk, damage
from tests.simulation.plan import Crash, FailDisk, FillDisk, Plan, PutRule, Restart, SetMood, Step
from tests.simulation.receivers import NAMES, PLACES, Mood, Receivers
from tests.simulation.story import Story

START_US: Final = 4_000_000_000 * US_PER_S
"""When every world begins; later than any machine's own clock."""
SETTLE_S: Final = 28.0
"""For as long as this nothing more happens at the end: all alerts end, everything is told."""
LOOK_EVERY_S: Final = 3.0
"""How often is written down what the store holds, where it forgets."""
KEPT_S: Final = 40
QUARANTINED_S: Final = 15
DAY_S: Final = 86_400


def config_of(plan: Plan) -> Config:
    """Return a configuration with short rhythms and low bounds."""
    forgetting = StoreConfig(
        event_retention_days=KEPT_S / DAY_S,
        history_retention_days=KEPT_S / DAY_S,
        quarantine_retention_days=QUARANTINED_S / DAY_S,
    )
    return Config(
        store=msgspec.structs.replace(
            forgetting if plan.forgets else StoreConfig(),
            fold_after_events=plan.fold_after_events,
            fold_after_secs=plan.fold_after_s,
        ),
        engine=EngineConfig(
            snapshot_interval_secs=4, reconcile_interval_secs=6, max_queue_events=10
        ),
        notify=NotifyConfig(
            retry_first_secs=plan.retry_first_s,
            retry_max_secs=max(3.0, plan.retry_first_s),
            concurrency_per_channel=PLACES,
            shutdown_deadline_secs=1,
            group_interval_secs=plan.group_interval_s,
            collapse=plan.collapses,
            flapping_changes=plan.flapping_changes,
            flapping_within_secs=20,
            flapping_stable_secs=5,
        ),
        route=(RouteSpec(channels=NAMES[:1], repeat_interval_secs=plan.repeat_s),)
        if plan.repeat_s
        else (),
    )


class World:
    """One plan, and how it goes."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.path = folder / "alertd.db"
        self.story = Story(plan, filed=plan.filed)
        self.chronicle = Chronicle()
        self._steps = list(plan.steps)
        self._scope = trio.CancelScope()
        self._clock_off_us = 0
        self._crash: Crash | None = None
        self._has_begun = False
        self.disk = Disk(self.path, plan.another_chance(), self._die)
        self.receivers = Receivers(
            plan.another_chance(), lambda: self.disk.is_dead, self.story.note
        )
        self._chance = plan.another_chance()
        self._blocking = Inline(plan.another_chance())
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
        self.story.refusals = self.receivers.refusals
        self.story.attempts = self.receivers.attempts
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
            with (
                self._scope,
                self.chronicle.looking_before_pruning(),
                _time_goes_forward(self.story.findings),
            ):
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
            async with open_store(self.path, blocking=self._blocking) as store:
                core = await self._start(store)
                async with core.running(first=partial(take_files, core, self.story.filed)):
                    is_over = await self._act(core, store)
                    if is_over:
                        await self._settle(core, store)
                    core.pipeline.hurry()
                self.last = core
            died = False
            self.story.note("stopped")
            return is_over
        finally:
            self.story.crashes += died

    async def _start(self, store: Store) -> Core:
        config = self._config
        announcer = Announcer(
            "http://alertd.example",
            defaults=config.defaults,
            routes=config.routes(),
            policy=await load_policy(store, config),
        )
        recovered = await recover(
            store,
            announcer,
            snapshots=snapshots_folder(store.path),
            new_state=partial(new_state, config),
            on_progress=lambda phrase: None,
        )
        self.story.note("recovered", recovered.applied, len(recovered.registry))
        wall_us = START_US + round(trio.current_time() * US_PER_S) + self._clock_off_us
        clock = Clock(not_before_us=recovered.received_us, wall_us=wall_us)
        self.receivers.now_us = clock.now_us
        return Core(
            *(store, recovered, await store.rules.all(), announcer, self.receivers),
            *(clock, config, METRICS),
            random=self._chance,
        )

    async def _look_often(self, store: Store) -> None:
        """Write down what the store holds before it forgets it."""
        while self.plan.forgets:
            try:
                await self.chronicle.look(store)
            except StoreUnavailable as error:
                self.story.note("not looked", type(error).__name__)
            await trio.sleep(LOOK_EVERY_S)

    # ---- what happens

    async def _act(self, core: Core, store: Store) -> bool:
        """Take the plan's steps; return whether all were taken, False to be started again."""
        is_over = True
        async with trio.open_nursery() as watching:
            watching.start_soon(self._look_often, store)
            async with trio.open_nursery() as nursery:
                clients = Clients(self.story, self.disk, core, store, nursery)
                clients.go_on()
                if not self._has_begun:
                    for spec in self.plan.rules:
                        await clients.put_rule(PutRule(spec.name, spec))
                    self._has_begun = True
                while self._steps:
                    wait_s, step = self._steps.pop(0)
                    await trio.sleep(wait_s)
                    if isinstance(step, Restart):
                        is_over = False
                        nursery.cancel_scope.cancel()
                        break
                    clients.act(step)
                    self._break(step)
                else:
                    self._heal()
            watching.cancel_scope.cancel()
        return is_over

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

    async def _settle(self, core: Core, store: Store) -> None:
        async with trio.open_nursery() as watching:
            watching.start_soon(self._look_often, store)
            await trio.sleep(SETTLE_S)
            watching.cancel_scope.cancel()
        if core.pipeline.engine.overdue_groups:
            self.story.findings.append("groups are overdue for good")


@contextmanager
def _time_goes_forward(findings: list[str]) -> Iterator[None]:
    """While the block runs, find events that are from before a tick that an engine had first.

    No replay could repeat that: the log has no ticks in it.
    """
    in_slices = Engine.in_slices

    def watched(engine: Engine, event: EventBatch | Tick | Backfill) -> Iterator[list[Transition]]:
        if isinstance(event, EventBatch) and event.received_us < engine.now_us:
            findings.append(f"a batch is of {event.received_us}, and it was {engine.now_us}")
        return in_slices(engine, event)

    with mock.patch.object(Engine, "in_slices", watched):
        yield


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
