"""From the parts of a message to what its receiver gets.

Owns the order (what fires before what has ended, the worst first, and the beginning of an
incident before its end), the kind of the whole, and the counts. Leaves words to the channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
_decoder: Final = msgspec.json.Decoder(IncidentView)


def views_in(outgoing: Outgoing) -> Iterator[IncidentView]:
    """Yield what each part says of its incident, in their order; 2 us each, of a thousand at most.

    Raises ``msgspec.DecodeError`` for one that cannot be read.
    """
    for _, view in outgoing.parts:
        yield _decoder.decode(view)


def compose(
    outgoing: Outgoing, views: Iterable[IncidentView], *, sent_at: str, list_url: str
) -> Message:
    """Return the message that says ``views``; ``list_url`` leads to all incidents that are on.

    Raises ``ValueError`` for a part of an unknown kind, and for none at all.
    """
    kinds = {MessageKind(kind) for kind, _ in outgoing.parts}
    if not kinds:
        raise ValueError("the message has no notification in it")
    return Message(
        notification_id=outgoing.id,
        idempotency_key=outgoing.id,
        kind=next(kind for kind in _KINDS if kind in kinds),
        sent_at=sent_at,
        incidents=tuple(sorted(views, key=_place)),
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
