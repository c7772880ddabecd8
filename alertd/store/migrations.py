"""The way from any older schema to the present one.

Each step of ``schema.py`` that a file has not seen runs in one transaction of its own, forwards
only; ``user_version`` counts those applied.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import structlog

from alertd.model import EventBatch
from alertd.store.connection import APPLICATION_ID
from alertd.store.entry_codec import decode_batch
from alertd.store.envelope import BadEntry
from alertd.store.failures import StoreOpenError, corrupt, translate
from alertd.store.schema import MIGRATIONS

_log = structlog.get_logger()


def migrate(connection: apsw.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises ``StoreOpenError`` for one from a newer alertd.

    A migration that fails leaves the file as the one before it left it. Raises ``StoreCorrupt``
    for an entry of the event log that it has to decode and cannot.
    """
    version = connection.pragma("user_version")
    if version > len(MIGRATIONS):
        raise StoreOpenError(
            f"{path} has schema {version} and this alertd knows {len(MIGRATIONS)}; run the newer "
            "alertd that wrote it, or restore the backup from before that upgrade"
        )
    if version < len(MIGRATIONS):
        _offer_event_times(connection, path)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        try:
            _apply(connection, number, script)
        except apsw.Error as error:
            meaning = translate(error, f"migrate to schema {number}", str(path))
            raise meaning or StoreOpenError(
                f"cannot migrate {path} to schema {number}: {error}; it is as it was before"
            ) from error
        if version:
            _log.info("schema migrated", path=str(path), schema=number)
    if not version:
        _log.info("a new store was made: there was none", path=str(path), schema=len(MIGRATIONS))


def _offer_event_times(connection: apsw.Connection, path: Path) -> None:
    """Let migrations call ``least_us`` and ``greatest_us`` (position, body) of a batch."""

    def decoded(position: int, body: bytes) -> EventBatch:
        try:
            return decode_batch(body, 0)
        except BadEntry as error:
            raise corrupt(str(path), f"event_log entry {position}: {error}") from error

    connection.create_scalar_function("least_us", lambda *row: min(decoded(*row).times_us), 2)
    connection.create_scalar_function("greatest_us", lambda *row: max(decoded(*row).times_us), 2)


def _apply(connection: apsw.Connection, number: int, script: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(script)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
