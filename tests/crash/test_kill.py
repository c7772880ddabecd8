"""Killed again and again under load, alertd loses nothing, invents nothing, and tells everything.

Real daemons, started as a user starts them and ended by SIGKILL at random moments, some while they
start: clients send plain events, events with ids and requests with a key, late and overdue ones
among them; someone edits rules; alerts fire and resolve; snapshots are taken and the log is folded
all the time; a receiver is slow and fails at times. Afterwards everything is held against what was
acknowledged, against the same log run without a crash, and against brute force.

``ALERTD_CRASH_CYCLES`` says how often it is killed, ``ALERTD_CRASH_SEED`` what is sent and when;
the seed is printed. (Which instruction a kill meets is the machine's choice.)
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alertd.store.check import check_store
from tests.crash.author import Author
from tests.crash.receiver import FlakyReceiver, flaky_receiver
from tests.crash.senders import METRICS, Point, Sender
from tests.crash.undisturbed import Found, found_in, undisturbed
from tests.e2e.brute_force import Event, incidents
from tests.e2e.daemon import Daemon, to_us

CYCLES = int(os.environ.get("ALERTD_CRASH_CYCLES", "20"))
SEED = int(os.environ.get("ALERTD_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 10**9)
SENDERS = 3
CONCURRENCY = 4
LOAD_S = (0.02, 0.45)
"""For how long a daemon is under load before it is killed."""
KILLED_WHILE_STARTING = 0.1
"""How many daemons do not get as far as that."""
EDITED_EVERY = 3
"""One daemon of so many lives until a rule was edited once more, however long that takes."""
EDITED_WITHIN_S = 60
BUCKET_LATENESS_S = 3
SETTLED_WITHIN_S = 180
"""Lives are short: what they had no time to tell is told then."""

RULES: dict[str, dict[str, Any]] = {
    "errors come often": {
        "type": "SIMPLE_COUNT", "metricName": "errors", "threshold": 12,
        "windowDurationSecs": 0.2, "allowedLatenessSecs": 30,
    },
    "it is slow": {
        "type": "MOVING_WINDOW", "metricName": "latency", "aggregate": "p90", "threshold": 180,
        "windowDurationSecs": 0.5, "forSecs": 0.02, "keepFiringSecs": 0.3,
        "allowedLatenessSecs": 30,
    },
    "the load is high": {
        "type": "BUCKETED_WINDOW", "metricName": "load", "aggregate": "sum", "threshold": 1500,
        "windowDurationSecs": 1, "bucketIntervalSecs": 0.5,
        "allowedLatenessSecs": BUCKET_LATENESS_S,
    },
    "overdue": {
        "type": "SIMPLE_COUNT", "metricName": "overdue", "threshold": 3,
        "windowDurationSecs": 1, "allowedLatenessSecs": 0.5,
    },
}  # fmt: skip

CONFIG = """
[store]
fold_after_events = 100
[engine]
snapshot_interval_secs = 0.1
reconcile_interval_secs = 0.3
[notify]
flapping_changes = 0
concurrency_per_channel = {concurrency}
group_interval_secs = 0.1
retry_first_secs = 0.05
retry_max_secs = 0.2
[channels.hook]
type = "webhook"
url = "{url}"
"""


def configuration(receiver: str) -> str:
    """Return the rules and the rest as TOML."""
    text = CONFIG.format(url=receiver, concurrency=CONCURRENCY)
    for name, rule in RULES.items():
        text += f'[[rules]]\nname = "{name}"\ngroup_by = ["source"]\nnotifications = ["hook"]\n'
        for key, value in rule.items():
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in key)
            text += f"{snake} = {json.dumps(value)}\n"
    return text


@dataclass(frozen=True)
class Aftermath:
    """What was done to a store, and what it says after the last restart."""

    senders: Sequence[Sender]
    author: Author
    receiver: FlakyReceiver
    kills: int
    warnings: Counter[str]
    """Lines of the log, over all lives, that are no information."""
    stored: list[Point]
    """What ``GET /api/events`` returned."""
    items: list[dict[str, Any]]
    """The history."""
    found: Found
    expected: Found
    database: Path

    @property
    def acknowledged(self) -> list[Point]:
        return [point for sender in self.senders for point in sender.acknowledged]

    @property
    def told_twice(self) -> int:
        """How many messages the receiver took once more than it needed to."""
        return self.receiver.taken.total() - len(self.receiver.taken)

    @property
    def summary(self) -> str:
        repeated = sum(sender.repeated for sender in self.senders)
        return (
            f"{self.kills} kills: {len(self.acknowledged)} events acknowledged, "
            f"{repeated} requests sent again, {self.author.edits} edits of rules, "
            f"{len(self.items)} incidents, {len(self.receiver.taken)} messages, "
            f"{self.told_twice} of them twice"
        )

    def items_of(self, rule: str, source: str) -> list[dict[str, Any]]:
        return [
            item
            for item in self.items
            if item["ruleName"] == rule and item["groupLabels"] == {"source": source}
        ]


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    print(f"ALERTD_CRASH_SEED={SEED} ALERTD_CRASH_CYCLES={CYCLES}")  # noqa: T201  # to run it again
    folder = tmp_path_factory.mktemp("crash")
    chance = chance_of("kills")
    senders = [Sender(f"s{n}", chance_of(f"sender {n}")) for n in range(SENDERS)]
    author = Author(chance_of("author"))
    with flaky_receiver(SEED) as receiver:
        daemon = Daemon(folder, configuration(receiver.url()))
        warnings: Counter[str] = Counter()
        try:
            for number in range(CYCLES):
                is_edited = number % EDITED_EVERY == 0
                live_and_be_killed(daemon, chance, senders, author, is_edited=is_edited)
                warnings.update(worrying(daemon))
            daemon.start()
            settle(daemon, senders, author)
            stored, items = list(events_of(daemon)), daemon.history()
            daemon.stop()
            warnings.update(worrying(daemon))
        finally:
            if daemon.alive:
                daemon.kill()
        now_us = time.time_ns() // 1000
        database = folder / "state" / "alertd.db"
        aftermath = Aftermath(
            senders, author, receiver, CYCLES, warnings, stored, items,
            found_in(database), undisturbed(database, folder, now_us), database,
        )  # fmt: skip
        print(aftermath.summary)  # noqa: T201
        yield aftermath


def chance_of(part: str) -> random.Random:
    """Return random numbers that belong to one part of the test."""
    return random.Random(f"{SEED} {part}")  # noqa: S311  # a test


def live_and_be_killed(
    daemon: Daemon,
    chance: random.Random,
    senders: Sequence[Sender],
    author: Author,
    *,
    is_edited: bool,
) -> None:
    """One cycle."""
    daemon.launch()
    if chance.random() < KILLED_WHILE_STARTING and not is_edited:
        daemon.wait_for_log("starting")
        time.sleep(chance.uniform(0, 0.2))
        daemon.kill()
        return
    daemon.wait_until_ready()
    stop = threading.Event()
    threads = [
        threading.Thread(target=run, args=(daemon.url, stop))
        for run in (*(sender.run for sender in senders), author.run)
    ]
    for thread in threads:
        thread.start()
    edits, began_s = author.edits, time.monotonic()
    time.sleep(chance.uniform(*LOAD_S))
    while is_edited and author.edits == edits:
        assert time.monotonic() - began_s < EDITED_WITHIN_S, "nobody could edit a rule"
        time.sleep(0.001)
    daemon.kill()
    stop.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def settle(daemon: Daemon, senders: Sequence[Sender], author: Author) -> None:
    """Have everything answered, judged, reconciled and told."""
    author.compare(daemon.client)
    time.sleep(1.1)  # so that every window is empty but for the events that follow
    for sender in senders:
        sender.finish(daemon.url)
    wait_until_settled(daemon)


def wait_until_settled(daemon: Daemon) -> None:
    began_s = time.monotonic()
    while True:
        passed_s, status = time.monotonic() - began_s, daemon.get("/api/status")
        pending = daemon.get("/api/notifications", status="RETRY_PENDING", limit=1000)
        waiting = {
            "overdue groups": status["overdueGroups"],
            "messages": len(pending["items"]),
            "lag": status["lagSecs"],
        }
        if passed_s > BUCKET_LATENESS_S + 2 and not any(waiting.values()):
            return
        assert passed_s < SETTLED_WITHIN_S, waiting
        time.sleep(0.1)


def events_of(daemon: Daemon) -> Iterator[Point]:
    """Yield everything that is stored, as a user reads it."""
    for metric in METRICS:
        cursor: dict[str, Any] = {}
        while True:
            page = daemon.get("/api/events", metricName=metric, limit=1000, **cursor)
            for item in page["items"]:
                source, time_us = item["labels"]["source"], to_us(item["timestamp"])
                yield Point(metric, source, time_us, item["value"])
            if not page["nextCursor"]:
                break
            cursor = {"cursor": page["nextCursor"]}


EXPECTED_WARNINGS = {"notification not sent, will be retried"}


def worrying(daemon: Daemon) -> list[str]:
    """Return the events of its log that are no information."""
    quiet = {"debug", "info"}
    return [
        line["event"]
        for line in daemon.lines
        if line.get("level") not in quiet and line["event"] not in EXPECTED_WARNINGS
    ]


# ---- what must hold


def test_every_acknowledged_event_is_there_once_and_nothing_that_was_not_sent(
    after: Aftermath,
) -> None:
    stored = Counter(after.stored)
    assert len(after.acknowledged) > 20 * CYCLES
    lost = [point for point in after.acknowledged if stored[point] != 1]
    assert not lost
    uncertain = {point for sender in after.senders for point in sender.uncertain}
    assert stored.keys() - set(after.acknowledged) <= uncertain
    assert max(stored.values()) == 1


def test_every_answer_was_right_when_a_request_came_again_too(after: Aftermath) -> None:
    assert [problem for sender in after.senders for problem in sender.problems] == []
    if CYCLES >= 20:
        assert sum(sender.repeated for sender in after.senders) > 0


def test_every_acknowledged_edit_of_a_rule_is_there(after: Aftermath) -> None:
    assert after.author.problems == []
    assert after.author.edits >= CYCLES / EDITED_EVERY


def test_the_database_and_the_snapshots_are_sound(after: Aftermath) -> None:
    assert check_store(after.database).findings == ()
    assert after.warnings == {}


def test_the_incidents_are_those_of_a_run_without_a_crash(after: Aftermath) -> None:
    """But for what the reconciler found: when it looks is the wall clock's matter."""
    left_out = overdue_groups(after)

    def comparable(found: Found) -> dict[str, tuple[object, ...]]:
        return {
            id_: row for id_, row in found.incidents.items() if (row[1], row[3]) not in left_out
        }

    found, expected = comparable(after.found), comparable(after.expected)
    assert len(expected) > CYCLES
    assert {id_: row for id_, row in found.items() if expected.get(id_) != row} == {}
    assert found.keys() == expected.keys()


