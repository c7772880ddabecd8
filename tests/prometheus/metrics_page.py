"""The list of metrics, made of the registry.

``python -m tests.prometheus.metrics_page > docs/metrics.md`` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from alertd.metrics import Metrics

_HEAD = """\
# Metrics

Everything that `GET /metrics` shows, in Prometheus' text format. `etc/prometheus/alertd.rules.yml`
has alerts on what matters of it, `etc/grafana/alertd.json` is a dashboard.

A histogram `x` is shown as `x_bucket` (with the label `le`), `x_sum` and `x_count`. Labels have
values from small fixed sets or from the configuration, never what a client sends.

| metric | type | labels | |
|---|---|---|---|
"""


class Family(NamedTuple):
    """One metric."""

    name: str
    type: str
    labels: tuple[str, ...]
    note: str

    @property
    def series(self) -> dict[str, frozenset[str]]:
        """The labels of each name that queries can use."""
        labels = frozenset(self.labels)
        if self.type != "histogram":
            return {self.name: labels}
        return {
            f"{self.name}_bucket": labels | {"le"},
            f"{self.name}_sum": labels,
            f"{self.name}_count": labels,
        }


def families() -> Iterator[Family]:
    """Yield every metric, in the order of ``GET /metrics``."""
    registry = Metrics().registry
    for family in registry.collect():
        # The library tells the labels of a metric without samples to nobody.
        collector = registry._names_to_collectors.get(family.name)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = tuple(getattr(collector, "_labelnames", ()))
        yield Family(name, family.type, labels, family.documentation)


def page() -> str:
    """Return the page."""
    rows = (
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {note} |\n"
        for name, kind, labels, note in families()
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
