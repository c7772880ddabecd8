"""A daemon whose disk fails in a commit says so, ends, acknowledges nothing, and recovers.

A real process on a disk that begins to fail when it is told to.
"""

from __future__ import annotations

import signal
from pathlib import Path

import apsw
import httpx
import pytest

from alertd.cli.daemon import EXIT_FAILED
from tests.e2e.daemon import Daemon
from tests.faults.test_full_disk import REPOSITORY, stored_events

FAULTS = {
    "the sync of a commit": ("sync", "-wal", apsw.SQLITE_IOERR_FSYNC),
    "the write of a commit": ("write", "-wal", apsw.SQLITE_IOERR_WRITE),
    "no room in a commit": ("write", "-wal", apsw.SQLITE_FULL),
    "the sync of a checkpoint": ("sync", ".db", apsw.SQLITE_IOERR_FSYNC),
}
MANY_EVENTS = [{"metricName": "load", "value": place} for place in range(1000)]
GIVE_UP_AFTER_REQUESTS = 1000


@pytest.mark.parametrize("name", FAULTS)
def test_a_commit_that_fails_ends_the_daemon_and_loses_nothing(tmp_path: Path, name: str) -> None:
    kind, file, code = FAULTS[name]
    environ = {
        "ALERTD_TEST_FAULT": f"{kind}:{file}:1:{code}",
        "ALERTD_TEST_SMALL": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    with Daemon(tmp_path, module="tests.faults.faulty_daemon", environ=environ) as daemon:
        daemon.post_events(MANY_EVENTS)
        daemon.signal(signal.SIGUSR1)
        acknowledged = 1 + post_until_refused(daemon)
        assert daemon.wait_for_end() == EXIT_FAILED
        critical = [line for line in daemon.lines if line["level"] == "critical"]
        assert critical[-1]["event"] == "daemon_failed"
        assert "the process must end and read the file again" in critical[-1]["reason"]
        daemon.lines.clear()  # that it failed was to be expected

        daemon.start()
        daemon.post_events(MANY_EVENTS)
        daemon.stop()
    found = stored_events(tmp_path / "state" / "alertd.db") // len(MANY_EVENTS)
    assert found - 1 in (acknowledged, acknowledged + 1), "nobody knows of the one that failed"


def post_until_refused(daemon: Daemon) -> int:
    """Post events until one request is not acknowledged; return how many were."""
    for acknowledged in range(GIVE_UP_AFTER_REQUESTS):
        try:
            answer = daemon.client.post("/api/events", json=MANY_EVENTS)
        except httpx.TransportError:
            return acknowledged
        if answer.status_code != 202:
            assert answer.status_code == 503
            return acknowledged
    raise AssertionError("the disk does not fail")
