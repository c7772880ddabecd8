"""Is what is stored whole? Everything in a database is read and decoded once.

Owns the list of what must hold: SQLite finds its structure sound, no row refers to one that is
not there, every entry of the log decodes and none is missing between two others, series, rules,
rollups and messages decode, and the rules are those that the log made. Invariant: it changes
nothing, and it reads through the same code as the daemon does.

Cost: the whole file is read twice, some 100 MB/s. A daemon may go on writing meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import trio
from msgspec import Struct

from alertd.blocking import Threads
from alertd.rules import RuleChange, RuleRecord
from alertd.store.carried import carried_position
from alertd.store.envelope import BadEntry
from alertd.store.event_log import LogReader
from alertd.store.existing import Progress, WalGuard, guarded, opened, refuse_other_schema, silent
from alertd.store.failures import StoreCorrupt
from alertd.store.protocols import LogEntry
from alertd.store.readers import Readers
from alertd.store.rollup_codec import decode_rollups
from alertd.store.rollups import rollups_of_id_behind
from alertd.store.rule_reads import read_rules

MAX_FINDINGS: Final = 20

_BAD_ROWS: Final = (
    ("incidents", "id", "NOT json_valid(group_labels)", "its group labels are no JSON"),
    ("notifications", "id", "NOT json_valid(view)", "its view of the incident is no JSON"),
    (
        "notifications",
        "id",
        "message_seq NOT IN (SELECT seq FROM messages)",
        "the message that tells it is not there",
    ),
    ("request_keys", "seq", "NOT json_valid(answer)", "its answer is no JSON"),
)


class CheckReport(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a check found. ``findings`` is empty for a sound database."""

    path: str
    schema: int
    entries: int
    events: int
    series: int
    rules: int
    snapshot_position: int | None = None
    """Of the snapshot that it carries: only a backup does."""
    events_behind_snapshot: int | None = None
    """Behind that position; None if there is none."""
    findings: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def replayed_events(self) -> int:
        """How many events a start replays: all of them where no snapshot is carried."""
        behind = self.events_behind_snapshot
        return self.events if behind is None else behind


def check_store(path: Path, on_progress: Progress = silent) -> CheckReport:
    """Read everything in the database at ``path`` and say what is wrong with it.

    Raises ``StoreOpenError`` if it cannot be read at all, and ``TookTooLong``.
    """
    try:
        schema, findings = _check_structure(path, on_progress)
    except StoreCorrupt as error:  # so damaged that SQLite gives up on it
        return CheckReport(
            path=str(path), schema=0, entries=0, events=0, series=0, rules=0,
            findings=(error.finding,),
        )  # fmt: skip
    contents = _Contents(path)
    if not findings:
        trio.run(contents.check, on_progress)
    carried = contents.snapshot_position
    return CheckReport(
        path=str(path),
        schema=schema,
        entries=contents.entries,
        events=contents.events,
        series=contents.series,
        rules=len(contents.rules),
        snapshot_position=carried,
        events_behind_snapshot=None if carried is None else contents.events_behind_snapshot,
        findings=(*findings, *contents.findings)[:MAX_FINDINGS],
    )


def check_structure(
    connection: apsw.Connection, path: Path, on_progress: Progress = silent
) -> list[str]:
    """Return what SQLite itself finds wrong with a database."""
    what = "checking the structure"
    with guarded(connection, WalGuard(path, "check the structure"), on_progress, what):
        found = connection.execute(f"PRAGMA integrity_check({MAX_FINDINGS})").fetchall()
        findings = [f"structure: {text}" for (text,) in found if text != "ok"]
        orphans = connection.execute("PRAGMA foreign_key_check")
        findings += [
            f"{table}: {'a row' if row is None else f'row {row}'} refers to nothing in {to}"
            for table, row, to, _ in islice(orphans, MAX_FINDINGS)
        ]
    return findings


def _check_structure(path: Path, on_progress: Progress) -> tuple[int, list[str]]:
    with opened(path, "check the database") as connection:
        schema = refuse_other_schema(connection, path)
        findings = check_structure(connection, path, on_progress)
        if not findings:
            findings = list(_bad_rows(connection))
        return schema, findings


def _bad_rows(connection: apsw.Connection) -> Iterator[str]:
    for table, key, is_bad, what in _BAD_ROWS:
        rows = connection.execute(
            f"SELECT {key} FROM {table} WHERE {is_bad} LIMIT {MAX_FINDINGS}"  # noqa: S608  # constants
        )
        yield from (f"{table}: {row}: {what}" for (row,) in rows)


class _Contents:
    """What a walk over everything that has to be decoded has seen so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = 0
        self.events = 0
        self.series = 0
        self.rules: list[RuleRecord] = []
        self.snapshot_position: int | None = None
        self.events_behind_snapshot = 0
        self.findings: list[str] = []
        self._first: int | None = None
        self._made: dict[str, RuleRecord] = {}

    async def check(self, on_progress: Progress) -> None:
        readers = Readers(self._path, Threads())
        read = partial(readers.run, "read the rules", partial(read_rules, str(self._path)))
        try:
            self.rules = await read()
            self.snapshot_position = await readers.run("read its snapshot", carried_position)
            await self._check_log(LogReader(readers, str(self._path)), on_progress)
            if self.rules == await read():  # nobody changed them meanwhile
                self._compare_rules()
            await self._check_rollups(readers)
        except StoreCorrupt as error:
            self.findings.append(error.finding)
        finally:
            readers.close()

    async def _check_log(self, log: LogReader, on_progress: Progress) -> None:
        """Walk to the end that the log has now: a daemon may go on appending."""
        end = (await log.end()).position
        self.series = len(await log.all_series())
        async for entry in log.replay(0):
            if entry.position > end:
                break
            self._see(entry)
            on_progress("decoding the log", entry.position, end)

    async def _check_rollups(self, readers: Readers) -> None:
        """Decode the rollups, a block at a time."""
        after = 0
        while block := await readers.run("read rollups", partial(rollups_of_id_behind, after)):
            after, body = block
            try:
                numbers = [run.series_id for run in decode_rollups(body)]
            except (BadEntry, IndexError) as error:
                self.findings.append(f"rollups {after}: {error}")
            else:
                if max(numbers) >= self.series:
                    self.findings.append(f"rollups {after} are about an unknown series")

    def _see(self, entry: LogEntry) -> None:
        self.entries += 1
        if self._first is None:
            self._first = entry.position
        body = entry.body
        if isinstance(body, RuleChange):
            for rule_id in body.deleted:
                self._made.pop(rule_id, None)
            self._made.update((record.id, record) for record in body.put)
            return
        self.events += len(body)
        if entry.position > (self.snapshot_position or 0):
            self.events_behind_snapshot += len(body)
        if max(body.series_ids) >= self.series:
            self.findings.append(f"event_log entry {entry.position} is about an unknown series")

    def _compare_rules(self) -> None:
        """Hold the rules against those that the log made. What retention removed may have more."""
        for record in self.rules:
            made = self._made.pop(record.id, None if self._first in (None, 1) else record)
            if made != record:
                self.findings.append(f"rules: {record.id} is not what the log made it")
        self.findings += [f"rules: {missing} is in the log only" for missing in self._made]
