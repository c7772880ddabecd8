"""The clock of notifications: it releases what was held back, and repeats what nobody acknowledges.

Owns when to look. What becomes of each is decided by ``notify/review.py`` and done by
``store/waiting.py``; a restart finds what waits in the table.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog
import trio

from alertd.channels.message import MessageKind
from alertd.errors import StoreUnavailable
from alertd.model import NAMESPACE, US_PER_S, IncidentSeries, Target
from alertd.notify.matchers import subject_labels
from alertd.notify.policy import Policy
from alertd.notify.review import Action, Verdict, Waiting, review
from alertd.outbound import Notification, Timing
from alertd.store.waiting import Place

LOOK_LIMIT: Final = 500
"""Notifications that one transaction decides about."""
LONGEST_SLEEP_S: Final = 60.0
GIVE_WAY_S: Final = 0.005
"""For which it does not look when it is woken: what is told at once is read and sent first."""
STORE_RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


class WaitingList(Protocol):
    """What waits: ``alertd.store.waiting.WaitingList``."""

    async def due(self, now_us: int, *, limit: int) -> Sequence[Waiting]:
        """Return up to ``limit`` whose time has come."""
        ...

    async def look_again(self, now_us: int, after: Place | None) -> Place | None:
        """Have some of what is held back be due; return behind which it goes on."""
        ...

    async def next_look_us(self) -> int | None:
        """Return when the next is to be looked at."""
        ...

    async def apply(
        self,
        decided: Sequence[tuple[Waiting, Verdict]],
        told: Sequence[Notification],
        now_us: int,
    ) -> None:
        """Do what was decided, and tell ``told``."""
        ...


class Reminders:
    """Looks at what waits when its time has come. ``run`` it; ``wake`` it when that may be now."""

    def __init__(
        self,
        waiting: WaitingList,
        policy: Policy,
        timing_of: Callable[[Target, Mapping[str, str]], Timing],
        now_us: Callable[[], int],
        on_told: Callable[[], None],
    ) -> None:
        self._waiting = waiting
        self._policy = policy
        self._timing_of = timing_of
        self._now_us = now_us
        self._on_told = on_told
        self._woken = trio.Event()
        self._is_outdated = True
        """What holds notifications back may be other than when they were looked at last."""
        self._changes_seen = policy.changes

    def look_again(self) -> None:
        """What holds notifications back is not what it was: look again at all of them."""
        self._is_outdated = True
        self.wake()

    def recorded(self) -> None:
        """Notifications were recorded: look at those whose time has come.

        What held one back when it was worded may have been taken away before it was recorded, and
        nobody could look at it then.
        """
        if self._changes_seen != self._policy.changes:
            self._changes_seen = self._policy.changes
            self._is_outdated = True
        self.wake()

    def wake(self) -> None:
        """Look again now. Cheap; never blocks."""
        self._woken.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._woken = trio.Event()
            try:
                await self.look()
                next_us = await self._waiting.next_look_us()
            except StoreUnavailable as error:
                log.warning("what waits cannot be looked at", error=str(error))
                await trio.sleep(STORE_RETRY_S)
                continue
            with trio.move_on_after(self._sleep_s(next_us)):
                await self._woken.wait()
                await trio.sleep(GIVE_WAY_S)

    def _sleep_s(self, next_us: int | None) -> float:
        if next_us is None:
            return LONGEST_SLEEP_S
        return min(LONGEST_SLEEP_S, max(0.0, (next_us - self._now_us()) / US_PER_S))

    async def look(self) -> None:
        """Decide about everything whose time has come. Raises ``StoreUnavailable``."""
        while self._is_outdated:
            self._is_outdated = False
            await self._look_at_all()
        while True:
            now_us = self._now_us()
            self._policy.forget_silences(now_us)
            found = await self._waiting.due(now_us, limit=LOOK_LIMIT)
            if not found:
                return
            decided = [(one, self._decide(one, now_us)) for one in found]
            told = [
                self._notification(one, verdict, now_us)
                for one, verdict in decided
                if verdict.action in (Action.RELEASE, Action.REPEAT)
            ]
            await self._waiting.apply(decided, told, now_us)
            if told:
                log.info("notifications released or repeated", count=len(told))
                self._on_told()

    async def _look_at_all(self) -> None:
        place = None
        try:
            while place := await self._waiting.look_again(self._now_us(), place):
                pass
        except BaseException:
            self._is_outdated = True
            raise

    def _decide(self, waiting: Waiting, now_us: int) -> Verdict:
        hold = self._policy.hold(waiting.incident_id, _labels(waiting), now_us)
        series = IncidentSeries(waiting.rule_id, waiting.group)
        return review(waiting, hold or self._policy.flapping.hold(series, now_us), now_us)

    def _notification(self, waiting: Waiting, verdict: Verdict, now_us: int) -> Notification:
        is_repeat = verdict.action is Action.REPEAT
        repeat_id = str(uuid.uuid5(NAMESPACE, f"repeat\x1d{waiting.id}"))
        return Notification(
            id=repeat_id if is_repeat else waiting.id,
            incident_id=waiting.incident_id,
            rule_id=waiting.rule_id,
            kind=MessageKind.REPEAT.value if is_repeat else waiting.kind,
            target=waiting.target,
            group_key=waiting.group_key,
            timing=self._timing_of(waiting.target, _labels(waiting)),
            view=waiting.view,
            created_us=now_us,
            repeat_us=waiting.repeat_us,
        )


def _labels(waiting: Waiting) -> dict[str, str]:
    return subject_labels(waiting.rule_name, waiting.severity, dict(waiting.group))
