"""Sockets to listen on: what stands in the way is told at once, and nothing is left behind."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alertd.errors import AlertdError
from alertd.sockets import open_unix


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A socket whose owner listens but accepts nobody, with as many waiting as may."""
    path = tmp_path / "busy.sock"
    with ExitStack() as files:
        owner = files.enter_context(socket.socket(socket.AF_UNIX))
        owner.bind(str(path))
        owner.listen(0)
        while True:
            waiting = files.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            try:
                waiting.connect(str(path))
            except BlockingIOError:
                break
        socket.setdefaulttimeout(5.0)  # who waits fails, and does not hang
        yield path
        socket.setdefaulttimeout(None)


def test_a_socket_whose_owner_is_too_busy_to_accept_is_not_waited_for(busy: Path) -> None:
    with (
        pytest.raises(AlertdError, match="another process listens there"),
        open_unix(busy, 0o600, "lines.socket"),
    ):
        raise AssertionError
    assert busy.is_socket()


def test_a_socket_that_cannot_be_had_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.sock"

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with (
        pytest.raises(AlertdError, match="Operation not permitted"),
        open_unix(path, 0o660, "lines.socket"),
    ):
        raise AssertionError
    assert not path.exists()
