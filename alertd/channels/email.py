"""E-mail: what a mail about incidents looks like, and the channel that sends it.

Owns the headers and the two parts, plain text and HTML. Leaves the words to ``wording.py`` and
the server to ``smtp.py``.

The Message-ID follows from the idempotency key, so that every attempt is the same mail; the
mails of one incident refer to one id, so that a mailbox shows the end below the beginning.
``Auto-Submitted`` (RFC 3834) keeps vacation replies away.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import Final

import jinja2

from alertd import __version__
from alertd.channels import wording
from alertd.channels.address import bare_address
from alertd.channels.message import Message
from alertd.channels.protocol import Outcome, Permanent
from alertd.channels.redact import redact_addresses
from alertd.channels.smtp import SmtpServer
from alertd.channels.words import Worded, Words

MAX_SUBJECT_CHARS: Final = 200

_SAFE_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")

_HTML: Final = jinja2.Environment(
    autoescape=True, trim_blocks=True, lstrip_blocks=True
).from_string(
    """\
<!DOCTYPE html>
<html><body style="font-family: sans-serif; color: #222">
{% for incident in incidents %}
<h2 style="border-left: 6px solid {{ colour(incident) }}; padding-left: 8px">
{{- headline(incident) }}</h2>
<p>{{ incident.message }}</p>
{% for remark in remarks(incident) %}
<p>{{ remark }}</p>
{% endfor %}
<table cellpadding="4">
{% for label, text in facts(incident) %}
<tr><th align="left">{{ label }}</th><td>{{ text }}</td></tr>
{% endfor %}
</table>
<p>
{% for label, url in links(incident) %}
<a href="{{ url }}">{{ label }}</a>
{% endfor %}
</p>
{% else %}
<p>{{ subject }}</p>
{% endfor %}
{% if hidden %}
<p>{{ hidden }}</p>
{% endif %}
</body></html>
"""
)


def compose(
    message: Message,
    sender: str,
    recipients: Sequence[str],
    now_s: float,
    worded: Worded = Worded(),  # noqa: B008  # immutable
) -> bytes:
    """Return the mail as it goes over the wire. ``now_s`` is Unix time, for the Date header."""
    domain = sender.rpartition("@")[2].rstrip(">")
    subject = wording.one_line(worded.title or wording.subject(message))
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = wording.clip(subject, MAX_SUBJECT_CHARS)
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Date"] = formatdate(now_s)
    mail["Message-ID"] = f"<{_id_part(message.idempotency_key)}@{domain}>"
    shown = wording.latest(message)[: wording.MAX_INCIDENTS_SHOWN]
    if shown:
        threads = [f"<incident.{_id_part(incident.id)}@{domain}>" for incident in shown]
        mail["In-Reply-To"] = threads[0]
        mail["References"] = " ".join(threads)
    mail["Auto-Submitted"] = "auto-generated"
    mail["User-Agent"] = f"alertd/{__version__}"
    # Quoted-printable: 7-bit on the wire whatever the server offers, and lines never too long.
    if worded.body is not None:
        mail.set_content(_printable_lines(worded.body), cte="quoted-printable")
    else:
        mail.set_content(wording.plain_text(message), cte="quoted-printable")
        mail.add_alternative(_html(message, subject), subtype="html", cte="quoted-printable")
    return mail.as_bytes()


def _html(message: Message, subject: str) -> str:
    return _HTML.render(
        incidents=wording.latest(message)[: wording.MAX_INCIDENTS_SHOWN],
        subject=subject,
        hidden=wording.hidden_text(message),
        headline=wording.headline,
        remarks=wording.remarks,
        facts=wording.facts,
        links=wording.links,
        colour=wording.colour,
    )


def _printable_lines(text: str) -> str:
    """Return ``text`` without control characters but line ends and tabs."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text) + "\n"


def _id_part(identity: str) -> str:
    """Return ``identity`` if it may stand in a Message-ID, else a digest of it."""
    if _SAFE_ID.fullmatch(identity):
        return identity
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


class EmailChannel:
    """Mails through ``server`` to ``recipients``; several channels may share one server."""

    def __init__(
        self,
        server: SmtpServer,
        recipients: Sequence[str],
        *,
        words: Words | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._server = server
        self._recipients = tuple(recipients)
        self._words = words or Words(None, None)
        self._now_s = now_s
        self._redacted = redact_addresses(self._recipients)

    def __repr__(self) -> str:
        return f"EmailChannel({self._redacted})"

    def to(self, address: str) -> EmailChannel:
        """Return a channel to ``address`` through the same server, in the default words."""
        return EmailChannel(self._server, [address])

    @property
    def redacted_endpoint(self) -> str:
        """The first recipient's initial and domain, and how many more there are."""
        return self._redacted

    async def send(self, message: Message) -> Outcome:
        """Hand in one mail."""
        sender = self._server.config.sender
        bare = [bare_address(mailbox) for mailbox in (sender, *self._recipients)]
        addresses = [address for address in bare if address is not None]
        if len(addresses) < len(bare):
            return Permanent("the sender or a recipient is not one ASCII e-mail address")
        worded = self._words.of(message)
        outcome = await self._server.deliver(
            addresses[0],
            addresses[1:],
            lambda: compose(message, sender, self._recipients, self._now_s(), worded),
        )
        return worded.noted(outcome)

    async def aclose(self) -> None:
        """Do nothing: no connection outlives its mail."""
