"""What is going to happen in one world, drawn from its seed before anything runs.

Most worlds are small, for what goes wrong mostly takes a few steps: so there are many of them, and
what one found is soon understood. Some are long, for what takes many.

Times of events are given as how far they lie behind the moment at which they are first sent; no
two events of a world have the same time, so that each can be found again by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

import apsw
import msgspec

from alertd.model import Evaluate, OnNoData, Operator, RuleType, Target
from alertd.rules import RuleSpec
from tests.faults.disk import Kind
from tests.simulation.receivers import NAMES, Mood

METRIC: Final = "load"
HOSTS: Final = ("a", "b", "c")
LONGEST_REACH_S: Final = 21.0
"""How far before an event it is judged again by these rules: a window before the multiple of the
bucket (or of the window) that lies before the event less ``forSecs`` and ``keepFiringSecs``."""
BAD_AHEAD_S: Final = 3600.0
"""How far an event is ahead of the clock that must be refused."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event that a client sends."""

    host: str
    behind_s: float
    value: float
    has_id: bool

    @property
    def is_bad(self) -> bool:
        """Whether it must be refused."""
        return self.behind_s < 0


@dataclass(frozen=True, slots=True)
class Send:
    """A client posts events, and goes on until it is answered."""

    events: tuple[Event, ...]
    has_key: bool
    times: int = 1
    """How often it posts them at the same time."""


@dataclass(frozen=True, slots=True)
class Resend:
    """A client that was answered posts the same again, if its events or the request are known."""

    number: int


@dataclass(frozen=True, slots=True)
class PutRule:
    """Somebody makes a rule, or edits it; None deletes it."""

    name: str
    spec: RuleSpec | None


@dataclass(frozen=True, slots=True)
class Reload:
    """Somebody writes other rules into the configuration's files, and they are read again."""

    rules: tuple[RuleSpec, ...]


@dataclass(frozen=True, slots=True)
class Hush:
    """Somebody sets a silence on a host, or on everything if that is None."""

    host: str | None
    starts_s: float
    """From now on."""
    lasts_s: float


