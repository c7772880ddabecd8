"""A client that sends lines to a running daemon, over TCP or its UNIX socket."""

from __future__ import annotations

import json
import socket
from typing import Any, Self

from tests.e2e.daemon import GIVE_UP_S, Daemon

Json = Any  # decoded JSON


class Client:
    """A connection that sends lines, over TCP or the UNIX socket."""

    def __init__(self, daemon: Daemon, way: str) -> None:
        if way == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(GIVE_UP_S)
            self.socket.connect(str(daemon.folder / "lines.sock"))
        else:
            self.socket = socket.create_connection(address(daemon), GIVE_UP_S)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *lines: Json) -> None:
        self.socket.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def answer(self) -> Json:
        """Return the next answer, None at the end."""
        line = self._file.readline()
        return json.loads(line) if line else None

    def until_acknowledged(self, position: int) -> None:
        while (answer := self.answer()) != {"acknowledged": position}:
            assert "acknowledged" in answer, answer


def address(daemon: Daemon) -> tuple[str, int]:
    """Return where the daemon takes lines over TCP."""
    line = daemon.wait_for_log("listening for lines", count=2)
    host, _, port = str(line["address"]).rpartition(":")
    return host, int(port)
