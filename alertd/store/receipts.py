"""What receivers call messages, so that what follows can be shown with them.

Owns the table ``receipts``: for each incident and configured channel the receipt of the message
that told of it first. It is written with the outcome of the attempt; an incident takes it along
when it is forgotten.
"""

from __future__ import annotations

from typing import Final

import apsw

from alertd.outbound import Earlier

_NOTE: Final = """
    INSERT OR IGNORE INTO receipts (incident_seq, channel, receipt)
    SELECT n.incident_seq, n.channel, ?2 FROM notifications n
    WHERE n.message_seq = ?1 AND n.endpoint IS NULL"""

_OF_MESSAGE: Final = """
    SELECT r.receipt, count(DISTINCT n.incident_seq) FROM notifications n
    LEFT JOIN receipts r ON r.incident_seq = n.incident_seq AND r.channel = n.channel
    WHERE n.message_seq = ? GROUP BY r.receipt LIMIT 2"""


def note_receipt(connection: apsw.Connection, message_seq: int, receipt: str) -> None:
    """Note that the receiver calls a message ``receipt``."""
    connection.execute(_NOTE, (message_seq, receipt))


def read_earlier(connection: apsw.Connection, message_seq: int, channel: str) -> Earlier | None:
    """Return the one message that told of everything that this one tells of; None if there is none.

    It costs two looks into indexes.
    """
    rows = list(connection.execute(_OF_MESSAGE, (message_seq,)))
    if len(rows) != 1 or rows[0][0] is None:
        return None
    receipt, incidents = rows[0]
    told_of = connection.execute(
        "SELECT count(*) FROM receipts WHERE channel = ? AND receipt = ?", (channel, receipt)
    ).get
    return Earlier(receipt, tells_the_same=told_of == incidents)
