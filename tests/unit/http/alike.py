"""What becomes of a body of events, whether it is read as columns of bytes or as objects."""

from __future__ import annotations

import sys
from typing import Final
from unittest.mock import patch

from alertd.errors import AlertdError
from alertd.http.json_events import decode_json
from alertd.ingest.series import SeriesRegistry

RECEIVED_US: Final = 1_751_295_600_000_000


def outcome(body: bytes, *, is_lines: bool, from_bytes: int) -> object:
    """Return all that becomes of ``body`` if bodies of so many bytes are read as columns."""
    registry = SeriesRegistry()
    try:
        with patch("alertd.http.json_events._ALIKE_FROM_BYTES", from_bytes):
            draft = decode_json(
                body, is_lines=is_lines, registry=registry, received_us=RECEIVED_US, max_events=60
            )
    except AlertdError as error:
        return type(error), str(error)
    series = [registry.get(number) for number in range(len(registry))]
    bits = draft.values.tobytes()
    return (series, draft.series_ids, draft.times_us, bits, draft.ids, draft.indexes,
            draft.problems, draft.refused)  # fmt: skip


def outcomes_are_the_same(body: bytes, *, is_lines: bool = False) -> None:
    """Hold the two ways of reading ``body`` against each other."""
    as_columns = outcome(body, is_lines=is_lines, from_bytes=0)
    assert as_columns == outcome(body, is_lines=is_lines, from_bytes=sys.maxsize)
