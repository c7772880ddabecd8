"""From the parts of a message to what its receiver gets.

Owns the order (what fires before what has ended, the worst first, and the beginning of an
incident before its end), the kind of the whole, and the counts. Leaves words to the channels.
"""

from __future__ import annotations

from typing import Final

import msgspec

from alertd.channels.message import IncidentView, Message, MessageKind
from alertd.model import Severity
from alertd.outbound import Outgoing

_RANK: Final = {severity.value: rank for rank, severity in enumerate(Severity)}
_KINDS: Final = (
    MessageKind.FIRING,
    MessageKind.FLAPPING,
    MessageKind.REPEAT,
    MessageKind.RESOLVED,
    MessageKind.TEST,
)
"""A message of several kinds is called by the first of these."""


def compose(outgoing: Outgoing, *, sent_at: str, list_url: str) -> Message:
    """Return the message; ``list_url`` leads to all incidents that are on.

    Raises ``msgspec.DecodeError`` for a stored view that cannot be read, and for none at all.
    """
    kinds = {MessageKind(kind) for kind, _ in outgoing.parts}
    if not kinds:
        raise msgspec.DecodeError("the message has no notification in it")
    views = [msgspec.json.decode(view, type=IncidentView) for _, view in outgoing.parts]
    views.sort(key=_place)
    return Message(
        notification_id=outgoing.id,
        idempotency_key=outgoing.id,
        kind=next(kind for kind in _KINDS if kind in kinds),
        sent_at=sent_at,
        incidents=tuple(views),
        group_labels=_group_labels(outgoing.group_key),
        list_url=list_url,
    )


def _place(view: IncidentView) -> tuple[bool, int]:
    return view.state == "resolved", _RANK.get(view.severity, len(_RANK))


def _group_labels(group_key: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(group_key, type=dict[str, str])
    except msgspec.DecodeError:
        return {}  # of a message that an older alertd made: the id of an incident
