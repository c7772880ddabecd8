"""The power goes at a random moment, and nothing that was acknowledged is lost.

A store lives a random life; its calls to the disk are noted. At random moments of it the power
goes, and the store is opened on what the disk may hold then. It must be what was acknowledged by
that moment, and what was under way either whole or not at all. Some of those disks begin another
life, so that the power goes while a store recovers, too.

Each test is one seed; ``ALERTD_POWER_SEEDS`` is how many there are (``make crash`` tries more), and
``pytest -k seed-17`` tries one again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from alertd.errors import StoreUnavailable
from alertd.outbound import DeliveryStatus, Outgoing
from alertd.store import store as stores
from alertd.store.connection import Durability
from alertd.store.store import Store, open_store
from alertd.store.writer import CommitUncertain
from tests.faults.disk import watched_by
from tests.faults.inline import Inline
from tests.faults.life import (
    IN_PORTIONS,
    Content,
    Step,
    append,
    append_answered,
    change_rule,
    content,
    fold,
    forget,
    forget_incidents,
    forget_rollups,
    give_back,
    quarantine,
    record_end,
    record_firing,
    retire,
    settle_end,
    settle_firing,
)
from tests.faults.power import Journal, Platter
from tests.unit.store.store_samples import OPS, START_US, firing

SEEDS: Final = int(os.environ.get("ALERTD_POWER_SEEDS", "50"))
CASES_A_SEED: Final = 200
LIVES_A_SEED: Final = 4
SCENES_A_LIFE: Final = 8


SYNC_FAILS: Final = 0.3
"""How likely one sync of a life fails."""
NEVER: Final = 1 << 62


@dataclass
class Lived:
    """A life on record: the disk as it began, what was done to it, and what that meant."""

    files: dict[str, bytes]
    journal: Journal
    durable: list[tuple[int, Content]]
    """What the store holds, and how many calls had been noted when that was certain.

    ``NEVER`` where only a later step makes it so."""

    def may_be_found(self, calls: int) -> list[Content]:
        """Return what may be found when the power goes after so many calls.

        That is what was certain by then, what the next step that is certain would leave, and
        whatever was in between.
        """
        numbers = range(len(self.durable))
        certain = max(number for number in numbers if self.durable[number][0] <= calls)
        later = (number for number in numbers[certain + 1 :] if self.durable[number][0] < NEVER)
        until = next(later, numbers[-1])
        return [held for _, held in self.durable[certain : until + 1]]

    def was_ever(self, found: Content) -> bool:
        """Return whether the store ever held just that."""
        return any(found == held for _, held in self.durable)


@pytest.mark.parametrize("seed", range(SEEDS), ids="seed-{}".format)
def test_no_loss_of_power_takes_what_was_acknowledged(seed: int, memory_folder: Path) -> None:
    chance = Random(seed)  # noqa: S311  # not a secret
    files: dict[str, bytes] | None = None
    for number in range(LIVES_A_SEED):
        lived = live_randomly(chance, files, memory_folder, Durability.FULL)
        for calls, left in losses(lived, chance, CASES_A_SEED // LIVES_A_SEED):
            found = recover(left, memory_folder)
            assert found in lived.may_be_found(calls), f"life {number}, after {calls} calls"
            if chance.random() < 0.1:
                files = left


def test_without_a_sync_at_each_commit_some_are_lost_or_nothing_is_tested_here(
    memory_folder: Path,
) -> None:
    """With durability ``relaxed`` the newest may go, and only those: the rest is as it was once."""
    chance, lost = Random(0), 0  # noqa: S311
    for _ in range(8):
        lived = live_randomly(chance, None, memory_folder, Durability.RELAXED)
        for calls, left in losses(lived, chance, 25):
            found = recover(left, memory_folder)
            assert lived.was_ever(found)
            lost += found not in lived.may_be_found(calls)
    assert lost >= 5


def test_what_was_offered_to_a_receiver_no_loss_of_power_takes(memory_folder: Path) -> None:
    """A portion of a storm has no fsync of its own: its message is offered after one that has."""
    chance, portion_lost = Random(0), 0  # noqa: S311
    path = lay_out({"alertd.db": b""}, memory_folder / "life")
    journal = Journal({str(path): 0})
    offered_after, offered = 0, list[Outgoing]()

    async def live() -> None:
        nonlocal offered_after, offered
        async with open_store(path, blocking=Inline(journal.mark)) as store:
            for portion in (range(3), range(3, 6)):
                found = [firing(START_US + number, targets=(OPS,)) for number in portion]
                await store.incidents.record(found, applied=None)
            offered = await store.outbox.claim(NEVER, limit=9)
            offered_after = len(journal.calls)
            await store.incidents.record([firing(START_US + 7, targets=(OPS,))], applied=None)

    with watched_by(journal):
        trio.run(live)
    lived = Lived({"alertd.db": b""}, journal, [])
    told = {(message.id, len(message.parts)) for message in offered}
    assert sum(count for _, count in told) == 6
    for calls, left in losses(lived, chance, 200):
        found = recover(left, memory_folder)
        held = {(str(row[1]), row[5]) for row in found["messages"]}
        assert calls < offered_after or told <= held, f"after {calls} calls"
        portion_lost += calls < offered_after and not held
    assert portion_lost, "there is nothing to lose before, or nothing is tested here"


# ---- random lives


def live_randomly(
    chance: Random, files: dict[str, bytes] | None, folder: Path, durability: Durability
) -> Lived:
    """Let a store take random steps on ``files``; now and then a sync fails, and it ends early."""
    held = files or {"alertd.db": b""}
    steps = [append_some(chance)]  # there must be series before there are events
    for _ in range(SCENES_A_LIFE):
        steps += chance.choice(SCENES)(chance)
    faults = frozenset({chance.randrange(1, 60)} if chance.random() < SYNC_FAILS else ())
    path = lay_out(held, folder / "life")
    journal = Journal(
        {str(path.parent / name): len(held[name]) for name in held}, sync_faults=faults
    )
    lived = Lived(held, journal, [(0, recover(held, folder))])
    with watched_by(journal), contextlib.suppress(StoreUnavailable, CommitUncertain):
        trio.run(_take, path, durability, steps, lived)
    if len(lived.durable) <= len(steps):
        # What the next step would have left: it may be found, and nothing ever made it certain.
        again, path = Lived(held, Journal(), []), lay_out(held, folder / "life")
        trio.run(_take, path, durability, steps[: len(lived.durable)], again)
        lived.durable.append((NEVER, again.durable[-1][1]))
    return lived


async def _take(path: Path, durability: Durability, steps: Sequence[Step], lived: Lived) -> None:
    journal = lived.journal
    async with open_store(path, durability=durability, blocking=Inline(journal.mark)) as store:
        for step in steps:
            syncs = journal.syncs
            await step(store)
            # What may be done again is not synced for itself. Of ``relaxed`` is noted what
            # ``full`` would promise.
            was_synced = journal.syncs > syncs or durability is Durability.RELAXED
            is_certain = was_synced and step not in IN_PORTIONS
            lived.durable.append((journal.marked if is_certain else NEVER, content(path)))


def append_some(chance: Random) -> Step:
    """Append a batch, now and then with a series that is new."""
    size, new, ids = (
        chance.choice((1, 3, 40, 300, 1000)),
        chance.choice((0, 0, 1, 3)),
        chance.random(),
    )

    async def step(store: Store) -> None:
        known = len(await store.events.all_series())
        await append(size, known=known, new=new if known else 3, ids=ids < 0.3)(store)

    return step


def record_some(chance: Random) -> Step:
    """Record an incident, its end, or an attempt to tell of either."""
    start_us = START_US + chance.randrange(3)
    if chance.random() < 0.4:
        return record_firing(start_us, start_us - START_US)
    if chance.random() < 0.4:
        return record_end(start_us, start_us - START_US)
    if chance.random() < 0.3:
        return settle_end(start_us)
    return settle_firing(start_us, chance.choice(list(DeliveryStatus)))


def remember_and_forget(chance: Random) -> list[Step]:
    """Record an incident and its end, tell of both, and forget them when they are old."""
    start_us, sent = START_US + chance.randrange(3), DeliveryStatus.SUCCESS
    begun = [record_firing(start_us, 1), settle_firing(start_us, sent)]
    return [*begun, record_end(start_us, 2), settle_end(start_us), forget_incidents]


SCENES: Final[tuple[Callable[[Random], list[Step]], ...]] = (
    lambda chance: [append_some(chance)],
    lambda chance: [append_some(chance)],
    lambda chance: [append_some(chance)],
    lambda chance: [record_some(chance), record_some(chance)],
    remember_and_forget,
    lambda chance: [fold],
    lambda chance: [fold, retire],
    lambda chance: [chance.choice((forget_rollups, give_back))],
    lambda chance: [append_answered(chance.randbytes(1))],
    lambda chance: [change_rule(chance.randrange(9))],
    lambda chance: [quarantine(chance.randrange(1, 9)), forget],
)
"""What a life is made of, each a few steps."""


# ---- losing power, and what is found then


def losses(lived: Lived, chance: Random, count: int) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Yield what the disk may hold after the power went at random moments, and when it went."""
    platter, calls = Platter(lived.files), lived.journal.calls
    done = 0
    for moment in sorted(chance.randrange(len(calls) + 1) for _ in range(count)):
        for call in calls[done:moment]:
            platter.do(call)
        done = moment
        yield moment, platter.after_power_loss(chance)


def recover(files: dict[str, bytes], folder: Path) -> Content:
    """Open the store on ``files`` as the daemon does, and return what is in it."""
    path = lay_out(files, folder / "found")
    connection, _ = stores._open(path, Durability.FULL)
    connection.close()
    return content(path)


def lay_out(files: dict[str, bytes], folder: Path) -> Path:
    """Put ``files`` into an empty folder; return the path of the database, which is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "alertd.db"
    path.touch()
    for name, held in files.items():
        (folder / name).write_bytes(held)
    return path
