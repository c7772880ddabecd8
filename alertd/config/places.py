"""Which line of a TOML file holds a key: what ``tomllib`` does not tell.

Owns a scanner for documents that ``tomllib`` has already accepted, so it needs no errors of its
own and only tells keys, strings, brackets and the rest apart (https://toml.io/en/v1.0.0). It
ends on any text: every step takes a token. Cost: one pass, at the first question for a line.
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

KeyPath = tuple[str | int, ...]
"""The way to a value: names of keys, and indexes into arrays (of tables, too)."""

_TOKEN: Final = re.compile(
    r"""
      (?P<newline>\n)
    | (?P<blank>[ \t\r]+|\#[^\n]*)
    | (?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\#\[\]{}=,."']+)
    """,
    re.VERBOSE | re.DOTALL,
)


class Places:
    """The lines of the keys of one document, counted from 1."""

    def __init__(self, source: str) -> None:
        """Scan ``source``, which must be valid TOML."""
        self._lines = _Scanner(source).scan()

    def line_of(self, path: KeyPath) -> int:
        """Return the line of ``path``, else of the nearest thing around it that is written."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)


def repeated_key(source: str) -> tuple[KeyPath, int, int] | None:
    """Return the first key, or table, that is given twice, with the lines of both.

    ``source`` is TOML that ends where ``tomllib`` refused to go on for that. None if it did so for
    something like that.
    """
    scanner = _Scanner(source)
    scanner.scan()
    return scanner.repeated


class _Scanner:
    """A cursor over the tokens; ``line`` is the line of ``self._lexeme``."""

    def __init__(self, source: str) -> None:
        self._tokens = _TOKEN.finditer(source)
        self._lines: dict[KeyPath, int] = {}
        self._last_index: dict[KeyPath, int] = {}
        """Of each array of tables, the index of the table that was opened last."""
        self._given: dict[KeyPath, int] = {}
        """The lines of the values, and of the tables that a header opens."""
        self.repeated: tuple[KeyPath, int, int] | None = None
        """The first of them that is there twice, and both lines."""
        self._line = 1
        self._height = 0
        self._kind = ""
        self._lexeme = ""

    def scan(self) -> dict[KeyPath, int]:
        """Return the line of every key, table and array element."""
        table: KeyPath = ()
        self._advance()
        while self._kind:
            if self._kind == "newline":
                self._advance()
            elif self._lexeme == "[":
                table = self._header()
            else:
                self._assignment(table)
        return self._lines

    def _advance(self) -> None:
        """Go to the next token that is not blank; at the end the kind is empty."""
        self._line += self._height
        self._height = 0
        for match in self._tokens:
            self._kind, self._lexeme = match.lastgroup or "", match[0]
            if self._kind != "blank":
                self._height = self._lexeme.count("\n")
                return
        self._kind = self._lexeme = ""

    def _header(self) -> KeyPath:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the table that it opens."""
        line = self._line
        self._advance()
        is_array = self._lexeme == "["
        if is_array:
            self._advance()
        path: KeyPath = ()
        *outer, last = self._key()
        for name in outer:
            path = self._entered((*path, name))
        path = (*path, last)
        if is_array:
            self._last_index[path] = self._last_index.get(path, -1) + 1
            self._lines.setdefault(path, line)
            self._advance()
        else:
            self._give(path, line)
        path = self._entered(path)
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
        self._advance()
        return path

    def _entered(self, path: KeyPath) -> KeyPath:
        """Return ``path``, or its newest table if it is an array of tables."""
        index = self._last_index.get(path)
        return path if index is None else (*path, index)

    def _assignment(self, table: KeyPath) -> None:
        """Read ``a.b = value`` within ``table``."""
        line = self._line
        path = table
        for name in self._key():
            path = (*path, name)
            self._lines.setdefault(path, line)
        self._give(path, line)
        self._advance()
        self._value(path)

    def _give(self, path: KeyPath, line: int) -> None:
        if path not in self._given:
            self._given[path] = line
        elif self.repeated is None:
            self.repeated = path, self._given[path], line

    def _key(self) -> list[str]:
        """Read a key, dotted or not, and stop at what follows it."""
        names = []
        while self._kind in ("bare", "text") or self._lexeme == ".":
            if self._kind == "bare":
                names.append(self._lexeme)
            elif self._kind == "text":
                names.append(str(tomllib.loads(f"key = {self._lexeme}")["key"]))
            self._advance()
        return names

    def _value(self, path: KeyPath) -> None:
        if self._lexeme == "[":
            self._array(path)
        elif self._lexeme == "{":
            self._inline_table(path)
        else:
            self._advance()
            while self._kind in ("bare", "text") or self._lexeme == ".":
                self._advance()

    def _array(self, path: KeyPath) -> None:
        self._advance()
        index = 0
        while self._kind and self._lexeme != "]":
            if self._kind == "newline":
                self._advance()
            elif self._lexeme == ",":
                index += 1
                self._advance()
            else:
                self._lines[*path, index] = self._line
                self._value((*path, index))
        self._advance()

    def _inline_table(self, path: KeyPath) -> None:
        self._advance()
        while self._kind and self._lexeme != "}":
            if self._lexeme == "," or self._kind == "newline":
                self._advance()
            else:
                self._assignment(path)
        self._advance()
