"""``alertd notify test``: does a channel work, before it is needed.

Owns the words of the command, the test message and what is printed. The channel makes its one
attempt as in the daemon; no daemon has to run.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import Final

import click
import trio

from alertd.channels.factory import ChannelFactory
from alertd.channels.message import Message, MessageKind
from alertd.channels.protocol import Delivered, Outcome
from alertd.channels.sample import sample_incident, sample_message
from alertd.cli.commands import group
from alertd.cli.configuration import config_option, load_configuration
from alertd.config.settings import Config
from alertd.meant import did_you_mean
from alertd.model import Target

EXIT_NOT_DELIVERED: Final = 3

EPILOG: Final = """\b
Examples:
  alertd notify test ops

\b
Exit codes:
  0  the receiver took the message
  1  the configuration cannot be used
  2  the command was not understood, or there is no such channel
  3  it was not delivered; standard error says why
"""


@group(epilog=EPILOG)
def notify() -> None:
    """Try a channel before it is needed."""


@notify.command()
@click.argument("channel")
@config_option
def test(channel: str, config_path: Path | None) -> None:
    """Send a test message over CHANNEL, and say how that went.

    CHANNEL is the name of one in the configuration. No daemon has to run. What one has waiting for
    CHANNEL follows its own next success there; `alertd messages requeue --waiting` sends it now.
    """
    _, config = load_configuration(config_path)
    if channel not in config.channels:
        known = ", ".join(sorted(config.channels)) or "none is configured"
        hint = did_you_mean(channel, config.channels) or f"known are: {known}"
        raise click.BadParameter(f"there is no channel {channel!r}; {hint}", param_hint="CHANNEL")
    endpoint, outcome = trio.run(_send, config, channel)
    if isinstance(outcome, Delivered):
        click.secho(f"{channel}: {endpoint} took the test message", fg="green")
        if outcome.fault:
            click.secho(f"{channel}: in the default words: {outcome.fault}", err=True, fg="yellow")
        return
    click.secho(f"{channel}: not delivered: {outcome.reason}", err=True, fg="red")
    if outcome.said:
        click.secho(f"{channel}: the receiver said: {outcome.said}", err=True)
    sys.exit(EXIT_NOT_DELIVERED)


async def _send(config: Config, name: str) -> tuple[str, Outcome]:
    factory = ChannelFactory(config.channels)
    try:
        channel = factory.for_target(Target(name))
        return channel.redacted_endpoint, await channel.send(_test_message(config))
    finally:
        await factory.aclose()


def _test_message(config: Config) -> Message:
    now_us, base_url = time.time_ns() // 1000, config.server.base_url
    incident = sample_incident(
        base_url,
        now_us,
        id=str(uuid.uuid4()),
        rule_name="alertd test",
        severity="info",
        message="This is a test: nothing is wrong. If you can read it, the channel works.",
        runbook_url=None,
    )
    return sample_message(base_url, now_us, (incident,), kind=MessageKind.TEST)
