"""One conversation with one SMTP server, in a worker thread and within a deadline.

Owns the connection (STARTTLS or implicit TLS, always verified; login), the bound on threads,
and the reading of SMTP replies as outcomes. Leaves what the mail says to ``email.py``.

Some recipients refused: the mail has gone to the others, and sending it again would only
repeat it to them. So that outcome is ``Permanent``, with how many were told and how many were
not: it shows as FAILED, where somebody looks, instead of passing for a success. If *nobody*
was told it is tried again as long as one of the refusals is a temporary one.

A deadline that passes leaves the thread behind for a moment. Its socket is shut down, which
ends it; should the server have taken the mail just then, the next attempt repeats it with the
same Message-ID.
"""

from __future__ import annotations

import dataclasses
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final

import trio

from alertd.channels.config import DEFAULT_PORTS, EmailConfig, Tls
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.tls import describe_cause, load_ssl_context, speaks_no_tls

MAX_CONVERSATIONS: Final = 4
"""At a time with one server."""
MAX_THREADS: Final = 8
"""The same, with those whose deadline has passed and that are about to end."""
QUIT_TIMEOUT_S: Final = 1.0

_GREETS_IN_PLAIN: Final = frozenset({DEFAULT_PORTS[Tls.NONE], DEFAULT_PORTS[Tls.STARTTLS]})
"""Ports at which no server waits for TLS."""

_ENHANCED_CODE = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}\b")  # RFC 3463
_ADDRESS = re.compile(r"\S+@\S+")


class SmtpServer:
    """Where mail is handed in. Safe for several tasks at once; nothing stays open between mails."""

    def __init__(self, config: EmailConfig, password: Secret | None) -> None:
        self.config = config
        self._password = password
        self._conversations = trio.CapacityLimiter(MAX_CONVERSATIONS)
        self._threads = trio.CapacityLimiter(MAX_THREADS)

    async def deliver(
        self, sender: str, recipients: Sequence[str], compose: Callable[[], bytes]
    ) -> Outcome:
        """Hand in one mail for ``recipients``; the addresses are bare, without display names.

        ``compose`` is called in the worker thread. The deadline runs from the moment at which
        the conversation may start.
        """
        timeout_s = self.config.timeout_secs
        conversation = _Conversation(self, sender, recipients, compose)
        async with self._conversations:
            with trio.move_on_after(timeout_s):
                try:
                    return await trio.to_thread.run_sync(
                        conversation.run, abandon_on_cancel=True, limiter=self._threads
                    )
                finally:
                    conversation.end()
        reason = f"{self.config.host} did not take the mail within {timeout_s:g} s"
        return conversation.with_remedy(Retryable(reason), TimeoutError())

    def connect(self) -> smtplib.SMTP:
        """Connect, encrypt and log in. Blocks; raises what smtplib does."""
        config = self.config
        name = _local_name()
        if config.tls is Tls.TLS:
            return smtplib.SMTP_SSL(
                config.host,
                config.effective_port,
                local_hostname=name,
                timeout=config.timeout_secs,
                context=self._ssl_context,
            )
        return smtplib.SMTP(
            config.host, config.effective_port, local_hostname=name, timeout=config.timeout_secs
        )

    def authenticate(self, smtp: smtplib.SMTP) -> None:
        """Upgrade and log in as configured. Blocks; raises what smtplib does."""
        if self.config.tls is Tls.STARTTLS:
            smtp.starttls(context=self._ssl_context)
        if self.config.username is not None and self._password is not None:
            smtp.login(self.config.username, self._password.reveal())

    @cached_property
    def _ssl_context(self) -> ssl.SSLContext:
        return load_ssl_context(self.config.ca_file)


