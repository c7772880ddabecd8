"""The entries that a segment was folded from, but for their events.

Owns the format of ``segments.directory``: the header of ``envelope.py`` with the number of entries,
then a msgpack array of four packed columns (``columns.py``), one integer an entry: by how much the
step of positions changes, by how much that of receive times does, the number of events, whether
it has ids. An entry's events are those with the next so many ordinals.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Final

import msgpack

from alertd.store.columns import pack, unpack
from alertd.store.envelope import BadEntry, seal, unseal

VERSION: Final = 1

_COLUMNS: Final = 4


class Directory:
    """The entries of a segment in the order of the log."""

    __slots__ = ("counts", "ends", "has_ids", "positions", "received_us")

    def __init__(self) -> None:
        self.positions: array[int] = array("q")
        self.received_us: array[int] = array("q")
        self.counts: array[int] = array("q")
        self.has_ids: array[int] = array("q")
        self.ends: array[int] = array("q")
        """The ordinal behind the last of each entry."""

    @property
    def events(self) -> int:
        """How many events all entries have."""
        return self.ends[-1] if self.ends else 0

    def add(self, position: int, received_us: int, count: int, *, has_ids: bool) -> None:
        """Add an entry behind all others."""
        self.positions.append(position)
        self.received_us.append(received_us)
        self.counts.append(count)
        self.has_ids.append(has_ids)
        self.ends.append(self.events + count)

    def ordinals(self, after: int, through: int) -> range:
        """Return the ordinals of the events of the entries at positions in ``(after, through]``."""
        first = bisect_right(self.positions, after)
        end = bisect_right(self.positions, through)
        return range(self.ends[first - 1] if first else 0, self.ends[end - 1] if end else 0)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return 5 * 8 * len(self.positions)

    def encode(self) -> bytes:
        """Return the bytes of a directory with an entry at least."""
        import numpy as np  # not before something is folded; see columns.pack

        columns = (
            np.diff(np.diff(self.positions, prepend=0), prepend=0),
            np.diff(np.diff(self.received_us, prepend=0), prepend=0),
            self.counts,
            self.has_ids,
        )
        content = msgpack.packb([pack(column) for column in columns])
        return seal(VERSION, 0, len(self.positions), [content])

    @classmethod
    def decode(cls, body: bytes) -> Directory:
        """Return the directory that ``body`` holds. Raises ``BadEntry``."""
        import numpy as np

        entries, _, content = unseal(body, VERSION)
        try:
            packed = msgpack.unpackb(content)
        except (ValueError, msgpack.UnpackException) as error:
            raise BadEntry(f"the directory does not decode: {error}") from error
        if len(packed) != _COLUMNS:
            raise BadEntry(f"a directory of {len(packed)} columns")
        positions, received_us, counts, has_ids = (unpack(planes, entries) for planes in packed)
        directory = cls()
        directory.positions.frombytes(np.cumsum(np.cumsum(positions)).tobytes())
        directory.received_us.frombytes(np.cumsum(np.cumsum(received_us)).tobytes())
        directory.counts.frombytes(counts.tobytes())
        directory.has_ids.frombytes(has_ids.tobytes())
        directory.ends.frombytes(np.cumsum(counts).tobytes())
        return directory