def overdue_groups(after: Aftermath) -> set[tuple[object, object]]:
    """Return the (rule id, group) that events came to after their lateness."""
    names = {item["ruleName"]: item["alertId"] for item in after.items}
    groups = {f'{{"source":"{sender.name}"}}' for sender in after.senders}
    return {
        (names[name], group)
        for name, rule in RULES.items()
        if rule["allowedLatenessSecs"] < 30 and name in names
        for group in groups
    }


def test_no_breach_is_missed(after: Aftermath) -> None:
    points = group_by_series(after.stored)
    checked = 0
    for name, rule in RULES.items():
        for sender in after.senders:
            series = points[rule["metricName"], sender.name]
            events = [Event(point.time_us, point.value) for point in series]
            breaches = merged(
                (each.started_us, each.ended_us)
                for each in incidents(rule, events, events[-1].time_us)
            )
            told = merged(
                (to_us(item["startedAt"]), item["endedAt"] and to_us(item["endedAt"]))
                for item in after.items_of(name, sender.name)
            )
            missed = [breach for breach in breaches if not is_covered(breach, told)]
            assert not missed, (name, sender.name)
            checked += len(breaches)
            if name == "errors come often":  # more events cannot end such a breach
                assert told == breaches, sender.name
    assert checked > CYCLES / 2


