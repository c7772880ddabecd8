"""``alertd incidents``, ``why`` and ``ack``: what is on, why, and that somebody has seen it.

Owns the words of the commands and what they print. A running daemon does the work.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import click
from rich.text import Text

from alertd.channels.wording import duration_text, number_text, time_text
from alertd.cli.commands import command
from alertd.cli.daemon_api import (
    Refused,
    ask,
    daemon_options,
    limit_option,
    listed,
    refuse,
    try_to_ask,
)
from alertd.cli.ids import whole_ids
from alertd.cli.terminal import is_terminal, print_json, print_table
from alertd.http.timestamp import written_us
from alertd.limits import MAX_PAGE_ITEMS
from alertd.model import US_PER_S, DetectedBy
from alertd.outbound import Told

EPILOG: Final = """\b
Examples:
  alertd incidents
  alertd incidents --all --limit 50
  alertd incidents --all --told failed
  alertd why 6f1c2d4e
  alertd ack 6f1c2d4e 1b09aa3c

\b
Exit codes:
  0  done
  2  the command was not understood
  3  the daemon could not be reached, or refused; standard error says why
"""

_LIST: Final = "/api/incidents"
_ENDED: Final = {
    "recovered": Text("resolved", style="green"),
    "no_data": Text("ended: no data"),
    "rule_changed": Text("ended: rule changed"),
    "rule_deleted": Text("ended: rule deleted or disabled"),
    "expired": Text("ended: forgotten, no events"),
}
"""Only what is known to have recovered is green."""
_UNTOLD: Final = {
    "pending": "not told yet",
    "failed": "telling failed",
    "held_back": "held back",
    "nobody": "nobody to tell",
}
"""What is said of an incident of which nobody knows."""
_LATE_S: Final = 60
"""Less between the beginning of an incident and its discovery needs no word."""
_TOLD: Final = click.Choice([told.value for told in Told], case_sensitive=False)


@command(epilog=EPILOG)
@click.option("--all", "with_resolved", is_flag=True, help="Those that are over, too.")
@click.option(
    "--told",
    type=_TOLD,
    help="Only those that somebody was told of (delivered), or nobody: it is on its way (pending), "
    "was given up (failed), is or was held back, or there is nobody to be told.",
)
@limit_option
@click.option("--json", "as_json", is_flag=True, help="JSON at a terminal, too.")
@daemon_options
def incidents(with_resolved: bool, told: str | None, limit: int, as_json: bool, url: str) -> None:
    """List the incidents that are on, the newest first.

    With --all those that are over come behind them. Who has acknowledged one stands below its
    state; where nobody knows of one, it says so below the name of the rule.
    """
    found = listed(url, _LIST, limit, state="firing", told=told)
    if with_resolved:
        found += listed(url, _LIST, limit - len(found), state="resolved", told=told)
    if as_json or not is_terminal():
        print_json(found)
    elif found:
        _show(found)
    else:
        click.secho("there is none" if told or with_resolved else "nothing is on", fg="green")


@command(epilog=EPILOG)
@click.argument("typed", nargs=-1, required=True, metavar="INCIDENT...")
@click.option("--by", metavar="NAME", help="Who has seen it. Default: your user name.")
@daemon_options
def ack(typed: tuple[str, ...], by: str | None, url: str) -> None:
    """Say that you have seen an incident, or several.

    INCIDENT is the id that `alertd incidents` shows, or its beginning, six characters at least.
    It is not repeated any more and does not escalate to others; its end is still told. Where one
    of several ids is none, nothing is acknowledged; where the daemon refuses one, the others are.
    """
    body = {"by": getpass.getuser() if by is None else by}
    what = ("incident that is on", "incidents that are on")
    ids = whole_ids(
        *(typed, partial(_on_now, url)), what=what, argument="INCIDENT", lister="alertd incidents"
    )
    refused = []
    for id_ in dict.fromkeys(ids):
        try:
            incident = try_to_ask(url, "POST", f"{_LIST}/{quote(id_, safe='')}/ack", body)
        except Refused as refusal:
            refused += [line if len(ids) == 1 else f"{id_}: {line}" for line in refusal.lines]
        else:
            _show_acknowledged(incident)
    if refused:
        refuse(refused)


# Any: an item as the API answers it.
def _show_acknowledged(incident: Mapping[str, Any]) -> None:
    if not is_terminal():
        print_json(incident)
        return
    known = incident["acknowledgedBy"]
    if incident["acknowledgedAt"] is None:
        click.secho(f"it was over before anybody acknowledged it: {incident['message']}")
        return
    when = time_text(incident["acknowledgedAt"])
    click.secho(f"acknowledged{f' by {known}' if known else ''}, {when}", fg="green")
    click.echo(incident["message"])


@command(epilog=EPILOG)
@click.argument("incident_id", metavar="INCIDENT")
@daemon_options
def why(incident_id: str, url: str) -> None:
    """Say why an incident fired, and who was told or not.

    INCIDENT is the id that `alertd incidents` shows. Its beginning, six characters at least, is
    enough for one that is on, and for the newest 1000 that are over. What is shown of it is its
    timeline: each decision and each attempt, the oldest first.
    """
    what = ("incident", "incidents")
    [incident_id] = whole_ids(
        *([incident_id], partial(_known, url)),
        what=what, argument="INCIDENT", lister="alertd incidents --all",
    )  # fmt: skip
    incident = ask(url, "GET", f"{_LIST}/{quote(incident_id, safe='')}")
    if not is_terminal():
        print_json(incident)
        return
    click.echo(incident["message"])
    click.echo(f"{incident['id']}, {incident['severity']}, {_standing(incident)}")
    click.echo(_noticed(incident))
    lines = [
        (Text(time_text(line["at"])), Text(line["what"]), Text(line["detail"]))
        for line in incident["timeline"]
    ]
    print_table(("when", "what", "detail"), lines, whole=("when",))


# Any: an item as the API answers it.
def _noticed(one: Mapping[str, Any]) -> str:
    """Return a line that says so where it was found long after it began; else an empty one.

    The timeline has the beginning in the time of the events, and all else by alertd's clock.
    """
    behind_s = (written_us(one["triggeredAt"]) - written_us(one["firedAt"])) / US_PER_S
    if behind_s < _LATE_S:
        return ""
    when, behind = time_text(one["triggeredAt"]), duration_text(behind_s)
    cause = ""
    if one["lateBy"] > 0:
        cause = f": the data came {duration_text(one['lateBy'])} late"
    elif one["detectedBy"] == DetectedBy.BACKFILL.value:
        cause = ": its rule, new or edited then, looked back"
    return f"alertd noticed it {when}, {behind} after it fired{cause}\n"


def _known(url: str) -> dict[str, str]:
    """Return what is on and what was lately, in words by id."""
    over = listed(url, _LIST, MAX_PAGE_ITEMS, state="resolved")
    return _on_now(url) | {one["id"]: one["message"] for one in over}


def _on_now(url: str) -> dict[str, str]:
    """Return what is on, in words by id."""
    return {one["id"]: one["message"] for one in listed(url, _LIST, state="firing")}


# Any: items as the API answers them.
def _show(found: list[Mapping[str, Any]]) -> None:
    titles = ("id", "state", "severity", "rule", "labels", "value", "since")
    print_table(titles, [_row(one) for one in found], whole=("id",))


# Any: as above.
def _row(one: Mapping[str, Any]) -> tuple[Text, ...]:
    value = one["currentValue"]
    return (
        Text(one["id"]),
        _state(one).append(_seen(one), style="yellow"),
        Text(one["severity"]),
        Text(one["ruleName"]).append(_untold(one.get("told", "")), style="yellow"),
        Text("\n".join(f"{name}={label}" for name, label in one["groupLabels"].items())),
        Text("no data" if value is None else number_text(value)),
        Text(time_text(one["startedAt"])),
    )


# Any: as above.
def _state(one: Mapping[str, Any]) -> Text:
    """Return whether it is on, and if not, why it ended."""
    if one["state"] == "firing":
        return Text("firing", style="red")
    return _ENDED.get(one["reason"], Text("ended")).copy()


# Any: as above.
def _standing(one: Mapping[str, Any]) -> str:
    """Return in one line how it stands: state, when, and who knows of it."""
    seen, untold = _seen(one).strip(), _untold(one.get("told", "")).strip()
    since = f"since {time_text(one['startedAt'])}"
    if one["endedAt"] is not None:
        since = f"{time_text(one['startedAt'])} to {time_text(one['endedAt'])}"
    return ", ".join(filter(None, (_state(one).plain, since, seen, untold)))


# Any: as above.
def _seen(one: Mapping[str, Any]) -> str:
    """Return the line below a state; nothing where nobody has said that they had seen it."""
    if one.get("acknowledgedAt") is None:
        return ""
    by = one["acknowledgedBy"]
    return f"\nacknowledged by {by}" if by else "\nacknowledged"


def _untold(told: str) -> str:
    """Return the line below a rule's name; nothing where somebody was told."""
    return f"\n{_UNTOLD[told]}" if told in _UNTOLD else ""
