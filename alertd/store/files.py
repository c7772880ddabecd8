"""What is done to the files of snapshots, call by call.

A seam for tests, which make each of these calls fail or lose the power behind it. Each raises
``OSError``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from alertd.store.folders import make_folder, sync_folder


class Files:
    """The file system."""

    def make_folder(self, folder: Path) -> None:
        """See ``folders.make_folder``."""
        make_folder(folder)

    def sync_folder(self, folder: Path) -> None:
        """See ``folders.sync_folder``."""
        sync_folder(folder)

    def create(self, path: Path) -> BinaryIO:
        """Open a new file, or one that is emptied, that only we may read."""
        return open(path, "wb", opener=_private)

    def open(self, path: Path) -> BinaryIO:
        """Open a file to read it."""
        return path.open("rb")

    def sync(self, file: BinaryIO) -> None:
        """Make what was written to ``file`` durable."""
        file.flush()
        os.fsync(file.fileno())

    def rename(self, path: Path, to: Path) -> None:
        """Give ``path`` another name, in the place of what had it."""
        path.replace(to)

    def remove(self, path: Path) -> None:
        """Remove the file if it is there."""
        path.unlink(missing_ok=True)


FILES: Final = Files()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