@dataclass(frozen=True, slots=True)
class EndHush:
    """Somebody ends a silence, the ``number``-th that was set."""

    number: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody acknowledges one of the incidents that are on."""

    number: int


@dataclass(frozen=True, slots=True)
class Requeue:
    """Somebody has messages sent again that were given up, or one sent now that waits."""

    number: int


@dataclass(frozen=True, slots=True)
class SetMood:
    """A receiver becomes another."""

    name: str
    mood: Mood


@dataclass(frozen=True, slots=True)
class FailDisk:
    """One call of the disk will fail."""

    calls: int
    kind: Kind
    code: int


@dataclass(frozen=True, slots=True)
class FillDisk:
    """The disk becomes full, or has room again."""

    is_full: bool


@dataclass(frozen=True, slots=True)
class Crash:
    """The daemon dies after so many changes of the disk, and is started again."""

    calls: int
    with_power_lost: bool
    damages_snapshot: bool
    clock_steps_s: float = 0.0
    """How far the wall clock is off afterwards."""


@dataclass(frozen=True, slots=True)
class Restart:
    """The daemon is stopped in order and started again."""


Asked = Reload | Hush | EndHush | Acknowledge | Requeue
Step = Send | Resend | PutRule | Asked | SetMood | FailDisk | FillDisk | Crash | Restart


@dataclass(frozen=True, slots=True)
class Plan:
    """A world: what it begins with, and its steps, each with the seconds to wait before it."""

    seed: int
    rules: tuple[RuleSpec, ...]
    """Rules that are there before any event, and that nobody edits."""
    filed: tuple[RuleSpec, ...]
    """Rules that stand in files when it begins; the first of them stays in all that follow."""
    steps: tuple[tuple[float, Step], ...]
    is_calm: bool
    """Nothing fails in it: no disk, no receiver, no crash."""
    collapses: bool
    """Whether an incident that ended before it could be told is told in one message."""
    group_interval_s: float
    repeat_s: float
    """How often what goes on is told again; 0: once."""
    retry_first_s: float
    """How long about a message waits that was refused once."""
    flapping_changes: int
    """More changes than this are too many; 0: none are."""
    fold_after_events: int
    fold_after_s: float
    forgets: bool
    """Whether events, history and quarantine go while it lasts."""
    chance: Random = field(compare=False)
    """For whatever is decided on the way."""

    def another_chance(self) -> Random:
        """Return a source of chance of its own for some part of the world."""
        return Random(self.chance.random())  # noqa: S311  # not a secret


def draw_plan(seed: int) -> Plan:
    """Return the world of ``seed``."""
    random = Random(seed)  # noqa: S311  # not a secret
    most_steps = random.choice((2, 3, 4, 6, 9, 14, 30))
    drawer = _Drawer(
        random,
        most_steps=most_steps,
        is_calm=random.random() < 0.15,
        is_tidy=random.random() < 0.3,
        forgets=random.random() < (0.25 if most_steps > 9 else 0.1),  # it takes many steps
        constant=draw_rule(random, "filed 0"),
    )
    rules = tuple(
        draw_rule(random, f"fixed {number}") for number in range(random.choice((1, 2, 2, 3)))
    )
    return Plan(
        seed=seed,
        rules=rules,
        filed=drawer.files(),
        steps=drawer.steps(),
        is_calm=drawer.is_calm,
        collapses=random.random() < 0.5,
        group_interval_s=random.choice((0.0, 1.0, 4.0)),
        repeat_s=random.choice((0.0, 0.0, 5.0)),
        retry_first_s=random.choice((1.0, 8.0)),
        flapping_changes=random.choice((0, 0, 3, 8)),
        fold_after_events=random.choice((3, 12, 1_000_000)),
        fold_after_s=random.choice((2.0, 8.0, 86_400.0)),
        forgets=drawer.forgets,
        chance=random,
    )


@dataclass
class _Drawer:
    """Draws what is going to happen."""

    random: Random
    most_steps: int
    is_calm: bool
    is_tidy: bool
    """Nothing comes later than the allowed lateness."""
    forgets: bool
    """It goes slowly, so that there is time to grow old; snapshots stay whole, for there is no
    whole log to replay in their stead."""
    constant: RuleSpec
    """A rule that is always in the files."""

    def steps(self) -> tuple[tuple[float, Step], ...]:
        """Return some steps, each with the seconds to wait before it."""
        steps: list[tuple[float, Step]] = []
        for _ in range(self.random.randint(1, self.most_steps)):
            wait_s = self.random.choice((0.0, 0.0, 0.01, 0.2, 0.5, 1.0, 2.5))
            sends = sum(isinstance(step, Send) for _, step in steps)
            steps.append((wait_s * (6 if self.forgets else 1), self._step(sends)))
        return tuple(steps)

    def files(self) -> tuple[RuleSpec, ...]:
        """Return the rules of some files."""
        others = ("filed 1", "filed 2")
        return (
            self.constant,
            *(draw_rule(self.random, name) for name in others if self.random.random() < 0.4),
        )

    def _step(self, sends: int) -> Step:
        random, number = self.random, self.random.random()
        if number < 0.58:
            return _draw_send(random, is_tidy=self.is_tidy or self.forgets)
        if number < 0.63:
            return Resend(random.randrange(1 + sends))
        if number < 0.71:
            return _draw_rule_change(random)
        if number < 0.80 or self.is_calm:
            return self._asked()
        if number < 0.86:
            return SetMood(random.choice(NAMES), random.choice(list(Mood)))
        if number < 0.90:
            return FailDisk(random.choice((0, 1, 3, 10)), *random.choice(_FAULTS))
        if number < 0.93:
            return FillDisk(random.random() < 0.6)
        if number < 0.98:
            return Crash(
                calls=random.choice((0, 1, 2, 3, 5, 8, 13, 30)),
                with_power_lost=random.random() < 0.6,
                damages_snapshot=not self.forgets and random.random() < 0.3,
                clock_steps_s=random.choice((0.0, 0.0, 0.0, 3.0, -20.0)),
            )
        return Restart()

    def _asked(self) -> Step:
        random = self.random
        match random.randrange(6):
            case 0:
                return Reload(self.files())
            case 1:
                starts_s, lasts_s = random.choice((0.0, 0.0, 2.0)), random.choice((1.0, 4.0, 9.0))
                return Hush(random.choice((None, *HOSTS)), starts_s, lasts_s)
            case 2:
                return EndHush(random.randrange(3))
            case 3:
                return Acknowledge(random.randrange(5))
            case _:
                return Requeue(random.randrange(5))


_FAULTS: Final = (
    (Kind.READ, apsw.SQLITE_IOERR_READ),
    (Kind.WRITE, apsw.SQLITE_IOERR_WRITE),
    (Kind.WRITE, apsw.SQLITE_FULL),
    (Kind.SYNC, apsw.SQLITE_IOERR_FSYNC),
)


def _draw_send(random: Random, *, is_tidy: bool) -> Send:
    behinds = (0.0, 0.0, 0.0, 0.1, 1.0) if is_tidy else (0.0, 0.0, 0.0, 0.5, 1.5, 4.0, 12.0, 40.0)
    has_ids, behind_s = random.choice((True, True, False)), random.choice(behinds)
    events = tuple(
        Event(
            host=random.choice(HOSTS),
            behind_s=-BAD_AHEAD_S if random.random() < 0.02 else behind_s + random.random() * 0.4,
            value=float(random.choice((0, 1, 1, 2, 3, 5, 9))),
            has_id=has_ids,
        )
        for _ in range(random.choice((1, 1, 2, 3, 5, 8)))
    )
    return Send(events, random.random() < 0.4, random.choice((1, 1, 1, 1, 2)))


def _draw_rule_change(random: Random) -> PutRule:
    name = random.choice(("edited 1", "edited 2"))
    if random.random() < 0.2:
        return PutRule(name, None)
    spec = draw_rule(random, name)
    return PutRule(name, msgspec.structs.replace(spec, is_active=random.random() < 0.8))


def draw_rule(random: Random, name: str) -> RuleSpec:
    """Return a rule with short windows that these events make fire now and then."""
    rule_type = random.choice(list(RuleType))
    aggregate = random.choice(("count", "max", "max", "avg", "sum", "p90", "last"))
    if rule_type is RuleType.SIMPLE_COUNT:
        aggregate = "count"
    bucket_s = random.choice((1.0, 2.0, 3.0))
    is_bucketed = rule_type is RuleType.BUCKETED_WINDOW
    operator = random.choice((Operator.GT, Operator.GT, Operator.GE, Operator.LT))
    is_early = is_bucketed and operator is not Operator.LT and random.random() < 0.5
    return RuleSpec(
        name=name,
        type=rule_type,
        metric_name=METRIC,
        aggregate=aggregate,
        operator=operator,
        threshold=float(random.choice((1, 2, 4))),
        window_duration_secs=bucket_s * random.choice((1, 1, 2, 3)),
        bucket_interval_secs=bucket_s if is_bucketed else None,
        evaluate=Evaluate.EARLY if is_early else Evaluate.ON_CLOSE,
        group_by=random.choice(((), ("host",), ("host",))),
        for_secs=random.choice((0.0, 0.0, 0.0, 1.0)),
        keep_firing_secs=random.choice((0.0, 0.0, 0.0, 2.0)),
        allowed_lateness_secs=random.choice((0.0, 1.0, 2.0, 5.0)),
        on_no_data=random.choice((OnNoData.RESOLVE, OnNoData.RESOLVE, OnNoData.KEEP)),
        notifications=tuple(Target(channel) for channel in NAMES if random.random() < 0.8),
    )
