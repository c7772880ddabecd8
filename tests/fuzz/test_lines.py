"""What is nearly a line, over raw sockets, leaves a running daemon as it was."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

from tests.e2e.daemon import Daemon
from tests.e2e.line_client import Client, address
from tests.fuzz.inputs import BODIES, INPUTS, NASTY
from tests.fuzz.test_sockets import CONFIG, SEED, State, send_and_compare

LINES = """
[lines]
bind = "127.0.0.1:0"
socket = "lines.sock"
idle_timeout_secs = 0.5
max_line_bytes = 4096
"""


def lines(chance: random.Random) -> bytes:
    """Return some lines with things wrong in them."""
    data = b'{"metricName": "m"}\n' if chance.random() < 0.8 else b""
    for _ in range(chance.randrange(1, 9)):
        line = chance.choice(BODIES)
        for _ in range(chance.choice((0, 1, 3))):
            at = chance.randrange(len(line) + 1)
            line = line[:at] + chance.choice(NASTY) + line[at + chance.randrange(9) :]
        data += line + chance.choice((b"\n", b"\n", b"\r\n", b"\n\n", b""))
    return data


def send(daemon: Daemon, chance: random.Random) -> None:
    """Send some, in up to three pieces, read a little, and leave in one way or another."""
    way, data = chance.choice(("tcp", "unix")), lines(chance)
    with suppress(ConnectionError, TimeoutError), Client(daemon, way) as client:
        client.socket.settimeout(0.02)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 2))))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            client.socket.sendall(data[begin:end])
        if chance.random() < 0.3:
            client.socket.shutdown(socket.SHUT_WR)
        if chance.random() < 0.5:
            client.socket.recv(65536)


def test_a_daemon_is_as_it_was_after_nearly_right_lines(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311  # to be run again
    try:
        with Daemon(tmp_path, CONFIG + LINES, minimal="") as daemon:
            address(daemon)
            state = State(daemon, int(daemon.url.rpartition(":")[2]))
            send_and_compare(daemon, state, lambda: send(daemon, chance), INPUTS // 50)
            with Client(daemon, "unix") as client:
                client.send({"metricName": "m"})
                client.until_acknowledged(1)
    except BaseException as error:
        error.add_note(f"ALERTD_FUZZ_SEED={SEED} ALERTD_FUZZ_INPUTS={INPUTS}")
        raise
