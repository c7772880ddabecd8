from __future__ import annotations

import pytest

from alertd.channels.address import bare_address


@pytest.mark.parametrize(
    "mailbox",
    [
        *("ops@example.org", "<ops@example.org>", "Ops Team <ops@example.org>"),
        *('"Team, Ops" <ops@example.org>', "Überwachung <ops@example.org>"),
    ],
)
def test_an_address_is_taken_with_and_without_a_name(mailbox: str) -> None:
    assert bare_address(mailbox) == "ops@example.org"


@pytest.mark.parametrize(
    "mailbox",
    [
        *("", "ops", "@example.org", "ops@", "a@b@example.org", "ü@example.org", "a b@example.org"),
        *("a@example.org, b@example.org", "a@example.org;b@example.org", "a@example.org b"),
        *("a@example.org\r\nBcc: b@example.org", "x\ny <a@example.org>", "a@example.org\n"),
        *("a@evil.example <b@example.org>", "<a@example.org> b", "a@example.org)(b@example.org"),
        *("x" * 65 + "@example.org", "a@" + "x" * 300, "a@-example.org", "a\x00@example.org"),
    ],
)
def test_anything_but_exactly_one_address_is_refused(mailbox: str) -> None:
    assert bare_address(mailbox) is None
