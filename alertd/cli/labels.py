"""Labels as people type them, ``NAME=VALUE``: each at most once.

Owns their reading, for all commands that take labels. One that is given twice is refused: of two
values only one could count, and who types two means something else. A value that looks like a list
of labels is taken as it is, and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import click

from alertd.names import repeated

_LIKE_A_LIST: Final = re.compile(r".*,\s*[\w.-]+(=|!=|!~)", re.DOTALL)


class Label(click.ParamType[tuple[str, str]]):
    """A label and its value."""

    name = "label"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return both."""
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


class Labels(click.ParamType[list[tuple[str, str]]]):
    """Labels and their values, with commas in between."""

    name = "labels"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[tuple[str, str]]:
        """Return them in their order."""
        return [Label().convert(part, param, ctx) for part in str(value).split(",")]


def each_once(pairs: Iterable[tuple[str, str]], remedy: str) -> dict[str, str]:
    """Return the value of each label. Exits with ``remedy`` if one is there twice."""
    given = list(pairs)
    for label, count in repeated(label for label, _ in given).items():
        raise click.UsageError(f"{label!r} is there {count} times; {remedy}")
    return dict(given)


def tell_of_lists(values: Mapping[str, str]) -> None:
    """Print which labels have a value that may be meant as further labels."""
    for label, value in values.items():
        if _LIKE_A_LIST.match(value):
            message = f"{label!r} is {value!r}, with the comma; labels stand apart, with spaces"
            click.secho(message, err=True, fg="yellow")
