from __future__ import annotations

import ssl
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import cast

import pytest
import trio

from alertd.channels import smtp
from alertd.channels.config import EmailConfig, Tls
from alertd.channels.email import EmailChannel, compose
from alertd.channels.message import MessageKind
from alertd.channels.protocol import Delivered, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.smtp import SmtpServer
from tests.receivers import (
    Authority,
    Mail,
    SmtpReceiver,
    closed_port,
    make_authority,
    smtp_receiver,
)
from tests.unit.channels.messages import INCIDENT_ID, KEY, incident, message, resolved

NOW_S = 1_751_295_600.25
PASSWORD = "correct-horse"
TO = ("Ops <ops@example.org>", "boss@example.org")


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.ca_pem)
    return str(path)


def channel_to(
    port: int,
    *,
    tls: Tls = Tls.NONE,
    to: tuple[str, ...] = TO,
    username: str | None = None,
    password: str = PASSWORD,
    ca_file: str | None = None,
    timeout_s: float = 5,
) -> EmailChannel:
    config = EmailConfig(
        host="127.0.0.1",
        port=port,
        sender="alertd <alertd@example.org>",
        to=to,
        tls=tls,
        username=username,
        ca_file=ca_file,
        timeout_secs=timeout_s,
    )
    server = SmtpServer(config, Secret(password) if username else None)
    return EmailChannel(server, to, now_s=lambda: NOW_S)


async def arrived(receiver: SmtpReceiver, count: int = 1) -> None:
    await trio.to_thread.run_sync(receiver.wait_for, count)


async def threads_ended(channel: EmailChannel) -> None:
    with trio.fail_after(5):
        # No event tells of a worker thread's end.
        while channel._server._threads.borrowed_tokens:
            await trio.sleep(0.01)


def parse(wire: bytes) -> EmailMessage:
    return Mail("", [], wire, None, encrypted=False).message


def part(mail: EmailMessage, kind: str) -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(cast("EmailMessage", body).get_content())


async def test_a_mail_arrives_with_its_headers_and_both_parts() -> None:
    with smtp_receiver() as receiver:
        assert await channel_to(receiver.port).send(message()) == Delivered()
        await arrived(receiver)
    [mail] = receiver.mails
    assert mail.sender == "alertd@example.org"
    assert mail.recipients == ["ops@example.org", "boss@example.org"]
    parsed = mail.message
    assert parsed["Subject"] == "FIRING: High Error Count (service=payment)"
    assert parsed["From"] == "alertd <alertd@example.org>"
    assert parsed["To"] == "Ops <ops@example.org>, boss@example.org"
    assert parsed["Message-ID"] == f"<{KEY}@example.org>"
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsedate_to_datetime(parsed["Date"]).timestamp() == int(NOW_S)
    for kind in ("plain", "html"):
        text = part(parsed, kind)
        assert "High Error Count" in text
        assert "service=payment" in text
        assert "2025-06-30 15:00:00 UTC" in text
        assert INCIDENT_ID in text, "the link to the history"
    assert "Value: 137, alert if > 100" in part(parsed, "plain")
    assert "137, alert if &gt; 100" in part(parsed, "html")


async def test_the_end_lands_below_its_beginning() -> None:
    with smtp_receiver() as receiver:
        channel = channel_to(receiver.port)
        await channel.send(message(key="key-1"))
        await channel.send(message(resolved(), kind=MessageKind.RESOLVED, key="key-2"))
        await arrived(receiver, 2)
    began, ended = (mail.message for mail in receiver.mails)
    assert began["References"] == ended["References"] == f"<incident.{INCIDENT_ID}@example.org>"
    assert ended["In-Reply-To"] == ended["References"]
    assert began["Message-ID"] != ended["Message-ID"]
    assert ended["Subject"].startswith("RESOLVED: ")


async def test_every_attempt_has_the_same_message_id() -> None:
    with smtp_receiver() as receiver:
        receiver.answer_data = ["451 4.3.0 try again later"]
        channel = channel_to(receiver.port)
        first = await channel.send(message())
        reason = "127.0.0.1 answered 451 4.3.0 try again later"
        assert first == Retryable(reason, was_refused=True)
        assert await channel.send(message()) == Delivered()
        await arrived(receiver)
    assert receiver.mails[0].message["Message-ID"] == f"<{KEY}@example.org>"


async def test_starttls_and_login(authority: Authority, ca_file: str) -> None:
    login = ("mailer", PASSWORD)
    with smtp_receiver(tls="starttls", context=authority.server, login=login) as receiver:
        channel = channel_to(receiver.port, tls=Tls.STARTTLS, username="mailer", ca_file=ca_file)
        assert await channel.send(message()) == Delivered()
        await arrived(receiver)
    assert receiver.mails[0].encrypted
    assert receiver.mails[0].user == "mailer"


