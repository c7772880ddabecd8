"""The rules as they are now, and every way to change them.

Owns the current set of rules in memory, the uniqueness of names, versions, and who may change
what: a rule that stands in a file is changed there. Each change goes through the pipeline, so
it has its place in the log among the events. Leaves the form of a rule to ``rules.py``.

Invariant: what ``all`` returns is what the engine judges by, up to a change on its way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
import trio

from alertd.channels.annotations import check_rule
from alertd.errors import Conflict, InvalidInput, NotFound, Problem, VersionMismatch
from alertd.limits import MAX_RULES, Limit
from alertd.rule_checks import RuleSetting, is_known
from alertd.rules import RuleRecord, RuleSpec, Source

log = structlog.get_logger(__name__)


class RuleRoad(Protocol):
    """How a change of rules reaches the store and the engine: the pipeline."""

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Make the change durable and judge by it."""
        ...


class FileRule(Protocol):
    """A rule as a file has it."""

    @property
    def id(self) -> str:
        """The rule's id, which follows its name."""

    @property
    def spec(self) -> RuleSpec:
        """What the file says."""

    @property
    def file(self) -> Path:
        """The file that it stands in."""

    @property
    def line(self) -> int:
        """The line at which it begins."""


class RuleBook:
    """All rules, by id and by name. One change at a time."""

    def __init__(
        self,
        records: Iterable[RuleRecord],
        road: RuleRoad,
        now_us: Callable[[], int],
        setting: Callable[[], RuleSetting],
        states: Callable[[str], Mapping[str, int]],
        new_id: Callable[[], uuid.UUID] = uuid.uuid4,
    ) -> None:
        self._records = {record.id: record for record in records}
        self._road = road
        self._now_us = now_us
        self._setting = setting
        self._states = states
        self._new_id = new_id
        self._places: dict[str, str] = {}
        self._changing = trio.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def all(self) -> list[RuleRecord]:
        """Return every rule, by name."""
        return sorted(self._records.values(), key=lambda record: record.spec.name)

    def get(self, rule_id: str) -> RuleRecord:
        """Return a rule. Raises ``NotFound``."""
        try:
            return self._records[rule_id]
        except KeyError:
            raise NotFound(f"there is no rule with the id {rule_id!r}") from None

    def state(self, rule_id: str) -> Mapping[str, int]:
        """Return how many groups of a rule are ok, pending, firing and without data."""
        return self._states(rule_id)

    async def create(self, spec: RuleSpec) -> RuleRecord:
        """Add a rule. Raises ``InvalidInput`` and ``Conflict`` (the name is taken)."""
        async with self._changing:
            check_rule(spec, self._setting())
            self._require_free_name(spec.name, but=None)
            if len(self._records) >= MAX_RULES:
                raise Conflict(
                    f"there are {MAX_RULES} rules already; delete one first", Limit.RULES
                )
            now_us = self._now_us()
            record = RuleRecord(
                id=str(self._new_id()),
                version=1,
                source=Source.API,
                created_us=now_us,
                updated_us=now_us,
                spec=spec,
            )
            await self._apply(put=(record,))
            return record

    async def replace(self, rule_id: str, spec: RuleSpec, *, if_version: int | None) -> RuleRecord:
        """Edit a rule. Raises what ``create`` does, ``NotFound`` and ``VersionMismatch``."""
        async with self._changing:
            record = self._require_editable(rule_id, if_version)
            check_rule(spec, self._setting())
            self._require_free_name(spec.name, but=rule_id)
            edited = msgspec.structs.replace(
                record, version=record.version + 1, updated_us=self._now_us(), spec=spec
            )
            await self._apply(put=(edited,))
            return edited

    async def delete(self, rule_id: str, *, if_version: int | None) -> None:
        """Delete a rule. Raises ``NotFound``, ``Conflict`` and ``VersionMismatch``."""
        async with self._changing:
            self._require_editable(rule_id, if_version)
            await self._apply(deleted=(rule_id,))

    def name_of(self, rule_id: str) -> str | None:
        """Return the name of a rule, None if there is no such rule any more."""
        record = self._records.get(rule_id)
        return None if record is None else record.spec.name

    def missing_channels(self) -> Iterator[tuple[RuleRecord, str]]:
        """Yield each rule that names a channel which is not configured, and the channel."""
        known = self._setting().known_channels
        for record in self.all():
            for target in record.spec.targets:
                if not is_known(target, known):
                    yield record, target.channel

    def check_files(self, file_rules: Iterable[FileRule]) -> None:
        """Raise ``Conflict`` if a file takes the name of a rule that was made over HTTP."""
        for rule in file_rules:
            self._require_free_name(rule.spec.name, but=rule.id, place=_place(rule))

    async def take_files(self, file_rules: Iterable[FileRule]) -> tuple[int, int]:
        """Make the rules from files those of ``file_rules``; return how many changed and went.

        A rule that no edit touched is left alone; a rule made over HTTP that has lost its channel
        is named in the log. Raises ``Conflict`` as ``check_files`` does;
        nothing is changed then.
        """
        async with self._changing:
            wanted = {rule.id: rule for rule in file_rules}
            self.check_files(wanted.values())
            put = tuple(
                self._from_file(rule)
                for rule in wanted.values()
                if (known := self._records.get(rule.id)) is None or known.spec != rule.spec
            )
            deleted = tuple(
                record.id
                for record in self._records.values()
                if record.source is Source.TOML and record.id not in wanted
            )
            if put or deleted:
                await self._apply(put=put, deleted=deleted)
            self._places = {rule.id: _place(rule) for rule in wanted.values()}
            self._warn_of_missing_channels()
            return len(put), len(deleted)

    def _warn_of_missing_channels(self) -> None:
        """Name the rules made over HTTP whose channel the configuration no longer has."""
        for record, channel in self.missing_channels():
            log.warning(
                "a rule names a channel that is not configured; what it tells there waits for it",
                rule=record.spec.name,
                channel=channel,
            )

    def _from_file(self, rule: FileRule) -> RuleRecord:
        now_us, known = self._now_us(), self._records.get(rule.id)
        return RuleRecord(
            id=rule.id,
            version=1 if known is None else known.version + 1,
            source=Source.TOML,
            created_us=now_us if known is None else known.created_us,
            updated_us=now_us,
            spec=rule.spec,
        )

    def _require_editable(self, rule_id: str, if_version: int | None) -> RuleRecord:
        record = self.get(rule_id)
        if record.source is Source.TOML:
            place = self._places.get(rule_id, "the configuration")
            raise Conflict(
                f"the rule {record.spec.name!r} stands in {place}; edit it there and reload"
            )
        if if_version is not None and if_version != record.version:
            raise VersionMismatch(
                f"the rule has version {record.version}, not {if_version}; read it again and "
                "repeat your change"
            )
        return record

    def _require_free_name(self, name: str, *, but: str | None, place: str = "") -> None:
        for record in self._records.values():
            if record.spec.name == name and record.id != but:
                if place:
                    raise Conflict(
                        f"{place}: the name {name!r} belongs to a rule that was made over HTTP "
                        f"({record.id}); rename one or delete that"
                    )
                raise InvalidInput(
                    [Problem("/name", f"{name!r} is the name of the rule {record.id} already")]
                )

    async def _apply(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        with trio.CancelScope(shield=True):  # a client that leaves must not split memory from disk
            await self._road.change_rules(put=put, deleted=deleted)
        for rule_id in deleted:
            del self._records[rule_id]
        for record in put:
            self._records[record.id] = record


def _place(rule: FileRule) -> str:
    return f"{rule.file}:{rule.line}"
