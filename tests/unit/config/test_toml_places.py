"""Which line a key is on, whatever TOML's ways to write it."""

from __future__ import annotations

import contextlib
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.config.places import KeyPath, Places

DOCUMENT = """\
# a comment with [brackets] and key = "value"
title = "a # b = [c]"
dotted.key."with space" = 1979-05-27 07:32:00.5
'literal' = 'C:\\'

[server] # comment
bind = \"\"\"
two [lines]
\\\"\"\" and more\"\"\"\"
after = '''
x = 1'''
list = [ # comment
  1, 2.5,
  { a = 1, "b" = [true,
    false] },
  "]",
]

[[rules]]
name = "first"
[rules.labels]
host = "x"
[[rules.steps]]
n = 1
[[rules.steps]]
n = 2

[[rules]]
name = "second"
steps = [{ n = 3 },
  { n = 4 }]
[a . "b.c" . d]
e = {}
f = []
empty = ""
last = -1e3
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("nowhere",), 1),
        (("title",), 2),
        (("dotted",), 3),
        (("dotted", "key", "with space"), 3),
        (("literal",), 4),
        (("server",), 6),
        (("server", "bind"), 7),
        (("server", "missing"), 6),
        (("server", "after"), 10),
        (("server", "list"), 12),
        (("server", "list", 0), 13),
        (("server", "list", 1), 13),
        (("server", "list", 2, "a"), 14),
        (("server", "list", 2, "b", 1), 15),
        (("server", "list", 3), 16),
        (("server", "list", 99), 12),
        (("rules",), 19),
        (("rules", 0), 19),
        (("rules", 0, "name"), 20),
        (("rules", 0, "threshold"), 19),
        (("rules", 0, "labels"), 21),
        (("rules", 0, "labels", "host"), 22),
        (("rules", 0, "steps", 0, "n"), 24),
        (("rules", 0, "steps", 1), 25),
        (("rules", 0, "steps", 1, "n"), 26),
        (("rules", 1), 28),
        (("rules", 1, "name"), 29),
        (("rules", 1, "steps", 1, "n"), 31),
        (("a", "b.c", "d"), 32),
        (("a", "b.c", "d", "e"), 33),
        (("a", "b.c", "d", "f"), 34),
        (("a", "b.c", "d", "empty"), 35),
        (("a", "b.c", "d", "last"), 36),
    ],
)
def test_every_key_is_found_on_its_line(path: KeyPath, line: int) -> None:
    tomllib.loads(DOCUMENT)
    assert Places(DOCUMENT).line_of(path) == line


scalars = st.sampled_from(
    ["1", "-2.5e3", "true", "inf", "2020-01-01T10:00:00.5Z", '"a]}=,#"', "'[x'", '"\\""', '""',
     '"""a\n"b""c"""""', '"""a""""', "'''\n\n'''"]
)  # fmt: skip


def _values(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    separators = st.sampled_from([", ", ",\n", " , # ]\n "])
    arrays = st.builds(
        lambda items, separator: "[" + separator.join(items) + "]",
        st.lists(inner, max_size=3),
        separators,
    )
    tables = st.lists(inner, max_size=3).map(
        lambda items: "{" + ", ".join(f"k{i}.'x' = {item}" for i, item in enumerate(items)) + "}"
    )
    return st.one_of(arrays, tables)


@given(st.lists(st.recursive(scalars, _values, max_leaves=6), max_size=5))
def test_no_value_hides_the_keys_after_it(values: list[str]) -> None:
    source, expected = "[t]\n", {}
    for number, value in enumerate(values):
        expected["t", f"key{number}"] = source.count("\n") + 1
        source += f"key{number} = {value} # end\n"
    document: dict[str, Any] = tomllib.loads(source)
    assert len(document["t"]) == len(values)
    places = Places(source)
    assert {path: places.line_of(path) for path in expected} == expected


@given(
    st.lists(st.sampled_from(["[", "]", "{", "}", "=", ",", ".", "k", '"', "'", "\n"])).map("".join)
)
def test_the_scanner_ends_on_any_text(source: str) -> None:
    with contextlib.suppress(ValueError):  # it is for valid documents
        assert Places(source).line_of(("k",)) <= source.count("\n") + 1
