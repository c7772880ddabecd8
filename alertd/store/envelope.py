"""The frame around everything that alertd itself packs into a blob of the database.

Owns the 12-byte header: format version, flags, 2 reserved bytes, a count, and the CRC-32 of all
else; little-endian. Invariant: what is damaged is refused, never read as something else. Leaves
what is inside to the codecs.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable
from typing import Final, TypeAlias

HEADER_BYTES: Final = 12

_HEADER: Final = struct.Struct("<BBxxI")
_CHECKSUM: Final = struct.Struct("<I")

Part: TypeAlias = "bytes | array[int] | array[float]"


class BadEntry(ValueError):
    """A body that does not decode, and why."""


def seal(version: int, flags: int, count: int, parts: Iterable[Part]) -> bytes:
    """Return ``parts`` one after the other, behind their header.

    The checksum is one call: each of a long part lets go of the interpreter, and a thread that
    does must wait to have it back.
    """
    header, content = _HEADER.pack(version, flags, count), b"".join(parts)
    checksum = zlib.crc32(content, zlib.crc32(header))
    return b"".join((header, _CHECKSUM.pack(checksum), content))


def unseal(body: bytes, version: int) -> tuple[int, int, memoryview]:
    """Return count, flags and all behind the header of ``body``.

    Raises ``BadEntry`` if it is damaged or of another version.
    """
    if len(body) < HEADER_BYTES:
        raise BadEntry(f"{len(body)} bytes are too few")
    found, flags, count = _HEADER.unpack_from(body)
    (stored,) = _CHECKSUM.unpack_from(body, _HEADER.size)
    view = memoryview(body)
    if zlib.crc32(view[HEADER_BYTES:], zlib.crc32(view[: _HEADER.size])) != stored:
        raise BadEntry("the checksum does not match")
    if found != version:
        raise BadEntry(f"format version {found} is unknown; this alertd writes {version}")
    return count, flags, view[HEADER_BYTES:]
