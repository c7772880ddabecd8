"""Which files the configuration consists of, and whether they are as they were.

Owns the look at the disk: size, time of modification and inode of the main file and of those
that its ``include`` names now, so that a file that comes, goes, or is exchanged by a rename is a
change too. It never raises: what cannot be looked at is not there. Leaves reading to
``settings.py``, and what a change means to ``reload.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from alertd.config.settings import include_patterns, included_files


class Stamp(NamedTuple):
    """What changes when a file does."""

    modified_ns: int
    size_bytes: int
    inode: int


Stamps: TypeAlias = Mapping[Path, Stamp | None]
"""The files, with None for one that is not there."""


class ConfigFiles:
    """The files behind the configuration at ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._patterns: tuple[Stamp | None, tuple[str, ...]] = (None, ())

    def look(self) -> Stamps:
        """Return the files as they are now. Cost: one ``stat`` a file; it can block."""
        main = _stamp(self._path)
        patterns_of, patterns = self._patterns
        if main != patterns_of:
            patterns = include_patterns(self._path)
            self._patterns = main, patterns
        included = included_files(self._path.parent, patterns)
        return {self._path: main, **{file: _stamp(file) for file in included}}


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
