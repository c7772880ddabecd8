"""``alertd messages``: which were delivered, wait or were given up, and having them sent.

Owns the words of the commands and what they print. A running daemon does the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import click
from rich.text import Text

from alertd.channels.wording import time_text
from alertd.cli.commands import group
from alertd.cli.daemon_api import ask, daemon_options, limit_option, listed
from alertd.cli.ids import whole_ids
from alertd.cli.terminal import is_terminal, print_json, print_table, progress
from alertd.outbound import DeliveryStatus

EPILOG: Final = """\b
Examples:
  alertd messages list --status FAILED
  alertd messages requeue 6f1c2d4e
  alertd messages requeue --failed --channel ops
  alertd messages requeue --waiting

\b
Exit codes:
  0  done
  2  the command was not understood
  3  the daemon could not be reached, or refused; standard error says why
"""

_LIST: Final = "/api/notifications"
_MEANWHILE: Final = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
"""One of many was delivered since they were listed, perhaps in the message of its end."""
_SHOWN: Final = {
    "FAILED": Text("failed", style="red"),
    "RETRY_PENDING": Text("waits", style="yellow"),
    "SUCCESS": Text("sent", style="green"),
}


@group(epilog=EPILOG)
def messages() -> None:
    """Show what was sent, and have sent what was not.

    A running daemon is asked. A message tells of one incident or of many.
    """


@messages.command("list")
@click.option(
    "--status",
    type=click.Choice([one.value for one in DeliveryStatus], case_sensitive=False),
    help="Only those that were given up, are to be tried again, or were delivered.",
)
@click.option("--channel", metavar="NAME", help="Only those of this channel.")
@limit_option
@daemon_options
def list_(status: str | None, channel: str | None, limit: int, url: str) -> None:
    """List messages, the newest first."""
    found = listed(url, _LIST, limit, status=status, channel=channel)
    if not is_terminal():
        print_json(found)
    elif found:
        _show(found)
    else:
        click.secho("there is none", fg="green")


@messages.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--failed", "all_failed", is_flag=True, help="All that were given up.")
@click.option("--waiting", "all_waiting", is_flag=True, help="All that wait to be sent.")
@click.option(
    "--channel", metavar="NAME", help="With --failed or --waiting: only those of this channel."
)
@daemon_options
def requeue(
    ids: tuple[str, ...], all_failed: bool, all_waiting: bool, channel: str | None, url: str
) -> None:
    """Have messages sent again that were given up, or sent now that wait.

    Name them by the ids that `alertd messages list` shows, or by the beginning of these, six
    characters at least; or say --failed, --waiting or both. What was given up is sent as if it
    were new, under its old Idempotency-Key. What waits is tried now; the attempt counts.
    """
    statuses = [
        status
        for status, is_meant in (
            (DeliveryStatus.FAILED, all_failed),
            (DeliveryStatus.RETRY_PENDING, all_waiting),
        )
        if is_meant
    ]
    if bool(statuses) == bool(ids) or (channel is not None and not statuses):
        raise click.UsageError("name messages by their ids, or say --failed or --waiting")
    if statuses:
        chosen = [one["id"] for one in _undelivered(url, statuses, channel)]
    else:
        what = ("message that is not delivered", "messages that are not delivered")
        lister = "alertd messages list"
        chosen = whole_ids(ids, partial(_in_words, url), what=what, argument="ID", lister=lister)
    with progress() as report:
        sent = []
        for done, id_ in enumerate(chosen, start=1):
            path = f"{_LIST}/{quote(id_, safe='')}/requeue"
            if ask(url, "POST", path, expected=_MEANWHILE if statuses else ()) is not None:
                sent.append(id_)
            report("sending again", done, len(chosen))
    if is_terminal():
        click.secho(f"sent again: {len(sent):,}", fg="green")
    else:
        print_json(sent)


# Any: items as the API answers them.
def _undelivered(
    url: str, statuses: Sequence[DeliveryStatus], channel: str | None = None
) -> list[Mapping[str, Any]]:
    """Return the messages of these statuses, the oldest first."""
    return [
        one
        for status in statuses
        for one in reversed(listed(url, _LIST, status=status.value, channel=channel))
    ]


def _in_words(url: str) -> dict[str, str]:
    """Return what each message that is not delivered is about, by id."""
    return {
        one["id"]: f"{one['channel']}: {', '.join(one['kinds'])}, {time_text(one['createdAt'])}"
        for one in _undelivered(url, (DeliveryStatus.FAILED, DeliveryStatus.RETRY_PENDING))
    }


# Any: as above.
def _show(found: list[Mapping[str, Any]]) -> None:
    rows = [
        (
            Text(one["id"]),
            Text(one["channel"]),
            _SHOWN[one["status"]],
            Text(", ".join(one["kinds"])),
            Text(f"{one['incidentCount']:,}"),
            Text(time_text(one["createdAt"])),
            Text(one["lastError"] or ""),
        )
        for one in found
    ]
    titles = ("id", "channel", "status", "tells", "of", "begun", "error")
    print_table(titles, rows, whole=("id",))
