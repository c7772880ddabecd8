"""Real receivers for tests: an HTTP server and an SMTP server, each in a thread of its own.

Both bind port 0 on the loopback interface, record what they are sent, and can be told to
misbehave. They know nothing of alertd, so that what they record is what a stranger would see.
"""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

GIVE_UP_S = 10.0
"""How long anything here waits before it stops a test that hangs."""


@dataclass(frozen=True)
class Answer:
    """How the HTTP receiver treats one request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    stall: bool = False
    """Read the request, then say nothing until the receiver is closed."""
    drop: bool = False
    """Read the request, then close the connection without an answer."""
    endless: bool = False
    """Send ``body`` again and again for as long as the client reads."""
    cut: bool = False
    """Answer, but close the connection before the end of the body."""
    stall_after: bool = False
    """Answer, but keep the end of the body back until the receiver is closed."""


def gzip_bomb(megabytes: int) -> Answer:
    """Return an answer that is small on the wire and inflates to ``megabytes`` of zeros."""
    body = gzip.compress(bytes(megabytes * 1024 * 1024))
    return Answer(headers={"Content-Encoding": "gzip"}, body=body)


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class HttpReceiver:
    """Answers ``script`` in order, then ``otherwise``; records every request in ``received``."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.script: list[Answer] = []
        self.otherwise = Answer()
        self.received: list[Received] = []
        self.connections = 0
        self.sent_bytes = 0
        """Of bodies that ``endless`` answers wrote."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.receiver = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        """Return its address."""
        return f"{self._scheme}://{host}:{self.port}{path}"

    def wait_for(self, count: int, timeout_s: float = GIVE_UP_S) -> list[Received]:
        """Block until at least ``count`` requests have come; return all of them."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.received) >= count, timeout_s)
            assert enough, f"{len(self.received)} of {count} requests after {timeout_s} s"
            return list(self.received)

    def close(self) -> None:
        """Let go of stalled clients and stop."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join(GIVE_UP_S)
        self._server.server_close()

    def take(self, request: Received) -> Answer:
        """Record ``request``; return how to answer it."""
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
            return self.script.pop(0) if self.script else self.otherwise

    def stall(self) -> None:
        """Wait until the receiver is closed."""
        self._closing.wait(GIVE_UP_S)

    @property
    def closing(self) -> bool:
        """Whether it is being closed."""
        return self._closing.is_set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    receiver: HttpReceiver

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet: clients that go away in the middle are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = GIVE_UP_S

    def setup(self) -> None:
        super().setup()
        cast("_Server", self.server).receiver.connections += 1

    def do_POST(self) -> None:
        receiver = cast("_Server", self.server).receiver
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = receiver.take(Received(self.path, headers, body))
        if answer.stall:
            receiver.stall()
        if answer.stall or answer.drop:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self._send_body(receiver, answer)

    do_GET = do_DELETE = do_POST  # noqa: N815  # http.server's names

    def _send_body(self, receiver: HttpReceiver, answer: Answer) -> None:
        if answer.endless:
            self.close_connection = True
            self.end_headers()
            with contextlib.suppress(OSError):
                while not receiver.closing:
                    self.wfile.write(answer.body)
                    receiver.sent_bytes += len(answer.body)
            return
        length = len(answer.body) + (answer.stall_after or answer.cut)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.body)
        if answer.stall_after:
            self.wfile.flush()
            receiver.stall()
        if answer.stall_after or answer.cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Keep the test's output clean."""


@contextlib.contextmanager
def http_receiver(*, tls: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """Run an ``HttpReceiver``; with ``tls`` it speaks HTTPS."""
    receiver = HttpReceiver(tls=tls)
    try:
        yield receiver
    finally:
        receiver.close()


@dataclass(frozen=True)
class Mail:
    """One mail as it was handed in."""

    sender: str
    recipients: list[str]
    content: bytes
    user: str | None
    """Who had logged in."""
    encrypted: bool

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class SmtpReceiver:
    """Takes mail; ``refuse_rcpt`` and ``answer_data`` may say otherwise.

    ``tls``: ``"none"``, ``"starttls"`` (required before anything else) or ``"tls"``.
    """

    def __init__(
        self,
        *,
        tls: str = "none",
        context: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.mails: list[Mail] = []
        self.refuse_rcpt: dict[str, str] = {}
        """Reply line for a recipient that is to be refused."""
        self.answer_data: list[str] = []
        """Reply lines for the next mails, instead of taking them."""
        self.auth_answer: str | None = None
        """Reply line for every login, instead of checking it."""
        self.stall_on_data = False
        self.delay_s = 0.0
        """How long it takes over each mail."""
        self.conversations = 0
        self._tls, self._context, self._login = tls, context, login
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._released = asyncio.Event()
        self._sessions: list[SMTP] = []
        self._server: asyncio.Server | None = None
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,))
        self._thread.start()
        assert ready.wait(GIVE_UP_S)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def wait_for(self, count: int, timeout_s: float = GIVE_UP_S) -> list[Mail]:
        """Block until at least ``count`` mails have come; return all of them."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.mails) >= count, timeout_s)
            assert enough, f"{len(self.mails)} of {count} mails after {timeout_s} s"
            return list(self.mails)

    def close(self) -> None:
        """Let go of stalled clients and stop."""
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(GIVE_UP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GIVE_UP_S)
        self._loop.close()

    async def _shut_down(self) -> None:
        self._released.set()
        assert self._server is not None
        self._server.close()
        for session in self._sessions:
            if session.transport is not None:
                cast("asyncio.Transport", session.transport).abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        implicit = self._context if self._tls == "tls" else None
        self._server = self._loop.run_until_complete(
            self._loop.create_server(self._make_session, "127.0.0.1", 0, ssl=implicit)
        )
        ready.set()
        self._loop.run_forever()

    def _make_session(self) -> SMTP:
        self.conversations += 1
        session = SMTP(
            self,
            hostname="receiver.example",
            tls_context=self._context if self._tls == "starttls" else None,
            require_starttls=self._tls == "starttls",
            auth_required=self._login is not None,
            auth_require_tls=self._tls == "starttls",
            authenticator=self._authenticate,
            loop=self._loop,
        )
        self._sessions.append(session)
        return session

    # aiosmtpd leaves these hooks untyped.
    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        if self.auth_answer is not None:
            return AuthResult(success=False, handled=False, message=self.auth_answer)
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False, auth_data=given[0])

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self.refuse_rcpt.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.stall_on_data:
            await self._released.wait()
        await asyncio.sleep(self.delay_s)
        if self.answer_data:
            return self.answer_data.pop(0)
        with self._changed:
            self.mails.append(
                Mail(
                    sender=envelope.mail_from or "",
                    recipients=[str(address) for address in envelope.rcpt_tos],
                    content=cast("bytes", envelope.content),
                    user=session.auth_data if session.authenticated else None,
                    encrypted=session.ssl is not None or self._tls == "tls",
                )
            )
            self._changed.notify_all()
        return "250 2.0.0 taken"


@contextlib.contextmanager
def smtp_receiver(
    *,
    tls: str = "none",
    context: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
) -> Iterator[SmtpReceiver]:
    """Run an ``SmtpReceiver``."""
    receiver = SmtpReceiver(tls=tls, context=context, login=login)
    try:
        yield receiver
    finally:
        receiver.close()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own, and a server certificate for loopback names."""

    ca_pem: bytes
    server: ssl.SSLContext


def make_authority(*names: str) -> Authority:
    """Return an authority whose server certificate is for ``names``, or 127.0.0.1 and localhost."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
    return Authority(authority.cert_pem.bytes(), context)


def closed_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