class _Conversation:
    """One attempt; ``run`` belongs to the worker thread, ``end`` to the event loop."""

    def __init__(
        self,
        server: SmtpServer,
        sender: str,
        recipients: Sequence[str],
        compose: Callable[[], bytes],
    ) -> None:
        self._server = server
        self._sender = sender
        self._recipients = recipients
        self._compose = compose
        self._smtp: smtplib.SMTP | None = None
        self._ended = False

    def run(self) -> Outcome:
        host = self._server.config.host
        try:
            self._smtp = self._server.connect()
            try:
                return self._hand_in(self._smtp, host)
            finally:
                self._smtp.close()
        except (OSError, UnicodeError) as error:  # SMTPException is an OSError
            failure = _failure(error, host, self._server.config.effective_port)
            return self.with_remedy(failure, error)

    def with_remedy(self, failure: Retryable | Permanent, error: Exception) -> Outcome:
        """Return ``failure`` with what to set, where it looks as if only one side spoke TLS."""
        remedy = "" if self._smtp is not None else _remedy(error, self._server.config)
        return dataclasses.replace(failure, reason=failure.reason + remedy)

    def _hand_in(self, smtp: smtplib.SMTP, host: str) -> Outcome:
        if self._ended:
            raise TimeoutError
        self._server.authenticate(smtp)
        refused = smtp.sendmail(self._sender, list(self._recipients), self._compose())
        _quit(smtp)
        if not refused:
            return Delivered()
        told = len(self._recipients) - len(refused)
        return Permanent(
            f"{host} took the mail for {told} of {len(self._recipients)} recipients; "
            f"refused: {_refusals(refused)}"
        )

    def end(self) -> None:
        """Make a thread that is still in its conversation end soon. Harmless after ``run``."""
        self._ended = True
        connection = self._smtp.sock if self._smtp is not None else None
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has just been closed


def _quit(smtp: smtplib.SMTP) -> None:
    """Say goodbye. The mail is taken: whatever the server does now changes nothing."""
    try:
        if smtp.sock is not None:
            smtp.sock.settimeout(QUIT_TIMEOUT_S)
        smtp.quit()
    except OSError:
        return


def _local_name() -> str:
    """Return the name to say EHLO with; a literal where the host has no full name (RFC 5321)."""
    # smtplib's own default asks the name server, which can take longer than the mail.
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"


def _failure(error: OSError | UnicodeError, host: str, port: int) -> Retryable | Permanent:
    match error:
        case smtplib.SMTPRecipientsRefused():
            reason = f"{host} refused every recipient: {_refusals(error.recipients)}"
            temporary = any(400 <= code < 500 for code, _ in error.recipients.values())
            return Retryable(reason, was_refused=True) if temporary else Permanent(reason)
        case smtplib.SMTPAuthenticationError():
            # The text of a login's refusal may repeat what was sent.
            detail = _code(error.smtp_code, _bytes(error.smtp_error))
            return _by_code(error.smtp_code, f"{host} refused the login: {detail}")
        case smtplib.SMTPResponseException():
            detail = _reply(error.smtp_code, _bytes(error.smtp_error))
            return _by_code(error.smtp_code, f"{host} answered {detail}")
        case smtplib.SMTPServerDisconnected():
            return Retryable(f"{host} closed the connection")
        case smtplib.SMTPNotSupportedError():
            return Permanent(f"{host} does not offer what is configured: check tls and username")
        case smtplib.SMTPException():
            return Permanent(f"{host} offers no way to log in that is known here")
        case UnicodeError():
            return Permanent(f"an address, user name or password for {host} is not ASCII")
        case _:
            # An error before there is a conversation; later ones are smtplib's.
            is_unreached = isinstance(error, ConnectionRefusedError | socket.gaierror)
            reason = f"cannot talk to {host}:{port}: {describe_cause(error)}"
            return Retryable(reason, was_refused=is_unreached)


def _remedy(error: Exception, config: EmailConfig) -> str:
    """Return what may help against an ``error`` that came before the server's greeting."""
    if config.tls is Tls.TLS:
        remedy = '; if it offers STARTTLS, as servers at port 587 do, set tls = "starttls"'
        return remedy if speaks_no_tls(error) else ""
    said_nothing = isinstance(error, TimeoutError | smtplib.SMTPServerDisconnected)
    if not said_nothing or config.effective_port in _GREETS_IN_PLAIN:
        return ""
    return '; it said nothing: if it wants TLS at once, as servers at port 465 do, set tls = "tls"'


def _by_code(code: int, reason: str) -> Retryable | Permanent:
    return Permanent(reason) if 500 <= code < 600 else Retryable(reason, was_refused=True)


def _refusals(refused: Mapping[str, tuple[int, bytes]]) -> str:
    return "; ".join(sorted({_reply(code, text) for code, text in refused.values()}))


def _code(code: int, text: bytes) -> str:
    enhanced = _ENHANCED_CODE.match(text)
    return f"{code} {enhanced[0].decode()}" if enhanced else str(code)


def _reply(code: int, text: bytes) -> str:
    """Return a server's reply in one short line, without the addresses in it."""
    words = "".join(c if c.isprintable() else " " for c in text.decode("ascii", "replace"))
    return f"{code} {_ADDRESS.sub('…@…', ' '.join(words.split()))[:120]}".rstrip()


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode("ascii", "replace")
