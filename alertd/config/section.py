"""What the sections of a configuration have in common: their base, and bounds of numbers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from alertd.errors import Problem

Bytes = Annotated[int, Meta(ge=1024, le=2**30)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Days = Annotated[float, Meta(ge=0.01, le=36_500)]
Seconds = Annotated[float, Meta(ge=0.01, le=366 * 86_400)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=366 * 86_400)]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; every key has a default."""

    def problems(self) -> list[Problem]:
        """Return what no single bound can say; paths are JSON pointers into the table."""
        return []
