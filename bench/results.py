"""The figures that a run of the benchmark finds, as plain data: what ``--json`` writes.

Owns the names and units of every figure and how one is drawn from many (nearest-rank
percentiles, best and median of rounds). Leaves measuring to the workloads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct


class Percentiles(Struct, frozen=True):
    """Of a number of waiting times, in milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class Round(Struct, frozen=True):
    """One stretch of load. The daemon is idle before it and has judged everything at its end."""

    events: int
    """Accepted: durable and judged."""
    requests: int
    seconds: float
    """From the first byte sent until the last event was judged."""
    request: Percentiles
    daemon_cpu_s: float
    client_cpu_s: float
    other_cpu_s: float
    """What everything else on the machine used meanwhile, the kernel's own threads included."""
    stolen_cpu_s: float
    """What the host took from a virtual machine while it had work to do."""

    @property
    def events_per_s(self) -> float:
        """Accepted and judged, in a second of wall time."""
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        """The daemon's CPU seconds for a million events."""
        return self.daemon_cpu_s / self.events * 1e6


class InRounds(Struct, frozen=True):
    """What was measured several times, because a machine is never quite alone."""

    rounds: tuple[Round, ...]

    @property
    def median(self) -> Round:
        """The round in the middle by events a second; the lower of two."""
        by_rate = sorted(self.rounds, key=lambda each: each.events_per_s)
        return by_rate[(len(by_rate) - 1) // 2]


class IngestFigures(InRounds, frozen=True, kw_only=True):
    """One workload of events against one daemon."""

    workload: str
    idle_bytes: int
    """Resident memory of the started daemon before the first event."""
    peak_bytes: int
    """Greatest resident memory until the end of the last round."""
    stored_bytes_per_event: float
    """Size of the store, snapshots apart, after the orderly end, over all events it took."""

    @property
    def best(self) -> Round:
        """The round with the most events a second."""
        return max(self.rounds, key=lambda each: each.events_per_s)


class LineFigures(InRounds, frozen=True, kw_only=True):
    """Lines over sockets, one way of sending them.

    The requests of its rounds are writes, and wait until all their lines are acknowledged.
    """

    case: str


class RivalFigures(InRounds, frozen=True, kw_only=True):
    """Events taken by one program in one form, while others took the same in turn."""

    name: str
    form: str
    batch_events: int
    idle_bytes: int
    """Of its process, before the first event …"""
    peak_bytes: int
    """… and at most, in all forms."""
    stored_bytes_per_event: float
    """What it has on disk after an orderly end, over all events that it took in any form."""
    times_rivals: dict[str, float]
    """How many times as many events a second as each rival, by its name and form."""


class LatencyFigures(Struct, frozen=True):
    """From the POST of the event that breaches to the arrival of its webhook."""

    events_per_s: float
    """That others send meanwhile."""
    pause_ms: float
    """Between the arrival of one and the event of the next. Without a pause, the daemon is still
    recording that the one arrived: the next one's commits stand behind that."""
    alerts: int
    alert: Percentiles


class EngineFigures(Struct, frozen=True):
    """CPU time of ``Engine.step`` for an event, in this process."""

    case: str
    traffic: str
    """``quiet``, where no value reaches the threshold, or ``hot``, where all of them do."""
    us_per_event: float
    us_per_new_series: float | None = None
    """What the first event of a series costs; only where it is of interest."""


class Point(Struct, frozen=True):
    """A point of a curve."""

    size: int
    us_per_event: float


class Curve(Struct, frozen=True):
    """What an event costs the engine, in CPU time, as one thing grows."""

    case: str
    varied: str
    """What ``size`` is the number of: events in the ``window``, the ``buffer`` or a ``batch``,
    ``series``, or ``other rules``, which do not match."""
    points: list[Point]


class MemoryFigures(Struct, frozen=True):
    """What one (rule, group) state costs, and one buffered event, in resident memory."""

    case: str
    states: int
    """How many were made."""
    bytes_per_state: float
    """With one event in it."""
    bytes_per_full_state: float | None = None
    """With a window full of events, these apart."""
    bytes_per_event: float | None = None
    process_bytes: int | None = None
    """Of the whole process; only where it is of interest."""


class StorageFigures(Struct, frozen=True):
    """What it costs to keep and read back the events of one workload."""

    workload: str
    series: int
    events: int
    unfolded_bytes_per_event: float
    folded_bytes_per_event: float
    """The whole file after VACUUM, labels and indexes included."""
    fold_cpu_s_per_million: float
    fold_s_per_million: float
    """Rests included."""
    replayed_events_per_s: float
    """Out of segments, up to where the engine would begin."""
    read: Percentiles
    """Of a read of one series over a day."""


class WaitFigures(Struct, frozen=True):
    """How long appends of 1000 events each take until they are durable."""

    beside: str
    """What else the store is doing."""
    appends: int
    append: Percentiles
    behind_others: Percentiles
    """How much of that the writer was held by other work, or by a checkpoint."""
    longest_other: str
    """What held the writer for longest, but for appends,"""
    longest_other_ms: float
    """and for how long."""


class StormFigures(Struct, frozen=True):
    """What a sender of single events notices when many groups fire in one batch."""

    groups: int
    before: Percentiles
    during: Percentiles
    p99_ratio: float
    messages: float
    """That tell of one storm."""
    lost: int
    """Incidents that nobody was told."""
    repeated: int
    bytes_a_group: float
    """Growth of the resident memory."""


class ReadFigures(Struct, frozen=True):
    """How long a page of stored events takes, over HTTP."""

    asked: str
    stored_events: int
    limit: int
    """Of the page."""
    reads: int
    page: Percentiles
    """From the request to the last byte of the answer."""


class ReplayFigures(Struct, frozen=True):
    """How fast a log is recovered from without a snapshot; its series have a rule each."""

    traffic: str
    """Real traces; ``quiet``, where every group sleeps; ``loud``, where each fires and every event
    is beyond the threshold; or ``hot``, where values lie about it."""
    series: int
    events: int
    incidents: int
    """That are found on the way."""
    events_per_s: float
    events_per_cpu_s: float


class StallFigures(Struct, frozen=True):
    """Who waits, and for how long, while batches of 1000 events are judged."""

    beside: str
    """What else is going on."""
    groups: int
    judging: Percentiles
    """From the moment a batch is there until it has been judged."""
    loop: Percentiles
    """By how much a sleep of 1 ms is late."""


class HostileFigures(Struct, frozen=True):
    """What good requests wait for, with and without others who do their worst."""

    slow_clients: int
    flooding_connections: int
    quiet: Percentiles
    hostile: Percentiles

    @property
    def p99_ratio(self) -> float:
        """How many times longer the slowest hundredth waits."""
        return self.hostile.p99_ms / self.quiet.p99_ms


class Machine(Struct, frozen=True):
    """Where the figures were made."""

    processor: str
    cores: int
    python: str
    kernel: str
    filesystem: str
    """Of the folder that holds the store."""
    load_average: float
    """Of the minute before the run: what else was going on."""


class StartFigures(Struct, frozen=True):
    """How a daemon starts, and how large it is before anything is asked of it."""

    case: str
    starts: int
    ready: Percentiles
    """From the start of the process until it takes events."""
    cpu_s: float
    """What it has used by then; the median."""
    idle_bytes: int
    """Resident memory a second later; the greatest."""
    first_answer: Percentiles
    """Of the first request that needs the web framework."""
    asked_bytes: int
    """Resident memory after it; the greatest."""


class Results(Struct, frozen=True):
    """A whole run."""

    machine: Machine
    seconds: dict[str, float]
    """For how long each part was measured."""
    ingest: tuple[IngestFigures, ...]
    lines: tuple[LineFigures, ...]
    rivals: tuple[RivalFigures, ...]
    latency: tuple[LatencyFigures, ...]
    hostile: tuple[HostileFigures, ...]
    starts: tuple[StartFigures, ...]
    engine: tuple[EngineFigures, ...]
    curves: tuple[Curve, ...]
    memory: tuple[MemoryFigures, ...]
    storage: tuple[StorageFigures, ...]
    waits: tuple[WaitFigures, ...]
    storms: tuple[StormFigures, ...]
    reads: tuple[ReadFigures, ...]
    replays: tuple[ReplayFigures, ...]
    stalls: tuple[StallFigures, ...]


def percentiles(waits_s: Sequence[float]) -> Percentiles:
    """Return the percentiles (nearest rank) of at least one waiting time in seconds."""
    ordered = sorted(waits_s)

    def at(share: float) -> float:
        return 1000 * ordered[math.ceil(share * len(ordered)) - 1]

    return Percentiles(at(0.50), at(0.99), at(1.0))
