"""What people may ask of notifications, and what follows from it.

Owns silences, acknowledgements and requeueing as people know them: the refusals, the counting, the
log lines, and waking what has something to do then. Leaves the rows to the store, the decisions to
``notify/`` and the sending to ``dispatch.py``.

Invariant: what ``Policy`` holds of silences is what the store has.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import msgspec
import structlog
import trio

from alertd.config.settings import Config
from alertd.errors import Conflict, InvalidInput, NotFound
from alertd.limits import MAX_SILENCES, Limit
from alertd.metrics import Metrics
from alertd.model import IncidentSeries, Target
from alertd.notify.matchers import subject_labels
from alertd.notify.policy import Policy
from alertd.notify.silence import Silence, silence_problems
from alertd.outbound import DeliveryStatus
from alertd.store.incidents import IncidentStore
from alertd.store.outbox import Outbox
from alertd.store.silences import SilenceTable
from alertd.store.store import Store

log = structlog.get_logger(__name__)


async def load_policy(store: Store, config: Config) -> Policy:
    """Return what holds notifications back, as it is configured and as the store has it.

    Silences that are over by now are forgotten at the first look.
    """
    policy = Policy(*config.policies())
    limits = config.notify.flapping
    recent = await store.flapping.recent(limits.within_us) if limits.changes else ()
    policy.flapping.load(recent, await store.flapping.episodes())
    for silence in await store.silences.since(0):
        policy.put_silence(silence)
    for incident in await store.incidents.open():
        labels = subject_labels(incident.rule_name, incident.severity, incident.group)
        policy.sources.begin(incident.id, labels)
    return policy


class Notifier:
    """Does what people ask. ``random_bits`` gives the ids of silences."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        silences: SilenceTable,
        incidents: IncidentStore,
        policy: Policy,
        now_us: Callable[[], int],
        metrics: Metrics,
        send_now: Callable[[Target], None],
        wake_reminders: Callable[[], None],
        look_again: Callable[[], None],
        random_bits: Callable[[int], int],
    ) -> None:
        self._outbox = outbox
        self._silences = silences
        self._incidents = incidents
        self._policy = policy
        self._now_us = now_us
        self._metrics = metrics
        self._send_now = send_now
        self._wake_reminders = wake_reminders
        self._look_again = look_again
        self._random_bits = random_bits

    def now_us(self) -> int:
        """Return the time by the daemon's clock."""
        return self._now_us()

    def is_flapping(self, series: IncidentSeries) -> bool:
        """Return whether ``series`` changes too often to be told."""
        return self._policy.flapping.episode(series, self._now_us()) is not None

    async def requeue(self, message_id: str) -> None:
        """Send a message now that was given up, or waits. Raises ``NotFound`` and ``Conflict``."""
        asked = await self._outbox.requeue(message_id, self._now_us())
        if asked is None:
            raise NotFound(f"there is no notification with the id {message_id[:100]!r}")
        if asked.before is DeliveryStatus.SUCCESS:
            raise Conflict(
                f"the notification is {asked.before.value}; only one that is FAILED or "
                "RETRY_PENDING can be sent again"
            )
        self._metrics.notifications_requeued.inc()
        log.info("notification requeued", notification=message_id)
        self._send_now(asked.target)
        self._wake_reminders()

    async def acknowledge(self, incident_id: str, by: str) -> None:
        """Stop repeating an incident that is on. Raises ``NotFound`` and ``Conflict``.

        Doing it again changes nothing.
        """
        before = await self._incidents.acknowledge(incident_id, by, self._now_us())
        if before is None:
            raise NotFound(f"there is no incident with the id {incident_id[:100]!r}")
        if before.ended_us is not None:
            raise Conflict("the incident has ended; there is nothing to acknowledge")
        if before.acked_us is None:
            log.info("incident acknowledged", incident=incident_id, by=by)
            self._wake_reminders()

    async def silence(self, silence: Silence) -> Silence:
        """Add a silence; its id and its time of making are given here.

        Raises ``InvalidInput`` and ``Conflict``.
        """
        now_us = self._now_us()
        if problems := silence_problems(silence, now_us):
            raise InvalidInput(problems)
        self._policy.forget_silences(now_us)
        if len(self._policy.silences()) >= MAX_SILENCES:
            text = f"there are {MAX_SILENCES} silences already; expire one first"
            raise Conflict(text, Limit.SILENCES)
        new_id = str(uuid.UUID(int=self._random_bits(128), version=4))
        added = msgspec.structs.replace(silence, id=new_id, created_us=now_us)
        with trio.CancelScope(shield=True):  # memory and disk must not differ
            await self._silences.put(added)
        self._policy.put_silence(added)
        log.info("silence added", silence=new_id, by=added.created_by)
        return added

    async def expire_silence(self, silence_id: str) -> Silence:
        """End a silence now; what still fires is told. Raises ``NotFound``."""
        with trio.CancelScope(shield=True):
            ended = await self._silences.expire(silence_id, self._now_us())
        if ended is None:
            raise NotFound(f"there is no silence with the id {silence_id[:100]!r}")
        self._policy.put_silence(ended)
        log.info("silence ended", silence=silence_id)
        self._look_again()  # also at what is being decided just now
        return ended
