"""Values of matchers that are taken literally and look as if something else were meant."""

from __future__ import annotations

import pytest

from alertd.literals import literal_doubt, spelled
from alertd.rules import parse_matcher


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("web-.*", "=~web-.*"),
        ("web-.+", "=~web-.+"),
        ("eu|us", "=~eu|us"),
        ("^web", "=~^web"),
        ("web$", "=~web$"),
        ("!=web-.*", "!~web-.*"),
        ("==~web-.*", "=~web-.*"),
        ("=!~web-.*", "!~web-.*"),
        ("=!=web", "!=web"),
        ("==web", "web"),
    ],
)
def test_a_value_that_looks_like_something_else_is_told_with_what_was_meant(
    text: str, meant: str
) -> None:
    doubt = literal_doubt(parse_matcher("host", text))
    assert doubt is not None
    assert doubt.endswith(f"did you mean {meant!r}?")
    assert literal_doubt(parse_matcher("host", meant)) is None


@pytest.mark.parametrize(
    "text",
    ["", "web-1.example.org", "/var/lib", "a=b", "10.0.0.1:80", "*", "=~a|b", "!~.*", "$HOME"],
)
def test_an_ordinary_value_is_not_doubted(text: str) -> None:
    assert literal_doubt(parse_matcher("host", text)) is None


@pytest.mark.parametrize("text", ["web", "!=web", "=~we.*", "!~we.*", "==web", "=!web"])
def test_what_is_spelled_is_read_as_the_same_matcher(text: str) -> None:
    matcher = parse_matcher("host", text)
    assert parse_matcher("host", spelled(matcher)) == matcher
