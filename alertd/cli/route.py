"""``alertd route``: whom an incident would be told, by the configuration alone.

Owns the words of the command and what it prints. The decision is the daemon's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import click
from msgspec import Struct
from rich.text import Text

from alertd.channels.wording import duration_text
from alertd.cli.commands import command
from alertd.cli.configuration import config_option, load_configuration
from alertd.cli.labels import Label, Labels, each_once, tell_of_lists
from alertd.cli.terminal import is_terminal, print_json, print_table
from alertd.config.settings import Config
from alertd.meant import did_you_mean
from alertd.model import US_PER_S, Severity
from alertd.notify.route import Destination, Own, destinations
from alertd.rules import RuleSpec, compile_escalation, seconds_to_us

EPILOG: Final = """\b
Examples:
  alertd route --labels severity=critical,service=payment
  alertd route --labels "ruleName=High Error Count" service=payment

\b
Exit codes:
  0  done, also where nobody would be told
  1  the configuration cannot be used
  2  the command was not understood
"""

_SEVERITIES: Final = tuple(severity.value for severity in Severity)


class Line(Struct, frozen=True, kw_only=True, rename="camel"):
    """One target, as a program gets it."""

    channel: str
    via: str
    after_secs: float
    group_by: tuple[str, ...]
    group_wait_secs: float
    group_interval_secs: float
    repeat_interval_secs: float


@command(epilog=EPILOG)
@click.option(
    "--labels",
    "listed",
    type=Labels(),
    multiple=True,
    metavar="LABEL=VALUE,...",
    help="Labels, with commas in between; may be repeated, each label once.",
)
@click.argument("labels", nargs=-1, type=Label(), metavar="[LABEL=VALUE]...")
@config_option
def route(
    listed: tuple[list[tuple[str, str]], ...],
    labels: tuple[tuple[str, str], ...],
    config_path: Path | None,
) -> None:
    """Show whom an incident with these labels would be told.

    LABEL is a label of the incident's group, ruleName or severity. A value with a comma in it is
    given as an argument of its own. The notifications of a rule that the configuration has under
    that ruleName count as well, and its severity is the default; without a ruleName that is
    warning. Mutes, inhibitions and silences are not considered.
    """
    described = each_once((*chain(*listed), *labels), "an incident has one value of each label")
    tell_of_lists(described)
    _, config = load_configuration(config_path)
    told = _told(config, described)
    for doubt in _doubts(config, described):
        _note(doubt)
    if is_terminal():
        _print_table(told)
        for left_out in _left_out(config, described):
            _note(left_out)
    else:
        print_json([_line(one) for one in told])


def _note(text: str) -> None:
    click.secho(text, err=True, fg="yellow")


def _doubts(config: Config, labels: dict[str, str]) -> Iterator[str]:
    """Yield why there may be no such incident, or others may be told of it."""
    name, severity, spec = labels.get("ruleName"), labels.get("severity"), _rule(config, labels)
    if severity is not None and severity not in _SEVERITIES:
        hint = did_you_mean(severity, _SEVERITIES) or f"there are {', '.join(_SEVERITIES)}"
        yield f"there is no severity {severity!r}; {hint}"
    if spec is not None:
        for label in sorted(labels.keys() - {"ruleName", "severity", *spec.group_by}):
            yield f"no incident of {name!r} has the label {label!r}: the rule does not group by it"
    elif name is not None:
        yield f"the configuration has no rule {name!r}: whom it names itself is not known here"
    else:
        known = _known_labels(config)
        for label in sorted(labels.keys() - known):
            if meant := did_you_mean(label, known):
                yield f"no rule groups by {label!r}, and no route is about it; {meant}"


def _known_labels(config: Config) -> set[str]:
    """Return the labels that incidents of the configuration's rules have, or routes ask for."""
    known = {"ruleName", "severity"}
    known.update(label for rule in config.rules for label in rule.spec.group_by)
    return known.union(*(route.matchers for route in config.route))


def _left_out(config: Config, labels: dict[str, str]) -> Iterator[str]:
    """Yield what may make it other people than is shown."""
    yield "mutes, inhibitions and silences are not considered"
    if "ruleName" not in labels:
        yield "nor is whom the rule names itself: say ruleName=NAME to have that, too"
    if "severity" not in labels and _rule(config, labels) is None:
        yield f"its severity is taken to be {Severity.WARNING.value}: say severity=… for another"


def _rule(config: Config, labels: dict[str, str]) -> RuleSpec | None:
    named = (rule.spec for rule in config.rules if rule.spec.name == labels.get("ruleName"))
    return next(named, None)


def _told(config: Config, labels: dict[str, str]) -> list[Destination]:
    spec = _rule(config, labels)
    severity = Severity.WARNING if spec is None else spec.severity
    return destinations(
        config.routes(),
        {"ruleName": "", "severity": severity.value, **labels},
        _own(spec),
        config.defaults,
    )


def _own(spec: RuleSpec | None) -> Own:
    """Return whom the rule of the incident names itself; it may be any rule."""
    if spec is None:
        return Own(repeat_us=seconds_to_us(14_400))
    return Own(
        spec.notifications,
        seconds_to_us(spec.repeat_interval_secs),
        compile_escalation(spec.escalate_after_secs, spec.escalate_to),
    )


def _line(one: Destination) -> Line:
    return Line(
        channel=one.target.channel,
        via=one.via,
        after_secs=one.after_us / US_PER_S,
        group_by=one.group_by,
        group_wait_secs=one.timing.wait_us / US_PER_S,
        group_interval_secs=one.timing.interval_us / US_PER_S,
        repeat_interval_secs=one.repeat_us / US_PER_S,
    )


def _print_table(told: list[Destination]) -> None:
    if not told:
        click.secho("nobody would be told", fg="yellow")
        return
    rows = []
    for one in told:
        after = duration_text(one.after_us / US_PER_S)
        when = f"after {after}, unless acknowledged" if one.after_us else "at once"
        every = f"every {duration_text(one.repeat_us / US_PER_S)}" if one.repeat_us else "never"
        cells = (one.target.channel, one.via, when, ", ".join(one.group_by), every)
        rows.append([Text(cell) for cell in cells])
    print_table(("channel", "by", "when", "grouped by", "repeated"), rows)
