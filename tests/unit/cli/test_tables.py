"""Tables: what a terminal of whatever width shows of them."""

from __future__ import annotations

from collections import Counter

import pytest
from rich.text import Text

from alertd.cli.terminal import print_table

ID = "6f1c2d4e-0000-5000-8000-000000000001"
TITLES = ("id", "state", "labels", "since", "value")
CELLS = (
    ID,
    "firing\nacknowledged by sam",
    "service=payment-checkout\nhost=web-17.a-name-that-is-longer-than-is-read-at-a-glance.example",
    "2026-11-26 16:48:42 UTC",
    "1234.5",
)


def lines_at(columns: int, capsys: pytest.CaptureFixture[str], **kinds: tuple[str, ...]) -> str:
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(columns))
        print_table(TITLES, [[Text(cell) for cell in CELLS]], **kinds)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    return shown


def test_no_character_is_lost_at_any_width(capsys: pytest.CaptureFixture[str]) -> None:
    whole = Counter("".join((*TITLES, *CELLS))) - Counter(" \n" * 9)
    for columns in range(10, 200):
        shown = lines_at(columns, capsys, whole=("id",), numbers=("value",))
        found = Counter(character for character in shown if character not in " \n─")
        assert found == whole, (columns, shown)


def test_what_is_to_be_copied_and_numbers_never_break_nor_do_short_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for columns in range(60, 200):
        shown = lines_at(columns, capsys, whole=("id",), numbers=("value",))
        for word in (ID, "1234.5", "acknowledged", "firing", "2026-11-26"):
            assert word in shown, (columns, shown)


def test_items_are_lines_where_their_words_have_no_room_side_by_side(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "since  2026-11-26 16:48:42 UTC\n" in lines_at(80, capsys, whole=("id",))
    assert f"{ID} firing" in lines_at(120, capsys, whole=("id",))
