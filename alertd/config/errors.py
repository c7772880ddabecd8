"""What is wrong with a configuration, and exactly where.

Owns the report: every mistake with its file, line, key and what was expected. Leaves finding
them to ``settings.py`` and its readers, and to ``clashes.py`` where it does not fit what is
there; and warnings, which have the same form, to ``lint.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alertd.errors import AlertdError, Conflict


class ConfigProblem(NamedTuple):
    """One mistake, or one warning, in one file.

    ``line`` counts from 1 and is None where the file could not be read. ``key`` is the way to
    the value (``rules[0].threshold``), empty for the file as a whole.
    """

    file: Path
    line: int | None
    key: str
    message: str

    @property
    def place(self) -> str:
        """``FILE:LINE``, or the file alone."""
        return f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"

    @property
    def text(self) -> str:
        """The message behind the key, if there is one."""
        return f"{self.key}: {self.message}" if self.key else self.message

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigError(AlertdError):
    """A configuration that cannot be used; ``problems`` lists every reason, in file order."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class ConfigConflict(Conflict):
    """A configuration without a mistake that contradicts what is there; ``problems`` say where."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
