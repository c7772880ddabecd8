"""The rules as they are now, and every way to change them.

Owns the current set of rules in memory, the uniqueness of names, versions, and who may change
what: a rule that stands in a file is changed there. Each change goes through the pipeline, so
it has its place in the log among the events. Leaves the form of a rule to ``rules.py``.

A name belongs to who had it first. A file that takes the name of a rule made over HTTP is refused
by a reload. At a start there is nobody to refuse it to, and all other rules have to be judged: so
that one rule of the file is left out, loudly, and comes in as soon as the name is free.

Invariant: what ``all`` returns is what the engine judges by, up to a change on its way.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec
import structlog
import trio

from alertd.channels.annotations import check_rule
from alertd.channels.rule_warnings import rule_warnings
from alertd.config.clashes import clash_problem, clashes
from alertd.config.errors import ConfigConflict, ConfigProblem
from alertd.config.rules import TomlRule
from alertd.errors import Conflict, InvalidInput, NotFound, Problem, VersionMismatch
from alertd.limits import MAX_RULES, Limit
from alertd.rule_checks import ENDPOINT_TYPES, RuleSetting, is_known
from alertd.rules import RuleRecord, RuleSpec, Source

log = structlog.get_logger(__name__)


class RuleRoad(Protocol):
    """How a change of rules reaches the store and the engine: the pipeline."""

    async def change_rules(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Make the change durable and judge by it."""
        ...


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
        self._left_out: dict[str, TomlRule] = {}
        """Rules of files that wait for their name, by the id of the rule that has it."""
        self._changing = trio.Lock()
        self.changes = 0
        """How often rules have changed since the start."""

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

    def warnings(self, spec: RuleSpec) -> list[Problem]:
        """Return what a rule most likely does not mean; of most that is nothing."""
        return rule_warnings(spec, self._setting())

    def channel_names(self) -> frozenset[str]:
        """Return the channels that a rule may name, with those whose endpoint it names itself."""
        return self._setting().known_channels | ENDPOINT_TYPES

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
            if spec.name == record.spec.name:
                await self._apply(put=(edited,))
            else:
                await self._free_name(rule_id, put=(edited,))
            return edited

    async def delete(self, rule_id: str, *, if_version: int | None) -> None:
        """Delete a rule. Raises ``NotFound``, ``Conflict`` and ``VersionMismatch``."""
        async with self._changing:
            self._require_editable(rule_id, if_version)
            await self._free_name(rule_id, deleted=(rule_id,))

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

    def left_out(self) -> list[tuple[TomlRule, ConfigProblem]]:
        """Return each rule of a file that waits for its name, and why, with its place."""
        return [(rule, clash_problem(rule, owner)) for owner, rule in self._left_out.items()]

    def has_clashes(self, file_rules: Iterable[TomlRule]) -> bool:
        """Return whether files take names of rules that were made over HTTP."""
        return bool(clashes(file_rules, self._records.values()))

    def check_files(self, file_rules: Iterable[TomlRule]) -> None:
        """Raise ``ConfigConflict`` if files take names of rules that were made over HTTP."""
        found = clashes(file_rules, self._records.values())
        if found:
            raise ConfigConflict([clash_problem(rule, owner) for owner, rule in found.items()])

    async def take_files(
        self, file_rules: Iterable[TomlRule], *, leave_out: bool = False
    ) -> tuple[int, int]:
        """Make the rules from files those of ``file_rules``; return how many changed and went.

        A rule that no edit touched is left alone; a rule made over HTTP that has lost its channel
        is named in the log. Raises ``ConfigConflict`` as ``check_files`` does, with nothing
        changed, unless those rules are to be left out.
        """
        async with self._changing:
            wanted = {rule.id: rule for rule in file_rules}
            left_out = clashes(wanted.values(), self._records.values()) if leave_out else {}
            for rule in left_out.values():
                del wanted[rule.id]
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
            self._left_out = left_out
            self._tell_of_left_out()
            self._warn_of_missing_channels()
            return len(put), len(deleted)

    def _tell_of_left_out(self) -> None:
        for _, problem in self.left_out():
            log.error("a rule of a file is left out: it is not judged", problem=str(problem))

    def _warn_of_missing_channels(self) -> None:
        """Name the rules made over HTTP whose channel the configuration no longer has."""
        for record, channel in self.missing_channels():
            log.warning(
                "a rule names a channel that is not configured; what it tells there waits for it",
                rule=record.spec.name,
                channel=channel,
            )

    def _from_file(self, rule: TomlRule) -> RuleRecord:
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

    def _require_free_name(self, name: str, *, but: str | None) -> None:
        for record in self._records.values():
            if record.spec.name == name and record.id != but:
                raise InvalidInput(
                    [Problem("/name", f"{name!r} is the name of the rule {record.id} already")]
                )

    async def _free_name(
        self, rule_id: str, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        """Apply a change after which ``rule_id`` has its name no more, with the rule that waits."""
        heir = self._left_out.get(rule_id)
        if heir is None:
            await self._apply(put=put, deleted=deleted)
            return
        await self._apply(put=(*put, self._from_file(heir)), deleted=deleted)
        del self._left_out[rule_id]
        self._places[heir.id] = _place(heir)
        log.info("a rule of a file has its name, and is judged", rule=heir.spec.name)

    async def _apply(
        self, *, put: tuple[RuleRecord, ...] = (), deleted: tuple[str, ...] = ()
    ) -> None:
        with trio.CancelScope(shield=True):  # a client that leaves must not split memory from disk
            await self._road.change_rules(put=put, deleted=deleted)
        for rule_id in deleted:
            del self._records[rule_id]
        for record in put:
            self._records[record.id] = record
        self.changes += 1


def _place(rule: TomlRule) -> str:
    return f"{rule.file}:{rule.line}"