def group_by_series(points: Iterable[Point]) -> dict[tuple[str, str], list[Point]]:
    series = defaultdict(list)
    for point in sorted(points, key=lambda point: point.time_us):
        series[point.metric, point.source].append(point)
    return series


def merged(intervals: Iterable[tuple[int, int | None]]) -> list[tuple[int, float]]:
    """Return the union of half-open intervals; one that has not ended goes on for ever."""
    union: list[tuple[int, float]] = []
    for start, end in sorted((start, end or float("inf")) for start, end in intervals):
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((start, end))
    return union


def is_covered(interval: tuple[int, float], union: Sequence[tuple[int, float]]) -> bool:
    return any(start <= interval[0] and interval[1] <= end for start, end in union)


def test_every_firing_was_told_under_one_key_and_hardly_anything_twice(after: Aftermath) -> None:
    """What the receiver may have taken, that is: it has not what it refused."""
    receiver, found = after.receiver, after.found
    keys: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for key, body in receiver.seen.items():
        for incident in body["incidents"] if receiver.heard[key] else ():
            keys[incident["id"], incident["state"]].add(key)
    fired = {item["id"] for item in after.items}
    assert len(fired) > CYCLES
    assert {id_ for id_ in fired if not keys[id_, "firing"]} == set()
    assert {what for what, known in keys.items() if len(known) > 1} == set()
    assert receiver.changed == []
    assert set(found.messages.values()) == {"SUCCESS"}
    assert all(receiver.taken[key] for key in found.messages)
    assert after.told_twice <= after.kills * CONCURRENCY