async def test_implicit_tls(authority: Authority, ca_file: str) -> None:
    with smtp_receiver(tls="tls", context=authority.server) as receiver:
        channel = channel_to(receiver.port, tls=Tls.TLS, ca_file=ca_file)
        assert await channel.send(message()) == Delivered()
        await arrived(receiver)
    assert receiver.mails[0].encrypted


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
async def test_a_certificate_that_is_not_trusted_gets_no_mail(
    tls: Tls, authority: Authority
) -> None:
    with smtp_receiver(tls=tls.value, context=authority.server) as receiver:
        outcome = await channel_to(receiver.port, tls=tls).send(message())
        assert isinstance(outcome, Retryable)
        assert "certificate is not trusted" in outcome.reason
    assert receiver.mails == []


async def test_a_certificate_for_another_name_gets_no_mail(tmp_path: Path) -> None:
    other = make_authority("other.example")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(other.ca_pem)
    with smtp_receiver(tls="starttls", context=other.server) as receiver:
        channel = channel_to(receiver.port, tls=Tls.STARTTLS, ca_file=str(ca_file))
        assert isinstance(await channel.send(message()), Retryable)
    assert receiver.mails == []


async def test_a_server_that_wants_tls_at_once_and_gets_none_is_told_from_one_that_is_down(
    authority: Authority,
) -> None:
    with smtp_receiver(tls="tls", context=authority.server) as receiver:
        outcome = await channel_to(receiver.port, tls=Tls.STARTTLS, timeout_s=0.3).send(message())
    assert isinstance(outcome, Retryable)
    assert outcome.reason.endswith(
        'if it wants TLS at once, as servers at port 465 do, set tls = "tls"'
    )
    down = await channel_to(closed_port(), tls=Tls.STARTTLS).send(message())
    assert isinstance(down, Retryable)
    assert "set tls" not in down.reason


async def test_a_server_that_greets_without_tls_where_that_is_wanted_may_offer_starttls() -> None:
    with smtp_receiver() as receiver:
        outcome = await channel_to(receiver.port, tls=Tls.TLS).send(message())
    assert isinstance(outcome, Retryable)
    assert outcome.reason.endswith('as servers at port 587 do, set tls = "starttls"')


async def test_starttls_is_never_done_without() -> None:
    with smtp_receiver() as receiver:
        outcome = await channel_to(receiver.port, tls=Tls.STARTTLS).send(message())
        assert isinstance(outcome, Permanent)
        assert "tls" in outcome.reason
    assert receiver.mails == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("535 5.7.8 bad credentials correct-horse", Permanent),
        ("454 4.7.0 temporary authentication failure", Retryable),
    ],
)
async def test_a_refused_login_is_permanent_and_a_temporary_one_is_not(
    answer: str, kind: type, authority: Authority, ca_file: str
) -> None:
    login = ("mailer", PASSWORD)
    with smtp_receiver(tls="starttls", context=authority.server, login=login) as receiver:
        receiver.auth_answer = answer
        channel = channel_to(receiver.port, tls=Tls.STARTTLS, username="mailer", ca_file=ca_file)
        outcome = await channel.send(message())
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Permanent | Retryable)
    assert answer[:9] in outcome.reason
    assert PASSWORD not in outcome.reason


async def test_a_password_that_cannot_be_sent_is_not_shown(
    authority: Authority, ca_file: str
) -> None:
    login = ("mailer", PASSWORD)
    with smtp_receiver(tls="starttls", context=authority.server, login=login) as receiver:
        channel = channel_to(
            receiver.port, tls=Tls.STARTTLS, username="mailer", password="käse", ca_file=ca_file
        )
        outcome = await channel.send(message())
    assert isinstance(outcome, Permanent)
    assert "käse" not in outcome.reason
    assert "ASCII" in outcome.reason


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("421 4.3.2 shutting down", Retryable),
        ("452 4.2.2 mailbox full", Retryable),
        ("550 5.7.1 not wanted", Permanent),
        ("554 5.6.0 no", Permanent),
    ],
)
async def test_4xx_is_tried_again_and_5xx_is_not(answer: str, kind: type) -> None:
    with smtp_receiver() as receiver:
        receiver.answer_data = [answer]
        assert isinstance(await channel_to(receiver.port).send(message()), kind)


