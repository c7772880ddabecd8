"""``alertd status``: how a running daemon is doing, and what wants mending.

Owns the words of the command and what it prints. The daemon answers with all that it knows of
itself; a terminal shows what a person wants to know first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alertd.channels.wording import duration_text, time_text
from alertd.cli.commands import command
from alertd.cli.daemon_api import ask, daemon_options
from alertd.cli.terminal import is_terminal, print_json, size_text
from alertd.cli.warnings import tell_warnings

EXIT_NOT_READY: Final = 3
EPILOG: Final = """\b
Exit codes:
  0  events can be taken and made durable
  2  the command was not understood
  3  they cannot, or the daemon could not be reached; standard error says why
"""


@command(epilog=EPILOG)
@daemon_options
def status(url: str) -> None:
    """Show how a running daemon is doing, and what wants mending.

    Among that are the warnings about its configuration; a change of rules over HTTP shows in them
    after some seconds.
    """
    report = ask(url, "GET", "/api/status")
    tell_warnings(report["configuration"])
    if is_terminal():
        for line in _to_mend(report):
            click.secho(line, err=True, fg="yellow")
        Console().print(_table(report))
    else:
        print_json(report)
    if not report["ready"]:
        click.secho(f"not ready: {report['reason']}", err=True, fg="red")
        sys.exit(EXIT_NOT_READY)


# Any: a reply as the API gives it.
def _table(report: Mapping[str, Any]) -> Table:
    store, queues = report["store"], report["queues"]
    snapshot_at = report["snapshotAt"]
    rows = {
        "alertd": f"{report['version']}, up for {duration_text(report['uptimeSecs'])}",
        "configuration": f"of {time_text(report['configuration']['appliedAt'])}",
        "judged": f"all up to {duration_text(report['lagSecs'])} ago" + _to_judge_again(report),
        "rules": f"{report['rules']:,}, {report['groups']:,} group{'s' * (report['groups'] != 1)}",
        "series": f"{report['series']:,}",
        "waiting": f"{queues['events']:,} events, {queues['notifications']:,} messages",
        "store": f"{store['path']}, {size_text(store['sizeBytes'])}",
        "snapshot": "none since the start" if snapshot_at is None else time_text(snapshot_at),
    }
    table = Table.grid(padding=(0, 2))
    for title, text in rows.items():
        table.add_row(Text(title, style="bold"), Text(text))
    return table


# Any: as above.
def _to_judge_again(report: Mapping[str, Any]) -> str:
    groups: int = report["overdueGroups"]
    return f"; {groups:,} groups again, for events that came very late" if groups else ""


# Any: as above.
def _to_mend(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that is not as it should be."""
    yield from _refusal(report["configuration"]["refused"])
    if report["failedNotifications"]:
        yield (
            f"messages that were given up: {report['failedNotifications']:,}; "
            "`alertd messages list --status FAILED` lists them"
        )
    for failing in report["failingChannels"]:
        where = f" to {failing['endpoint']}" if failing["endpoint"] else ""
        yield (
            f"channel {failing['channel']!r}{where} takes nothing since "
            f"{time_text(failing['since'])}, messages that wait for it: {failing['waiting']:,}; "
            f"it said last: {failing['lastError']}"
        )
    for error in report["ruleErrors"]:
        yield f"rule {error['ruleName']!r}: {error['message']}"
    for refusal in report["refusals"]:
        whose = refusal["ruleName"] or refusal["metricName"]
        yield f"engine.{refusal['limit']} is reached: {whose!r}; GET /api/status has more"
    # Where no event was ever too late, what comes so far apart is rare, and not sent in batches.
    for gap in report["observedGaps"] if report["overdueEvents"] else ():
        yield (
            f"rule {gap['ruleName']!r}: events come up to {duration_text(gap['greatestSecs'])} "
            f"apart, its allowedLatenessSecs is {gap['allowedLatenessSecs']:g}: if that is how "
            "often senders push, raise it, or have them push more often; if events are rare, it "
            "is well so"
        )
    for flapping in report["flapping"]:
        labels = ", ".join(f"{name}={value}" for name, value in flapping["groupLabels"].items())
        name = flapping["ruleName"] or flapping["ruleId"]  # it may be gone
        yield f"rule {name!r} flaps since {time_text(flapping['since'])}: {labels}"
    if report["coldRules"]:
        yield f"rules that began without what was stored before: {len(report['coldRules'])}"


# Any: as above.
def _refusal(refused: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what the last reload was refused for, if it was."""
    if refused is None:
        return
    yield (
        f"the configuration of {time_text(refused['at'])} was refused, so alertd runs on the one "
        "before, and may not start again:"
    )
    for error in refused["errors"]:
        yield ": ".join(filter(None, (error["path"], error["message"])))
    more = refused["errorCount"] - len(refused["errors"])
    if more > 0:
        yield f"and {more} more mistakes: `alertd check` names all"
