"""``alertd silence``: what nobody wants to be told of for a while.

Owns the words of the commands and what they print. A running daemon does the work.
"""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import click
from rich.text import Text

from alertd.channels.wording import time_text
from alertd.cli.commands import group
from alertd.cli.daemon_api import ask, daemon_options, listed
from alertd.cli.ids import whole_ids
from alertd.cli.labels import each_once, tell_of_lists
from alertd.cli.terminal import is_terminal, print_json, print_table
from alertd.cli.times import Instant, Length
from alertd.clock import format_us, optional_time
from alertd.literals import meant_instead
from alertd.model import US_PER_S, Matcher
from alertd.rules import parse_matcher, parse_matchers

EPILOG: Final = """\b
Examples:
  alertd silence add --for 2h --comment "deploy" service=payment 'host=~web-.*'
  alertd silence add --start 2026-12-24T22:00:00Z --end 2026-12-25T04:00:00Z ruleName=Backup
  alertd silence list
  alertd silence expire 6f1c2d4e

\b
Exit codes:
  0  done
  2  the command was not understood
  3  the daemon could not be reached, or refused; standard error says why
"""

_LIST: Final = "/api/silences"
_MOMENT: Final = Instant(ahead=True)
_MATCHER = re.compile(r"([^=!]+)(=~|!~|!=|=)(.*)", re.DOTALL)


class _Matcher(click.ParamType[tuple[str, str]]):
    """A label and its matcher, as the API takes it."""

    name = "matcher"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        match = _MATCHER.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is not LABEL=VALUE, !=, =~ or !~", param, ctx)
        label, text = match[1], f"{match[2]}{match[3]}"
        matcher = parse_matcher(label, text)
        meant = meant_instead(matcher)
        if meant is not None and meant.pattern != matcher.pattern:
            self.fail(f"{value!r} has two operators; did you mean {_typed(meant)!r}?", param, ctx)
        return label, text


@group(epilog=EPILOG)
def silence() -> None:
    """Keep a running daemon quiet about what matches, for a while.

    Matching incidents are recorded as always, and not told; what still fires when the silence
    ends is told then.
    """


@silence.command()
@click.argument("matchers", nargs=-1, required=True, type=_Matcher(), metavar="LABEL=VALUE...")
@click.option("--for", "for_s", type=Length(), metavar="LENGTH", help="For how long: 30m, 2h, 7d.")
@click.option(
    "--end", "end_us", type=_MOMENT, metavar="TIME", help="Until when, in place of --for."
)
@click.option(
    "--start", "start_us", type=_MOMENT, metavar="TIME", help="From when on. Default: now."
)
@click.option("--comment", default="", metavar="TEXT", help="Why; it is shown with the incidents.")
@click.option("--by", metavar="NAME", help="Who asks. Default: your user name.")
@daemon_options
def add(
    matchers: tuple[tuple[str, str], ...],
    for_s: int | None,
    end_us: int | None,
    start_us: int | None,
    comment: str,
    by: str | None,
    url: str,
) -> None:
    """Add a silence, which begins now unless --start says otherwise.

    LABEL is a label of the incident, ruleName or severity; all must hold. =, !=, =~ and !~ mean
    what they do in a rule. TIME is written like 2025-06-30T22:00:00Z, in epoch seconds, or as how
    long it is from now: 30m, 2h, 7d.
    """
    chosen = each_once(matchers, "write one =~ for all of them")
    tell_of_lists(chosen)
    begins_us = time.time_ns() // 1000 if start_us is None else start_us
    if end_us is not None and for_s is not None:
        raise click.UsageError("--for and --end both say when it ends: leave one of them out")
    if for_s is not None:
        end_us = begins_us + for_s * US_PER_S
    if end_us is None:
        raise click.UsageError("say how long it holds, --for, or until when, --end")
    if end_us <= begins_us:
        option = "--end" if for_s is None else "--for"
        raise click.BadParameter("it would be over before it begins", param_hint=option)
    body = {
        "matchers": chosen,
        "startsAt": optional_time(start_us),
        "endsAt": format_us(end_us),
        "createdBy": getpass.getuser() if by is None else by,
        "comment": comment,
    }
    added = ask(url, "POST", _LIST, body)
    for warning in added.get("warnings", ()):
        click.secho(f"warning: {warning['path']} {warning['message']}", err=True, fg="yellow")
    _show([added])


@silence.command("list")
@click.option("--all", "with_expired", is_flag=True, help="Those that are over, too.")
@daemon_options
def list_(with_expired: bool, url: str) -> None:
    """List silences, those that end last first."""
    found = listed(url, _LIST)
    _show([one for one in found if with_expired or one["state"] != "expired"])


@silence.command()
@click.argument("silence_id", metavar="ID")
@daemon_options
def expire(silence_id: str, url: str) -> None:
    """End a silence now; what still fires is told.

    ID is what `alertd silence list` shows, or its beginning, six characters at least. One that is
    over stays as it is.
    """
    what = ("silence", "silences")
    there = partial(_in_words, url, silence_id)
    lister = "alertd silence list"
    [silence_id] = whole_ids([silence_id], there, what=what, argument="ID", lister=lister)
    _show([ask(url, "DELETE", f"{_LIST}/{quote(silence_id, safe='')}")])


def _in_words(url: str, beginning: str) -> dict[str, str]:
    """Return the silences that are not over, in words by id.

    Where none of them begins with ``beginning``, those that are over and do are there as well.
    """
    found = listed(url, _LIST)
    meant = [one for one in found if one["id"].startswith(beginning.lower())]
    is_one_on = any(one["state"] != "expired" for one in meant)
    on = [one for one in found if one["state"] != "expired"]
    return {one["id"]: " ".join(_matchers(one)) for one in (on if is_one_on else [*on, *meant])}


# Any: items as the API answers them.
def _show(silences: list[Mapping[str, Any]]) -> None:
    if not is_terminal():
        print_json(silences)
        return
    if not silences:
        click.secho("there is none", fg="green")
        return
    rows = []
    for one in silences:
        matchers = "\n".join(_matchers(one))
        until = time_text(one["endsAt"])
        if one["state"] == "pending":
            until = f"{until}, from {time_text(one['startsAt'])} on"
        shown = (one["id"], one["state"], matchers, until, one["createdBy"], one["comment"])
        rows.append([Text(str(cell)) for cell in shown])
    print_table(("id", "state", "matchers", "until", "by", "comment"), rows, whole=("id",))


# Any: as above.
def _matchers(one: Mapping[str, Any]) -> list[str]:
    """Return matchers as they are typed: the API leaves the operator of equality out."""
    return [_typed(matcher) for matcher in parse_matchers(one["matchers"])]


def _typed(matcher: Matcher) -> str:
    return f"{matcher.label}{matcher.operator}{matcher.pattern}"
