"""Room on the disk that is kept for what must go on when there is no other.

Owns a file beside the database that holds nothing but its place. On a full disk everything that
writes fails, deleting too, so without it an incident could not be recorded, an attempt to tell of
it not be settled, and nothing be deleted to make room. Released, its place is free for these;
events are refused until it can be taken again. Leaves who may ask for it to ``wal.py``.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 8 << 20
"""Some hundreds of settled notifications, or one checkpoint of a WAL of usual size."""

CANNOT_ALLOCATE: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
"""What a file system says that does not know how to allocate room ahead."""


class Reserve:
    """The room kept for the database at ``path``.

    Only the writer's worker uses it; ``is_whole`` can be read anywhere.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".reserve")
        self._is_whole = self._taken_bytes() >= RESERVE_BYTES

    @property
    def is_whole(self) -> bool:
        """Whether the place is taken. Where nothing can be allocated it always seems so."""
        return self._is_whole

    def take(self) -> None:
        """Take the place. Raises ``OSError``, and leaves all of it free, when there is too little.

        Costs nothing while it is whole.
        """
        if self._is_whole:
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError as error:
            os.ftruncate(descriptor, 0)
            if error.errno not in CANNOT_ALLOCATE:
                raise
        finally:
            os.close(descriptor)
        self._is_whole = True

    def release(self) -> bool:
        """Free the place; return whether there was any to free."""
        self._is_whole = False
        if not self._taken_bytes():
            return False
        os.truncate(self._path, 0)
        return True

    def _taken_bytes(self) -> int:
        try:
            return os.stat(self._path).st_size
        except FileNotFoundError:
            return 0
