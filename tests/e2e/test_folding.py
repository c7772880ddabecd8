"""A daemon that folds its log while it is fed, and is killed at any moment of it."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from pathlib import Path

import apsw
import pytest

from tests.e2e.daemon import Daemon, to_us
from tests.e2e.test_stored_events import listed

LIVES = 8
CONFIG = """
[store]
fold_after_events = 700
"""


@pytest.mark.parametrize("seed", [20_261_125])
def test_what_was_accepted_is_there_once_however_often_a_folding_is_killed(
    tmp_path: Path, seed: int
) -> None:
    choose = random.Random(seed)  # noqa: S311 - not a secret
    begin_us = (int(time.time()) - 3600) * 1_000_000
    accepted: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    with Daemon(tmp_path, CONFIG) as daemon:
        for life in range(LIVES):
            if life:
                daemon.start()  # it looks at once whether there is enough to fold
            for number in range(choose.randrange(2, 12)):
                events = [
                    (
                        f"web-{choose.randrange(9)}",
                        f"{life}/{number}/{place}",
                        (begin_us + choose.randrange(1 << 31)) / 1e6,
                        round(choose.gauss(0, 100), choose.choice((0, 2, 17))),
                    )
                    for place in range(300)
                ]
                answer = daemon.post_events(
                    [
                        {
                            "metricName": "m",
                            "timestamp": timestamp,
                            "value": value,
                            "labels": {"host": host},
                            "id": event_id,
                        }
                        for host, event_id, timestamp, value in events
                    ]
                )
                assert answer["accepted"] == 300
                for host, event_id, _, value in events:
                    accepted[host].append((event_id, value))
            time.sleep(choose.random() / 3)
            daemon.kill()
        daemon.start()
        for host, events_of_host in accepted.items():
            found = listed(daemon, "/api/events", 1000, metricName="m", **{"labels.host": host})
            assert sorted((item["id"], item["value"]) for item in found) == sorted(events_of_host)
            times_us = [to_us(item["timestamp"]) for item in found]
            assert times_us == sorted(times_us)
            (series,) = listed(daemon, "/api/series", 10, metricName="m", **{"labels.host": host})
            assert series["count"] == len(events_of_host)
            assert to_us(series["firstSeen"]) == times_us[0]
            assert to_us(series["lastSeen"]) == times_us[-1]
        daemon.stop()
        database = apsw.Connection(str(tmp_path / "state" / "alertd.db"))
        assert database.execute("SELECT count(*) FROM segments").get > LIVES
        assert database.pragma("integrity_check") == "ok"
        database.close()
