"""Someone who makes, edits and deletes rules all the time, over HTTP."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

PAUSE_S = 0.02
MAX_RULES = 4
SHAPES: tuple[dict[str, Any], ...] = (
    {
        "type": "SIMPLE_COUNT", "metricName": "errors", "threshold": 3,
        "windowDurationSecs": 0.5, "keepFiringSecs": 0.5,
    },
    {
        "type": "MOVING_WINDOW", "metricName": "latency", "threshold": 130,
        "windowDurationSecs": 1, "forSecs": 0.01,
    },
    {
        "type": "MOVING_WINDOW", "metricName": "load", "aggregate": "max", "threshold": 220,
        "windowDurationSecs": 0.5, "keepFiringSecs": 0.3,
    },
)  # fmt: skip


@dataclass
class Author:
    """Knows which version of each rule was acknowledged. ``run`` it for as long as a daemon lives.

    What was on its way at a kill is looked up by ``compare`` when the daemon is there again.
    """

    random: random.Random
    known: dict[str, int] = field(default_factory=dict)
    """The version of each rule."""
    on_its_way: str | None = None
    """The rule that a request was about that has not been answered; "" for a new one."""
    edits: int = 0
    problems: list[str] = field(default_factory=list)
    _made: int = 0

    def run(self, url: str, stop: threading.Event) -> None:
        """Edit until ``stop`` is set or the daemon is gone."""
        with httpx.Client(base_url=url, timeout=20, trust_env=False, verify=False) as client:  # noqa: S501  # no TLS here
            try:
                self.compare(client)
                while not stop.wait(PAUSE_S):
                    self._do_something(client)
            except httpx.TransportError:
                pass  # it was killed

    def compare(self, client: httpx.Client) -> None:
        """Hold the rules against what was acknowledged."""
        items = client.get("/api/alerts", params={"limit": 1000}).raise_for_status().json()["items"]
        found = {item["id"]: item["version"] for item in items if item["source"] == "api"}
        for rule_id in found.keys() | self.known.keys():
            before, after = self.known.get(rule_id), found.get(rule_id)
            if before == after:
                continue
            is_new = before is None and self.on_its_way == ""
            is_next = rule_id == self.on_its_way and (
                after is None or (before is not None and after == before + 1)
            )
            if not (is_new or is_next):
                self.problems.append(f"rule {rule_id}: acknowledged {before}, found {after}")
        self.known, self.on_its_way = found, None

    def _do_something(self, client: httpx.Client) -> None:
        actions: list[Callable[[httpx.Client], None]] = [self._edit, self._edit, self._delete]
        if len(self.known) < MAX_RULES:
            actions = [self._make]
        self.random.choice(actions)(client)
        self.on_its_way = None
        self.edits += 1

    def _make(self, client: httpx.Client) -> None:
        self.on_its_way = ""
        self._made += 1
        rule = {
            **self.random.choice(SHAPES), "name": f"rule {self._made}.{self.random.random()}",
            "groupBy": ["source"], "allowedLatenessSecs": 30,
            "notifications": [{"channel": "hook"}],
        }  # fmt: skip
        made = client.post("/api/alerts", json=rule).raise_for_status().json()
        self.known[made["id"]] = made["version"]

    def _edit(self, client: httpx.Client) -> None:
        rule_id = self.random.choice(sorted(self.known))
        self.on_its_way = rule_id
        change: dict[str, Any] = self.random.choice(
            (
                {"threshold": self.random.choice((2, 3, 4, 90, 120, 150))},
                {"windowDurationSecs": self.random.choice((0.2, 0.5, 1))},
                {"isActive": self.random.random() < 0.7},
                {"severity": self.random.choice(("info", "critical"))},
            )
        )
        edited = client.patch(f"/api/alerts/{rule_id}", json=change).raise_for_status().json()
        self.known[rule_id] = edited["version"]

    def _delete(self, client: httpx.Client) -> None:
        rule_id = self.random.choice(sorted(self.known))
        self.on_its_way = rule_id
        client.delete(f"/api/alerts/{rule_id}").raise_for_status()
        del self.known[rule_id]
