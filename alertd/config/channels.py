"""Channels as a TOML file spells them: one ``[channels.NAME]`` table each.

Owns which struct a ``type`` stands for and which names a channel can have. Leaves to
``channels/check.py`` what makes a channel wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from alertd.channels.check import channel_problems
from alertd.channels.config import (
    AlertmanagerConfig,
    AppriseConfig,
    ChannelConfig,
    EmailConfig,
    SlackConfig,
    WebhookConfig,
)
from alertd.config.document import Document, TomlTable
from alertd.config.places import KeyPath
from alertd.meant import did_you_mean
from alertd.names import name_problem
from alertd.rule_checks import EMAIL

CHANNEL_TYPES: Final[Mapping[str, type[ChannelConfig]]] = {
    "webhook": WebhookConfig,
    "slack": SlackConfig,
    "email": EmailConfig,
    "alertmanager": AlertmanagerConfig,
    "apprise": AppriseConfig,
}

_STAND_INS: Final[Mapping[str, Any]] = {
    "url": "http://localhost/",
    "host": "localhost",
    "sender": "alertd@localhost",
    "to": ("alertd@localhost",),
}
_TYPE_NAMES = "one of " + ", ".join(f'"{name}"' for name in CHANNEL_TYPES)
_OTHER_SERVICES: Final = '"apprise" leads to many other services'
_RESERVED = frozenset(name.upper() for name in CHANNEL_TYPES)
"""In a rule these are types of channels, with an endpoint."""


def read_channels(
    documents: Iterable[Document], environ: Mapping[str, str]
) -> tuple[dict[str, ChannelConfig], frozenset[str]]:
    """Return the channels by name, and what rules may name (``RuleSetting.known_channels``).

    To rules an unreadable channel is one that is there: it is complained of only once.
    What is wrong is noted in the documents; the channels are of use only if nothing is. A name
    may be used once over all files.
    """
    channels: dict[str, ChannelConfig] = {}
    taken: dict[str, str] = {}
    escalating: list[tuple[Document, KeyPath, ChannelConfig]] = []
    for document in documents:
        tables = document.subtable(
            ("channels",), document.table.get("channels", {}), "channels.NAME"
        )
        for name, entry in (tables or {}).items():
            path: KeyPath = ("channels", name)
            place = f"{document.path}:{document.line_of(path)}"
            if taken.setdefault(name, place) != place:
                document.refuse(path, f"expected another name, {name!r} is taken by {taken[name]}")
            _check_name(document, path, name)
            table = document.subtable(path, entry)
            channel = None if table is None else _read(document, path, table, environ)
            if channel is not None:
                channels[name] = channel
                escalating.append((document, path, channel))
    for document, path, channel in escalating:
        _check_escalation(document, path, channel, taken.keys())
    is_sound = len(channels) == len(taken)
    if is_sound and not any(isinstance(channel, EmailConfig) for channel in channels.values()):
        return channels, frozenset(taken)
    return channels, frozenset((*taken, EMAIL))


def _check_name(document: Document, path: KeyPath, name: str) -> None:
    wrong_name = name_problem(name)
    if wrong_name is not None:
        document.refuse(path, wrong_name)
    elif name in _RESERVED:
        document.refuse(path, f"expected another name, {name!r} means a type of channel in rules")


def _check_escalation(
    document: Document, path: KeyPath, channel: ChannelConfig, known: Collection[str]
) -> None:
    """Refuse others to be told by a channel that are not there, and the channel itself."""
    for index, name in enumerate(channel.escalate_to):
        if name == path[-1]:
            message = "expected another channel than this one"
        elif name not in known:
            message = f"{name!r} is not a configured channel ({', '.join(sorted(known))})"
        else:
            continue
        document.refuse((*path, "escalate_to", index), message)


def _read(
    document: Document, path: KeyPath, table: TomlTable, environ: Mapping[str, str]
) -> ChannelConfig | None:
    """Return the channel in ``table``, with stand-ins for what is wrong and noted."""
    kind = table.get("type")
    if kind is None:
        document.refuse((*path, "type"), f"is missing; expected {_TYPE_NAMES}")
        return None
    struct = CHANNEL_TYPES.get(kind) if isinstance(kind, str) else None
    if struct is None:
        hint = did_you_mean(str(kind), CHANNEL_TYPES) or _OTHER_SERVICES
        message = f"expected {_TYPE_NAMES}, got {str(kind)[:40]!r}"
        document.refuse((*path, "type"), f"{message}; {hint}")
        return None
    fields = {key: value for key, value in table.items() if key != "type"}
    values, wrong = document.values(path, fields, struct)
    channel = struct(**{**_stand_ins(struct), **values})
    found = channel_problems(channel, environ)
    document.refuse_all(path, table, (p for p in found if p.path.split("/")[1] not in wrong))
    return channel


def _stand_ins(struct: type[ChannelConfig]) -> dict[str, Any]:
    """Return values for required fields, so that the others can be checked without them."""
    required = (field.name for field in msgspec.structs.fields(struct) if field.required)
    return {name: _STAND_INS[name] for name in required}