async def test_some_recipients_refused_is_a_failure_that_says_how_many_were_told() -> None:
    with smtp_receiver() as receiver:
        receiver.refuse_rcpt = {"boss@example.org": "550 5.1.1 <boss@example.org> unknown"}
        outcome = await channel_to(receiver.port).send(message())
        await arrived(receiver)
    assert outcome == Permanent(
        "127.0.0.1 took the mail for 1 of 2 recipients; refused: 550 5.1.1 …@… unknown"
    )
    assert receiver.mails[0].recipients == ["ops@example.org"]


@pytest.mark.parametrize(
    ("second", "kind"), [("550 5.1.1 unknown", Permanent), ("450 4.2.0 greylisted", Retryable)]
)
async def test_all_recipients_refused_is_tried_again_if_one_may_be_taken_later(
    second: str, kind: type
) -> None:
    with smtp_receiver() as receiver:
        receiver.refuse_rcpt = {"ops@example.org": "550 5.1.1 no", "boss@example.org": second}
        assert isinstance(await channel_to(receiver.port).send(message()), kind)
    assert receiver.mails == []


async def test_nobody_listening_is_tried_again() -> None:
    port = closed_port()
    outcome = await channel_to(port).send(message())
    reason = f"cannot talk to 127.0.0.1:{port}: Connection refused"
    assert outcome == Retryable(reason, was_refused=True)


async def test_a_server_that_stalls_is_left_at_the_deadline_and_its_thread_ends() -> None:
    with smtp_receiver() as receiver:
        receiver.stall_on_data = True
        channel = channel_to(receiver.port, timeout_s=0.3)
        began_s = trio.current_time()
        outcome = await channel.send(message())
        assert trio.current_time() - began_s < 2
        assert isinstance(outcome, Retryable)
        assert "0.3 s" in outcome.reason
        await threads_ended(channel)


async def test_a_cancelled_mail_ends_its_thread_too() -> None:
    with smtp_receiver() as receiver:
        receiver.stall_on_data = True
        channel = channel_to(receiver.port, timeout_s=30)
        with trio.move_on_after(0.2) as scope:
            await channel.send(message())
        assert scope.cancelled_caught
        await threads_ended(channel)


async def test_waiting_for_a_turn_is_not_part_of_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smtp, "MAX_CONVERSATIONS", 1)
    with smtp_receiver() as receiver:
        receiver.delay_s = 0.25
        channel = channel_to(receiver.port, timeout_s=1.5)
        outcomes: list[object] = []

        async def send() -> None:
            outcomes.append(await channel.send(message()))

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(send)
        assert outcomes == [Delivered()] * 8


def test_a_hostile_rule_name_makes_no_header_and_no_markup() -> None:
    view = incident(
        rule_name="Evil\r\nBcc: everyone@example.org",
        message="<script>alert(1)</script>",
        group_labels={"<b>host</b>": "a\nb\x00"},
        runbook_url="https://runbooks.example/?q=\"><script>'",
    )
    wire = compose(message(view), "alertd@example.org", ["ops@example.org"], NOW_S)
    parsed = parse(wire)
    assert parsed["Bcc"] is None
    assert parsed["Subject"].startswith("FIRING: Evil Bcc: everyone@example.org")
    html = part(parsed, "html")
    assert "<script>" not in html
    assert "<b>" not in html
    assert "\nb\x00" not in part(parsed, "plain")


def test_a_mail_is_7_bit_with_short_lines_whatever_is_in_it() -> None:
    view = incident(rule_name="Überlast 🔥 " * 30, message="ü" * 5000)
    wire = compose(message(view), "alertd@example.org", ["ops@example.org"], NOW_S)
    assert wire.isascii()
    assert max(map(len, wire.splitlines())) <= 998
    assert wire.count(b"\n") == wire.count(b"\r\n")
    assert "Überlast" in parse(wire)["Subject"]


def test_an_unusual_key_still_makes_one_valid_message_id() -> None:
    key = "a b\r\n<c>"
    first, second = (
        parse(compose(message(key=key), "a@example.org", ["b@example.org"], now))
        for now in (1.0, 2.0)
    )
    assert first["Message-ID"] == second["Message-ID"]
    assert " " not in first["Message-ID"]


async def test_a_recipient_that_is_no_address_is_permanent_and_not_dialled() -> None:
    with smtp_receiver() as receiver:
        channel = channel_to(receiver.port, to=("ops@example.org\r\nBcc: x@example.org",))
        assert isinstance(await channel.send(message()), Permanent)
        assert receiver.conversations == 0


def test_what_is_shown_of_a_recipient_is_an_initial_and_a_domain() -> None:
    channel = channel_to(1)
    assert channel.redacted_endpoint == "o…@example.org (+1)"
    assert "ops@" not in repr(channel)


def test_certificates_are_verified_by_default() -> None:
    context = channel_to(1)._server._ssl_context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
