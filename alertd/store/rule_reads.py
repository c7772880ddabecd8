"""The rules as they are stored, read on any connection.

Apart from the table that changes them (``rules.py``), for ``alertd check`` reads them without a
daemon and is to be quick: it imports nothing that takes long to load.
"""

from __future__ import annotations

from collections import defaultdict

import apsw
import msgspec

from alertd.model import Target
from alertd.rules import RuleRecord, RuleSpec, Source
from alertd.store.failures import corrupt

_decode_spec = msgspec.json.Decoder(RuleSpec).decode


def read_rules(path: str, connection: apsw.Connection) -> list[RuleRecord]:
    """Return every rule, by name. Raises ``StoreCorrupt`` for one that does not decode."""
    targets: defaultdict[str, list[Target]] = defaultdict(list)
    for rule_id, channel, endpoint in connection.execute(
        "SELECT rule_id, channel, endpoint FROM rule_notifications ORDER BY rule_id, ordinal"
    ):
        targets[rule_id].append(Target(channel, endpoint))
    records = []
    for rule_id, version, source, created_us, updated_us, spec_json in connection.execute(
        "SELECT id, version, source, created_us, updated_us, spec FROM rules ORDER BY name"
    ):
        try:
            spec = _decode_spec(spec_json)
            owner = Source(source)
        except (msgspec.MsgspecError, ValueError) as error:
            raise corrupt(path, f"rule {rule_id}: {error}") from error
        records.append(
            RuleRecord(
                id=rule_id,
                version=version,
                source=owner,
                created_us=created_us,
                updated_us=updated_us,
                spec=msgspec.structs.replace(spec, notifications=tuple(targets[rule_id])),
            )
        )
    return records
