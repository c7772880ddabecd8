"""What several properties have in common: how engines are compared, and laws that hold of all.

A law is checked inside of what has the groups behave in some way, such as ``rest_soon``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import msgpack
import msgspec
from hypothesis import event
from hypothesis import strategies as st

from alertd.engine.engine import Engine
from alertd.engine.inputs import Input, RulesChanged, Tick
from alertd.engine.rescan import Episode
from alertd.engine.resting import RestingGroup
from alertd.model import EndReason, EventBatch, Labels, Rule, Transition
from tests.property.engine_worlds import World, empty_engine, new_engine, retellings, tell


def frozen(engine: Engine) -> bytes:
    return b"".join(msgpack.packb(item) for item in engine.dump())


def thawed(state: bytes) -> Engine:
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(state)
    engine = empty_engine()
    engine.load(unpacker)
    return engine


def undated(transitions: list[Transition]) -> list[Transition]:
    """Return transitions without what may depend on when the engine was asked to look."""
    return [
        msgspec.structs.replace(
            transition,
            detected_us=0,
            incident=transition.incident
            and msgspec.structs.replace(transition.incident, detected_us=0),
        )
        for transition in transitions
    ]


def by_group(transitions: list[Transition]) -> dict[object, list[Transition]]:
    """Return the transitions of each group: which of two groups tells first is nobody's promise."""
    found: dict[object, list[Transition]] = {}
    for transition in transitions:
        found.setdefault(transition.group, []).append(transition)
    return found


def without_peaks(found: Mapping[Labels, Sequence[Episode]]) -> dict[Labels, list[Episode]]:
    return {
        group: [each._replace(peak_value=None) for each in told] for group, told in found.items()
    }


def now_of(entry: Input) -> int:
    """Return the wall time of a batch or a tick."""
    assert isinstance(entry, EventBatch | Tick)
    return entry.received_us if isinstance(entry, EventBatch) else entry.now_us


@contextmanager
def rest_soon(method: str, did: str) -> Iterator[None]:
    """Have groups look after their columns often, which they else do after 64 events.

    Notes in the statistics for how many events ``method`` said that the group need not judge.
    """
    rested = 0
    rests_through = getattr(RestingGroup, method)

    def count(self: RestingGroup, *arrival: Any) -> bool:  # as the group itself calls it
        nonlocal rested
        does: bool = rests_through(self, *arrival)
        rested += does
        return does

    with (
        patch("alertd.engine.continuous.LEAST_ROOM", 2),
        patch("alertd.engine.sleeping.LEAST_ROOM", 2),
        patch("alertd.engine.coasting.TRY_AFTER", 2),
        patch.object(RestingGroup, method, count),
    ):
        yield
    event(f"{min(3, rested)} {did}")


@st.composite
def edited_retellings(draw: st.DrawFn, world: World, like: st.SearchStrategy[Rule]) -> list[Input]:
    """A retelling in which the rule is dropped, or takes its condition from one of ``like``."""
    inputs = draw(retellings(world))
    cut = draw(st.integers(1, len(inputs)))
    at_us = now_of(inputs[cut - 1])
    other = draw(like)
    edited = msgspec.structs.replace(
        world.rule,
        version=2,
        operator=other.operator,
        threshold=other.threshold,
        resolve_threshold=other.resolve_threshold,
        for_us=other.for_us,
        keep_firing_us=other.keep_firing_us,
        min_samples=other.min_samples or world.rule.min_samples,
    )
    dropped = ((world.rule.id, EndReason.RULE_DELETED),)
    change = draw(
        st.sampled_from(
            [RulesChanged(at_us=at_us, put=(edited,)), RulesChanged(at_us=at_us, dropped=dropped)]
        )
    )
    return [*inputs[:cut], change, *inputs[cut:]]


def told_both_ways(
    world: World,
    inputs: Sequence[Input],
    resting: AbstractContextManager[object],
    watchful: AbstractContextManager[object],
) -> tuple[list[Transition], list[Transition]]:
    """Return what groups tell that rest, and what those do that judge everything."""
    with resting:
        rested = tell(new_engine(world.rule, world.active_us), inputs)
    with watchful:
        judged = tell(new_engine(world.rule, world.active_us), inputs)
    return rested, judged


def check_snapshot(
    world: World, data: st.DataObject, inputs: Sequence[Input] | None = None
) -> None:
    """A snapshot after any prefix of ``inputs``, or of any retelling, changes nothing."""
    inputs = data.draw(retellings(world)) if inputs is None else inputs
    cut = data.draw(st.integers(0, len(inputs)))
    whole, untouched = (new_engine(world.rule, world.active_us) for _ in range(2))
    plain = tell(untouched, inputs)
    before = tell(whole, inputs[:cut])
    state = frozen(whole)
    restored = thawed(state)
    assert frozen(restored) == state == frozen(whole)
    assert restored.next_wake_us() == whole.next_wake_us()
    assert before + tell(restored, inputs[cut:]) == plain
    assert frozen(restored) == frozen(untouched)


def check_columns(world: World, data: st.DataObject) -> None:
    """Groups that rest in columns find, and leave behind, what those do that rest one by one."""
    inputs = data.draw(retellings(world))
    columnar, plain = (
        new_engine(world.rule, world.active_us, in_columns=way) for way in (True, False)
    )
    assert tell(columnar, inputs) == tell(plain, inputs)
    assert frozen(columnar) == frozen(plain)
    assert columnar.open_incidents() == plain.open_incidents()


def tell_and_wake(engine: Engine, inputs: Sequence[Input]) -> list[Transition]:
    """Step through ``inputs``, and tick whenever asked to."""
    transitions: list[Transition] = []
    for entry in inputs:
        transitions += wake(engine, now_of(entry))
        transitions += engine.step(entry)
    return transitions


def wake(engine: Engine, until_us: int) -> list[Transition]:
    """Tick whenever asked to, up to ``until_us``: nobody is kept busy at one instant."""
    transitions: list[Transition] = []
    while (wake_us := engine.next_wake_us()) is not None and wake_us <= until_us:
        transitions += engine.step(Tick(wake_us))
        asked_us = engine.next_wake_us()
        assert asked_us is None or asked_us > wake_us
    return transitions
