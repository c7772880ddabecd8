"""A disk that is full, and then is not: refused, not lost, and taken again without a person's help.

On a real file system of a few MiB in memory, which another program fills and empties again and
again. Mounting it needs the right to mount.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from array import array
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import apsw
import msgspec
import pytest

from alertd.errors import StoreUnavailable
from alertd.outbound import DeliveryStatus
from alertd.store import space
from alertd.store.store import Store, open_store
from tests.e2e.daemon import Daemon
from tests.e2e.line_client import Client
from tests.faults.life import content
from tests.receivers import Answer, HttpReceiver, http_receiver
from tests.unit.store.store_samples import START_US, batch, firing, series, settlement

DISK_MIB: Final = 24
CYCLES: Final = int(os.environ.get("ALERTD_FULL_DISK_CYCLES", "50"))
EVENTS_A_REQUEST: Final = 200
REPOSITORY: Final = Path(__file__).parents[2]

CONFIG: Final = """
[store]
path = "{store}"
[engine]
snapshot_interval_secs = 0.2
[notify]
retry_first_secs = 0.05
retry_max_secs = 0.05
group_interval_secs = 0
[channels.hook]
type = "webhook"
url = "{hook}"
[[rules]]
name = "trouble"
type = "SIMPLE_COUNT"
metric_name = "trouble"
threshold = 0
window_duration_secs = 3600
group_by = ["cycle"]
notifications = ["hook"]
"""


class Disk:
    """A small file system, and the program that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave not a block."""
        with self._filler.open("wb") as file:
            for piece_bytes in (1 << 20, 64 << 10, 4 << 10):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(
                            file.fileno(), os.fstat(file.fileno()).st_size, piece_bytes
                        )

    def empty(self) -> None:
        """Give all of it back."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        pytest.skip(f"a small file system cannot be mounted here: {reason}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


async def fill_up(store: Store) -> int:
    """Append until the store refuses; return how many entries were acknowledged."""
    appended = 0
    with contextlib.suppress(StoreUnavailable):
        while appended < 10_000:
            await store.events.append([batch(200)], [])
            appended += 1
    assert appended < 10_000, "the disk does not fill up"
    return appended


async def test_on_a_full_disk_what_must_go_on_goes_on(disk: Disk) -> None:
    path = disk.folder / "alertd.db"
    incident = firing()
    (notification,) = incident.notifications
    async with open_store(path) as store:
        await store.events.append([batch()], series(3))
        disk.fill()
        stored = 1 + await fill_up(store)
        await store.incidents.record([incident], applied=stored)
        for attempt in range(200):
            waits = settlement(notification, DeliveryStatus.RETRY_PENDING, at_us=START_US + attempt)
            await store.outbox.settle([waits])
        assert await store.quarantine.prune(before_us=START_US) == 0
        had_room = store.writer.has_room
        with pytest.raises(StoreUnavailable, match="free some space"):
            await store.events.append([batch()], [])
        assert len([entry async for entry in store.events.replay(0)]) == stored
        disk.empty()
        await store.events.append([batch()], [])
        assert (had_room, store.writer.has_room) == (False, True)
    held = content(path)
    assert len(held["log"]) == stored + 1
    assert len(held["attempts"]) == 200


async def test_on_a_full_disk_retention_makes_room_for_events(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "KEPT_PAGES", 8)
    monkeypatch.setattr(space, "KEPT_SHARE", 1000)
    async with open_store(disk.folder / "alertd.db") as store:
        await store.events.append([batch()], series(3))
        chance = Random(1)  # noqa: S311  # not a secret
        for _ in range(150):
            values = array("d", (chance.random() for _ in range(3000)))
            await store.events.append([msgspec.structs.replace(batch(3000), values=values)], [])
        await store.folding.fold(1 << 40)
        disk.fill()
        await fill_up(store)
        await store.outbox.settle([])  # of what must go on, the first takes the reserve
        assert await store.retention.roll_up(START_US + 1) > 0
        while await store.space.give_back():
            pass
        await store.events.append([batch()], [])


async def test_a_store_opens_on_a_full_disk_and_refuses_events(disk: Disk) -> None:
    path = disk.folder / "alertd.db"
    async with open_store(path) as store:
        await store.events.append([batch()], series(3))
    disk.fill()
    async with open_store(path) as store:
        with pytest.raises(StoreUnavailable, match="free some space"):
            await store.events.append([batch()], [])
        disk.empty()
        assert await store.events.append([batch()], []) == 2


