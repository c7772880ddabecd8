"""``[[route]]``, ``[[mute]]`` and ``[[inhibit]]`` as a TOML file spells them.

Owns the reading of arrays of tables to the structs of ``notify/settings.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

from alertd.config.document import Document
from alertd.notify.settings import InhibitSpec, MuteSpec, RouteSpec, route_problems

S = TypeVar("S", MuteSpec, InhibitSpec, RouteSpec)

# Any: as various as the keys.
_STAND_INS: Final[Mapping[type[Struct], dict[str, Any]]] = {
    MuteSpec: {"name": "stand-in", "start": "00:00", "end": "00:00"},
    RouteSpec: {},
    InhibitSpec: {"source": {"ruleName": "a"}, "target": {"ruleName": "b"}},
}
"""Values for required keys, so that the others can be checked without them."""


def read_tables(document: Document, key: str, struct: type[S]) -> tuple[S, ...]:
    """Return what stands in ``[[key]]``; what is wrong with the others is noted."""
    read = []
    for path, table in document.subtables((key,), document.table.get(key, [])):
        values, wrong = document.values(path, table, struct)
        spec = struct(**{**_STAND_INS[struct], **values})
        problems = [p for p in spec.problems() if p.path.split("/")[1] not in wrong]
        document.refuse_all(path, table, problems)
        read.append(spec)
    return tuple(read)


def read_routes(document: Document, known_channels: frozenset[str]) -> tuple[RouteSpec, ...]:
    """Return what stands in ``[[route]]``; what is wrong with them is noted."""
    problems_before = document.problem_count
    routes = read_tables(document, "route", RouteSpec)
    if document.problem_count == problems_before:
        for index, problem in route_problems(routes, known_channels):
            table = document.table["route"][index]
            document.refuse_all(("route", index), table, [problem])
    return routes
