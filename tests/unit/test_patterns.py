"""Patterns are RE2's: anchored by whoever uses them, and linear whatever they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alertd.patterns import BadPattern, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("web-.*", "web-1", True),
        ("web-.*", "a web-1", False),
        ("web", "web-1", False),
        ("(?i)web|db", "DB", True),
        ("", "", True),
        ("..", "é€", True),
        (r"\\d{1,3}", "12", False),
        (r"\d{1,3}", "12", True),
    ],
)
def test_a_pattern_matches_all_of_a_text_or_nothing(pattern: str, text: str, matches: bool) -> None:
    assert (compile_pattern(pattern).fullmatch(text) is not None) is matches


@pytest.mark.parametrize(
    "pattern", ["(", "[", "a{1001}", r"(?=x)", r"(a)\1", "(((a{99}){99}){99})"]
)
def test_what_re2_does_not_take_is_refused_with_a_reason(pattern: str) -> None:
    with pytest.raises(BadPattern, match=r"\w"):
        compile_pattern(pattern)


def test_a_refused_pattern_leaves_standard_error_alone() -> None:
    script = "from alertd.patterns import *\ntry: compile_pattern('(')\nexcept BadPattern: pass"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a*" * 20 + "b", "(.*)*x"])
def test_no_pattern_takes_long(pattern: str) -> None:
    # Python's own engine would not come back from the first of these within a lifetime.
    assert compile_pattern(pattern).fullmatch("a" * 1000 + "!") is None