def test_a_daemon_refuses_while_its_disk_is_full_and_goes_on_when_it_is_not(
    disk: Disk, tmp_path: Path
) -> None:
    path = disk.folder / "alertd.db"
    environ = {"ALERTD_TEST_SMALL": "1", "PYTHONPATH": str(REPOSITORY)}
    with http_receiver() as hook:
        config = CONFIG.format(store=path, hook=hook.url())
        with Daemon(
            tmp_path, config, module="tests.faults.faulty_daemon", environ=environ
        ) as daemon:
            accepted, left_out = 0, set[str]()
            for cycle in range(CYCLES):
                accepted += fill_and_empty(daemon, disk, hook, cycle)
                events = [line["event"] for line in daemon.lines]  # since its last start
                left_out |= {each for each in events if each.startswith("snapshot left out")}
            assert left_out
            daemon.stop()
            assert not list(disk.folder.glob("**/*.unfinished"))
            assert stored_events(path) == accepted
            daemon.start()
            daemon.wait_until_told()
            incidents = daemon.history()
            assert len(incidents) == CYCLES
            assert {incident["status"] for incident in incidents} == {"SUCCESS"}


def test_lines_wait_while_the_disk_is_full_and_are_taken_when_it_is_not(
    disk: Disk, tmp_path: Path
) -> None:
    path = disk.folder / "alertd.db"
    environ = {"ALERTD_TEST_SMALL": "1", "PYTHONPATH": str(REPOSITORY)}
    config = f'[lines]\nsocket = "lines.sock"\n[store]\npath = "{path}"\n'
    with (
        Daemon(tmp_path, config, module="tests.faults.faulty_daemon", environ=environ) as daemon,
        Client(daemon, "unix") as client,
    ):
        client.send(event("load", 0))
        client.until_acknowledged(1)
        accepted = 1 + fill_up_by_posting(daemon, disk, 0)
        client.send(event("load", 0), event("load", 0))
        paused = client.answer()
        assert paused["paused"] == "store"
        assert "free some space" in paused["message"]
        disk.empty()
        client.until_acknowledged(3)
        daemon.stop()
    assert stored_events(path) == accepted + 2


def fill_and_empty(daemon: Daemon, disk: Disk, hook: HttpReceiver, cycle: int) -> int:
    """Let the disk be full for a while; return how many events were accepted."""
    hook.otherwise = Answer(503)
    daemon.post_events([event("trouble", cycle)])
    accepted = 1
    daemon.wait_until(lambda: len(daemon.history()) == cycle + 1, "it fired")

    accepted += fill_up_by_posting(daemon, disk, cycle)
    if cycle % 10 == 5:
        daemon.kill()
        daemon.start()
        accepted += fill_up_by_posting(daemon, disk, cycle)  # starting empties the WAL
    readiness = daemon.client.get("/readyz")
    assert readiness.status_code == 503
    assert "free some space" in readiness.text
    assert daemon.client.get("/healthz").status_code == 200

    hook.otherwise = Answer()
    daemon.wait_until_told()  # read, sent and settled, on a disk without a free block
    assert post(daemon, cycle) is None

    assert daemon.client.get("/readyz").status_code == 503
    disk.empty()
    if cycle % 10 == 0:  # looking for room takes a second
        daemon.wait_until(
            lambda: daemon.client.get("/readyz").status_code == 200, "it is ready unasked"
        )
    taken = post(daemon, cycle)
    assert taken == EVENTS_A_REQUEST
    assert daemon.client.get("/readyz").status_code == 200
    return accepted + taken


def fill_up_by_posting(daemon: Daemon, disk: Disk, cycle: int) -> int:
    """Fill the disk and post until the daemon refuses; return how many events it took."""
    disk.fill()
    accepted = 0
    while (taken := post(daemon, cycle)) is not None:
        accepted += taken
    return accepted


def event(metric: str, cycle: int) -> dict[str, object]:
    return {"metricName": metric, "labels": {"cycle": str(cycle)}}


def post(daemon: Daemon, cycle: int) -> int | None:
    """Post some events; return how many were accepted, None if they were refused as they should."""
    answer = daemon.client.post("/api/events", json=[event("load", cycle)] * EVENTS_A_REQUEST)
    if answer.status_code == 202:
        accepted: int = answer.json()["accepted"]
        return accepted
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert "free some space" in answer.json()["detail"]
    return None


def stored_events(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.pragma("integrity_check") == "ok"
        count: int = connection.execute(
            "SELECT sum(count) FROM event_log WHERE kind = 'events'"
        ).get
        return count
    finally:
        connection.close()
