"""What README and docs/ show of a configuration can be written so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alertd.config.errors import ConfigError
from alertd.config.lint import examine

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
SHOWN = [
    (f"{page.name}, example {number}", block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.M)
    )
]
LEFT_OUT = re.compile(
    r"is missing; expected"
    r"|cannot read the secret file|environment variable .* is not set|No such file or directory"
    r"|is (?:neither|not) a configured channel"
    r"|as long as there is no \[\[auth\.tokens\]\]"
    r"|after sha256: there must be 64"
)
"""What is wrong with a part that has other parts, files and secrets beside it."""


def mistakes(folder: Path, text: str) -> list[str]:
    """Return what is wrong with ``text`` beside what it leaves out."""
    path = folder / "alertd.toml"
    path.write_text(text, encoding="utf-8")
    try:
        examine(path, {})
    except ConfigError as error:
        return [str(one) for one in error.problems if not LEFT_OUT.search(one.text)]
    return []


@pytest.mark.parametrize(("where", "text"), SHOWN)
def test_an_example_of_a_configuration_has_no_mistake_but_what_it_leaves_out(
    tmp_path: Path, where: str, text: str
) -> None:
    assert mistakes(tmp_path, text) == [], where


def test_examples_are_found_and_a_mistake_is_noticed(tmp_path: Path) -> None:
    assert len(SHOWN) > 8
    assert mistakes(tmp_path, "[notify]\ngroup_intervall_secs = 10\n")
    assert mistakes(tmp_path, '[[mute]]\nname = "a"\nstart = "25:00"\nend = "06:00"\n')
