"""The rules as they are now.

Owns the tables ``rules`` and ``rule_notifications``. Invariant: they change only together with
an entry of the log, in one transaction. A rule's spec is stored as JSON but for its
notifications, which are rows of their own. Leaves reading them to ``rule_reads.py``, and checks and
versions to ``rulebook.py``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import apsw
import msgspec

from alertd.errors import Conflict
from alertd.rules import RuleChange, RuleRecord
from alertd.store.event_log import append_change
from alertd.store.readers import Readers
from alertd.store.rule_reads import read_rules
from alertd.store.writer import Writer


class RuleTable:
    """The ``RuleStore`` in SQLite."""

    def __init__(self, writer: Writer, readers: Readers, path: str) -> None:
        self._writer = writer
        self._readers = readers
        self._path = path

    async def all(self) -> list[RuleRecord]:
        """Return every rule, by name. Raises ``StoreCorrupt`` for one that does not decode."""
        return await self._readers.run("read the rules", partial(read_rules, self._path))

    async def apply(self, change: RuleChange) -> int:
        """Make ``change`` durable, rows and log entry together, and return its position.

        Raises ``Conflict``, with nothing written, if two rules would have one name.
        """
        return await self._writer.run("change the rules", partial(_apply, change))


def _apply(change: RuleChange, connection: apsw.Connection) -> int:
    # All that change go before any comes back: two rules may exchange their names.
    replaced = [(record.id,) for record in change.put] + [(gone,) for gone in change.deleted]
    connection.executemany("DELETE FROM rules WHERE id = ?", replaced)
    for record in change.put:
        _insert(connection, record)
    return append_change(connection, change)


def _insert(connection: apsw.Connection, record: RuleRecord) -> None:
    # Any: a JSON document.
    spec: dict[str, Any] = msgspec.to_builtins(record.spec)
    del spec["notifications"]
    try:
        connection.execute(
            "INSERT INTO rules (id, version, source, created_us, updated_us, spec) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                record.id,
                record.version,
                record.source.value,
                record.created_us,
                record.updated_us,
                msgspec.json.encode(spec).decode(),
            ),
        )
    except apsw.ConstraintError as error:
        raise Conflict(
            f"cannot store the rule {record.spec.name!r}: another one has this name or id; "
            "give it a name of its own"
        ) from error
    connection.executemany(
        "INSERT INTO rule_notifications VALUES (?, ?, ?, ?)",
        [
            (record.id, ordinal, target.channel, target.endpoint)
            for ordinal, target in enumerate(record.spec.notifications)
        ],
    )
