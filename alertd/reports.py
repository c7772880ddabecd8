"""What the daemon says about itself: the forms of ``/api/status`` and of a reload.

Owns the fields. Leaves their values to ``status.py`` and ``reload.py``.
"""

from __future__ import annotations

from msgspec import Struct

from alertd.clock import Timestamp
from alertd.upkeep.limit_watch import ObservedGap, Refusal
from alertd.upkeep.recovery import RejectedSnapshot


class QueueStatus(Struct, rename="camel"):
    """What waits where."""

    events: int
    """Accepted, not yet durable."""
    transactions: int
    """Handed to the writer of the store, not yet done."""
    notifications: int
    """Not yet delivered or given up."""


class StoreStatus(Struct, rename="camel"):
    """What is on disk."""

    path: str
    """The database."""
    size_bytes: int
    """Of the database."""
    free_bytes: int
    """Of ``sizeBytes``, for what comes; what is far beyond is given back to the file system."""
    wal_bytes: int
    """Size of the write-ahead log beside the database."""
    unfolded_events: int
    """In the log, as they came; older ones are in segments."""
    oldest_event: Timestamp | None
    """Time of the oldest event that is kept as it came; what is older is summed up by minute."""


class RecoveryStatus(Struct, rename="camel"):
    """How the present state was found at start."""

    snapshot_position: int
    """Position in the log of the snapshot that was used; 0 for none."""
    rejected_snapshots: tuple[RejectedSnapshot, ...]
    """Newer ones that were damaged or not to be read: the state was found without them."""
    replayed_entries: int
    """Entries of the log behind that position, judged again."""
    replayed_events: int
    """Events in them."""


class FlappingStatus(Struct, rename="camel"):
    """The incidents of one rule and group change state so often that only that is told."""

    rule_id: str
    """The rule."""
    rule_name: str | None
    """Its name; null if there is no such rule any more."""
    group_labels: dict[str, str]
    """The group."""
    since: Timestamp
    """From when on only that is told."""
    changes: int
    """Of state, those that made it flap included."""
    stable_at: Timestamp
    """When what holds then is told, if nothing changes until then."""


class FailingChannel(Struct, frozen=True, rename="camel"):
    """A receiver that has taken nothing since it refused a message."""

    channel: str
    """Name of a configured channel, or the type of one that a rule names by its endpoint."""
    endpoint: str | None
    """Where that is, without what may be secret; null for a configured channel."""
    since: Timestamp
    """From when on it has taken nothing; after a restart, as far as is known."""
    waiting: int
    """Messages that wait for it."""
    last_error: str
    """Why the last attempt failed."""


class RuleError(Struct, frozen=True, rename="camel"):
    """A rule that cannot do what it says."""

    rule_id: str
    """The rule."""
    rule_name: str
    """Its name."""
    message: str
    """What is wrong, and what to mend."""


class Warned(Struct, frozen=True):
    """What works, and is most likely not meant."""

    path: str
    """JSON pointer (RFC 6901) into the rule or silence; of the configuration ``FILE:LINE``."""
    message: str
    """Why, and what to do."""


class Mistake(Struct, frozen=True):
    """Why a reload was refused."""

    path: str
    """``FILE:LINE``; empty where no line of the files is to blame."""
    message: str
    """What is wrong, and what to mend."""


class ReloadRefusal(Struct, frozen=True, rename="camel"):
    """A reload that changed nothing."""

    at: Timestamp
    """When it was tried."""
    errors: tuple[Mistake, ...]
    """What it was refused for; at most 100."""
    error_count: int
    """How many there are."""


class ConfigurationStatus(Struct, frozen=True, rename="camel"):
    """What the daemon runs on, and whether it is what is in the files."""

    applied_at: Timestamp
    """When that was: at the start, or by the last reload that was not refused."""
    warnings: tuple[Warned, ...]
    """What the files say that is most likely not meant, with the rules that there are; at most
    100. A change of rules is considered some seconds later."""
    warning_count: int
    """How many there are."""
    refused: ReloadRefusal | None = None
    """The last reload, if it was refused: the daemon runs on what was applied before, and the files
    may keep it from starting again. Null where the last one was applied."""


class StatusReport(Struct, rename="camel"):
    """How the daemon is doing."""

    version: str
    """Of alertd."""
    ready: bool
    """Whether events can be taken and made durable."""
    reason: str | None
    """Why not."""
    started_at: Timestamp
    """When the daemon started."""
    uptime_secs: float
    """Seconds since then."""
    now: Timestamp
    """By the daemon's clock."""
    lag_secs: float
    """For how long the oldest event that no rule has judged yet has waited."""
    watermark: Timestamp
    """Everything that was received up to this moment has been judged."""
    applied_position: int
    """Position in the log up to which effects are recorded."""
    rules: int
    """How many there are, paused ones too."""
    series: int
    """How many are known."""
    groups: int
    """Groups of rules held in memory."""
    dropped_groups: int
    """Groups forgotten because they were quiet for ``groupTtlSecs``, since the state began."""
    cold_rules: list[str]
    """Ids of rules whose windows were not filled from the store when they became active, at
    most 100 of them; ``/metrics`` has their number."""
    overdue_events: int
    """Events older than the lateness of a rule that sees them, since the state began."""
    overdue_groups: int
    """Groups whose past waits to be judged again because of them."""
    configuration: ConfigurationStatus
    """What was found in what is applied, and why what is in the files now was not."""
    rule_errors: list[RuleError]
    """Rules of files that are left out because a rule made over HTTP has their name, and rules
    that name a channel which is not configured; at most 100."""
    refusals: list[Refusal]
    """Limits that are reached, and whom they keep out."""
    observed_gaps: list[ObservedGap]
    """Rules whose senders push less often than the rule's ``allowedLatenessSecs``."""
    flapping: list[FlappingStatus]
    """Groups whose incidents change too often to be told one by one; at most 100."""
    queues: QueueStatus
    """What waits where."""
    failed_notifications: int
    """Messages that were given up; ``GET /api/notifications?status=FAILED`` lists them."""
    failing_channels: list[FailingChannel]
    """Those that take nothing now and for which messages wait, the longest first; at most 20."""
    store: StoreStatus
    """What is on disk."""
    snapshot_position: int
    """Position in the log of the newest snapshot."""
    snapshot_at: Timestamp | None
    """When it was taken; null if none was since the start."""
    recovery: RecoveryStatus
    """How the present state was found at start."""


class Changes(Struct, frozen=True):
    """What a reload did to rules, or to channels."""

    added: tuple[str, ...]
    """Names of what came."""
    changed: tuple[str, ...]
    """Names of what is another than before."""
    removed: tuple[str, ...]
    """Names of what went."""


class ReloadReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a reload did."""

    rules: Changes
    """Those that stand in files."""
    channels: Changes
    """Those that are configured."""
    tokens: Changes
    """Those that are configured."""
    policies: tuple[str, ...]
    """Sections about who is told what and when that are others than before, and apply now."""
    at_next_start: tuple[str, ...]
    """Sections that are not as they were at start, and take effect at the next one only."""
    warnings: tuple[Warned, ...]
    """What the files say that is most likely not meant; at most 100."""
    warning_count: int
    """How many there are."""
