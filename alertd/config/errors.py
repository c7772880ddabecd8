"""What is wrong with a configuration, and exactly where.

Owns the report: every mistake with its file, line, key and what was expected. Leaves finding
them to ``settings.py`` and its readers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alertd.errors import AlertdError


class ConfigProblem(NamedTuple):
    """One mistake in one file.

    ``line`` counts from 1 and is None where the file could not be read. ``key`` is the way to
    the value (``rules[0].threshold``), empty for the file as a whole.
    """

    file: Path
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(AlertdError):
    """A configuration that cannot be used; ``problems`` lists every reason, in file order."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
